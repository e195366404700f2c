"""Loader: batches the look-ups of resolvers, and caches them for one request.

All keys asked for in one turn of the event loop make one query, and each key is asked for once: a list of 500 configurations
with their users costs two queries instead of 501.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Loader(Generic[K, V]):
    """The look-ups of one request. `fetch` gets distinct keys and returns the values of those it found."""

    def __init__(self, fetch: Callable[[list[K]], Awaitable[Mapping[K, V]]]) -> None:
        self._fetch = fetch
        self._asked: dict[K, asyncio.Future[V | None]] = {}
        self._waiting: dict[K, asyncio.Future[V | None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    async def load_many(self, keys: list[K]) -> list[V]:
        """The values found, in the order of the keys. Raises what `fetch` raises."""
        found = await asyncio.gather(*(self._ask(key) for key in keys))
        return [value for value in found if value is not None]

    async def load(self, key: K) -> V | None:
        """The value; None: not found. Raises what `fetch` raises."""
        return await self._ask(key)

    def forget(self) -> None:
        """Empties the cache."""
        self._asked.clear()

    def _ask(self, key: K) -> "asyncio.Future[V | None]":
        if key not in self._asked:
            loop = asyncio.get_running_loop()
            self._asked[key] = loop.create_future()
            if not self._waiting:
                loop.call_soon(self._begin)  # after all that this turn still asks for
            self._waiting[key] = self._asked[key]
        return self._asked[key]

    def _begin(self) -> None:
        asked, self._waiting = self._waiting, {}
        if self._closed:
            return
        task = asyncio.create_task(self._answer(asked), name="loader")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, asked: "dict[K, asyncio.Future[V | None]]") -> None:
        try:
            found = await self._fetch(list(asked))
        except Exception as error:  # every caller that waits gets it
            for future in asked.values():
                if not future.done():
                    future.set_exception(error)
                    future.exception()  # marks it as retrieved, even where the caller is gone
            return
        for key, future in asked.items():
            if not future.done():
                future.set_result(found.get(key))

    async def close(self) -> None:
        """Cancels the queries that still run; their request has ended."""
        self._closed = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
