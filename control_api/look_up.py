"""LookUp: questions to the database that requests share.

A session of the database costs a request much more than the row that it reads. So keys that are asked for while a query is under
way go together into the next one, and a value that was found is kept for `KEPT_S` seconds. A change by another process may go
unnoticed for that long. A change by this process is seen at once: the code that makes it calls `forget`. That a key is missing is
never kept, so a new row can be used at once everywhere. A query that takes longer than its limit is given up, so a connection
that hangs holds up no later question.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import Any, Generic, TypeVar

from notifier.errors import DatabaseError

K = TypeVar("K")
V = TypeVar("V")

MAX_KEYS = 500  # in one query
LIMIT_S = 5.0  # that a query may take
KEPT_S = 0.5  # that a value is kept, from when its query began
_MAX_KEPT = 10_000
_NOTHING: tuple[float, Any] = (0.0, None)


class LookUp(Generic[K, V]):
    """The look-ups of one kind. `fetch` gets distinct keys, at most `MAX_KEYS`, and returns the values of those it found."""

    def __init__(
        self,
        fetch: Callable[[list[K]], Coroutine[Any, Any, Mapping[K, V]]],
        limit_s: float = LIMIT_S,
        kept_s: float = KEPT_S,
    ) -> None:
        self._fetch = fetch
        self._limit_s, self._kept_s = limit_s, kept_s
        # Those given up too, which end when their connection does.
        self._fetching: set[asyncio.Task[Mapping[K, V]]] = set()
        self._waiting: dict[K, asyncio.Future[V | None]] = {}
        self._task: asyncio.Task[None] | None = None
        self._kept: dict[K, tuple[float, V]] = {}  # until when, and what
        self._forgotten = 0  # times: what was asked before is not kept

    def forget(self) -> None:
        """Keeps nothing of what was found so far. To be called once a change is committed."""
        self._kept.clear()
        self._forgotten += 1

    async def get(self, key: K) -> V | None:
        """The value; None: not found. Raises what `fetch` raises, and DatabaseError where it takes longer than `limit_s`."""
        return self._find(key) or (await self._ask_all([key])).get(key)

    async def get_many(self, keys: Iterable[K]) -> dict[K, V]:
        """The values of the keys that were found. Raises as `get` does."""
        found: dict[K, V] = {}
        missing: list[K] = []
        for key in keys:
            value = self._find(key)
            if value is None:
                missing.append(key)
            else:
                found[key] = value
        return found | await self._ask_all(missing) if missing else found

    def _find(self, key: K) -> V | None:
        until, value = self._kept.get(key, _NOTHING)
        return value if asyncio.get_running_loop().time() < until else None

    async def _ask_all(self, keys: list[K]) -> dict[K, V]:
        asked = {key: self._ask(key) for key in keys}
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._work(), name="look_up")
        await asyncio.wait(asked.values())
        answers = {key: future.result() for key, future in asked.items()}
        return {key: value for key, value in answers.items() if value is not None}

    def _ask(self, key: K) -> "asyncio.Future[V | None]":
        future = self._waiting.get(key)
        if future is None:
            future = self._waiting[key] = asyncio.get_running_loop().create_future()
        return future

    async def _work(self) -> None:
        while self._waiting:
            keys = list(self._waiting)[:MAX_KEYS]
            asked = {key: self._waiting.pop(key) for key in keys}
            began, forgotten = asyncio.get_running_loop().time(), self._forgotten
            try:
                found = await self._fetch_in_time(keys)
            except BaseException as error:
                for future in asked.values():
                    future.set_exception(error if isinstance(error, Exception) else asyncio.CancelledError())
                    future.exception()  # looked at, also where its caller is gone
                if not isinstance(error, Exception):
                    raise
            else:
                if forgotten == self._forgotten:
                    self._keep(found, began + self._kept_s)
                for key, future in asked.items():
                    future.set_result(found.get(key))

    def _keep(self, found: Mapping[K, V], until: float) -> None:
        if len(self._kept) + len(found) > _MAX_KEPT:
            self._kept.clear()
        for key, value in found.items():
            self._kept[key] = until, value

    async def _fetch_in_time(self, keys: list[K]) -> Mapping[K, V]:
        fetching = asyncio.create_task(self._fetch(keys), name="fetch")
        self._fetching.add(fetching)
        fetching.add_done_callback(self._ended)
        try:
            # No `asyncio.timeout`: it waits until what it cancelled has ended, and a query that hangs may not end.
            await asyncio.wait([fetching], timeout=self._limit_s)
            if not fetching.done():
                raise DatabaseError(f"the database did not answer within {self._limit_s:g} s")
            return fetching.result()
        finally:
            fetching.cancel()

    def _ended(self, fetching: "asyncio.Task[Mapping[K, V]]") -> None:
        self._fetching.discard(fetching)
        if not fetching.cancelled():
            fetching.exception()  # looked at, also where it was given up
