"""LookUp: questions to the database that requests at the same moment share. Nothing is kept of the answers.

A session of the database costs a request much more than the row that it reads. So what is asked for while a query is under way
is asked by the next one, together. Every query begins after its keys were asked for: its answer is as new as if each had asked
alone. A query that takes too long is given up, so that a connection that hangs holds up nobody who asks after it.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import Any, Generic, TypeVar

from notifier.errors import DatabaseError

K = TypeVar("K")
V = TypeVar("V")

MAX_KEYS = 500  # in one query
LIMIT_S = 5.0  # that a query may take


class LookUp(Generic[K, V]):
    """The look-ups of one kind. `fetch` gets distinct keys, at most `MAX_KEYS`, and returns the values of those it found."""

    def __init__(
        self, fetch: Callable[[list[K]], Coroutine[Any, Any, Mapping[K, V]]], limit_s: float = LIMIT_S
    ) -> None:
        self._fetch = fetch
        self._limit_s = limit_s
        # Those given up too, which end when their connection does.
        self._fetching: set[asyncio.Task[Mapping[K, V]]] = set()
        self._waiting: dict[K, asyncio.Future[V | None]] = {}
        self._task: asyncio.Task[None] | None = None

    async def get(self, key: K) -> V | None:
        """The value; None: not found. Raises what `fetch` raises, and DatabaseError where it takes longer than `limit_s`."""
        return (await self.get_many([key])).get(key)

    async def get_many(self, keys: Iterable[K]) -> dict[K, V]:
        """The values of the keys that were found. Raises as `get` does."""
        asked = {key: self._ask(key) for key in keys}
        if not asked:
            return {}
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
            try:
                found = await self._fetch_in_time(keys)
            except BaseException as error:
                for future in asked.values():
                    future.set_exception(error if isinstance(error, Exception) else asyncio.CancelledError())
                    future.exception()  # looked at, also where its caller is gone
                if not isinstance(error, Exception):
                    raise
            else:
                for key, future in asked.items():
                    future.set_result(found.get(key))

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
