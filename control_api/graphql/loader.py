"""Loader: looks up many at a time what resolvers ask for one by one.

Whoever asks in the same turn of the event loop is answered by one query, and nobody asks twice for the same: a list of 500
configurations with their users costs two queries and not 501.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Loader(Generic[K, V]):
    """Of one request. `fetch` is given keys, each once, and answers those it found."""

    def __init__(self, fetch: Callable[[list[K]], Awaitable[Mapping[K, V]]]) -> None:
        self._fetch = fetch
        self._asked: dict[K, asyncio.Future[V | None]] = {}
        self._waiting: dict[K, asyncio.Future[V | None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    async def load_many(self, keys: list[K]) -> list[V]:
        """What was found of the keys, in their order. Raises what `fetch` raises."""
        found = await asyncio.gather(*(self._ask(key) for key in keys))
        return [value for value in found if value is not None]

    async def load(self, key: K) -> V | None:
        """What was found of it; None: nothing."""
        return await self._ask(key)

    def forget(self) -> None:
        """Begins anew: something was changed."""
        self._asked.clear()

    def _ask(self, key: K) -> "asyncio.Future[V | None]":
        if key not in self._asked:
            loop = asyncio.get_running_loop()
            self._asked[key] = loop.create_future()
            if not self._waiting:
                loop.call_soon(self._begin)  # after all who are about to ask in this turn
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
        except Exception as error:  # not ours to judge: whoever asked gets it
            for future in asked.values():
                if not future.done():
                    future.set_exception(error)
                    future.exception()  # seen, even where whoever asked has gone
            return
        for key, future in asked.items():
            if not future.done():
                future.set_result(found.get(key))

    async def close(self) -> None:
        """Ends what is still being looked up for a request that has ended."""
        self._closed = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
