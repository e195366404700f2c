"""Pause: other tasks of the event loop get their turn in the middle of long work."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from time import monotonic
from typing import TypeVar

PAUSE_S = 0.02  # that others wait at most, as far as one piece of the work is shorter

T = TypeVar("T")


class Pause:
    """Begins with the work."""

    def __init__(self) -> None:
        self._began = monotonic()

    async def each(self, items: Iterable[T]) -> AsyncIterator[T]:
        """The items, with a pause before one as soon as `PAUSE_S` are over."""
        for item in items:
            if monotonic() - self._began > PAUSE_S:
                await asyncio.sleep(0)
                self._began = monotonic()
            yield item
