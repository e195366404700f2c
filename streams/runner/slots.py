"""Slots: how many producers of one runner work at the same time, so that a source that hangs holds up no other.

A producer whose source failed the last time, and one that takes long, counts among the slow ones, of which there may be as many
again. What is slow waits for what is slow.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

PATIENCE_S = 10.0  # after which one that is at work counts as slow


class Slots:
    """At most `concurrency` producers that are quick, and as many that are slow."""

    def __init__(self, concurrency: int, patience_s: float = PATIENCE_S) -> None:
        self._quick = asyncio.Semaphore(concurrency)
        self._slow = asyncio.Semaphore(concurrency)
        self._patience_s = patience_s

    @asynccontextmanager
    async def one(self, *, slow: bool) -> AsyncIterator[None]:
        """A slot while the block runs, waited for. `slow`: whether it is expected to take long."""
        held = [self._slow if slow else self._quick]
        await held[0].acquire()
        moving = None if slow else asyncio.create_task(self._move(held), name="leave a quick slot")
        try:
            yield
        finally:
            if moving is not None:
                moving.cancel()
                await asyncio.gather(moving, return_exceptions=True)
            held[0].release()

    async def _move(self, held: list[asyncio.Semaphore]) -> None:
        await asyncio.sleep(self._patience_s)
        await self._slow.acquire()
        held[0].release()
        held[0] = self._slow
