"""Turns: so many calls at the same time, and the order of those that wait for one to end.

First come, first served, critical ones before the others; of four turns one is an other's all the same, so that nobody starves.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

_CRITICAL_IN_A_ROW = 3


class Turns:
    """At most `calls` turns are taken at the same time."""

    def __init__(self, calls: int) -> None:
        self._free = calls
        self._critical: deque[asyncio.Future[None]] = deque()
        self._others: deque[asyncio.Future[None]] = deque()
        self._in_a_row = 0

    @asynccontextmanager
    async def turn(self, critical: bool) -> AsyncIterator[None]:
        """Waits for a turn, which ends with the context."""
        if self._free:
            self._free -= 1
        else:
            waiting = asyncio.get_running_loop().create_future()
            (self._critical if critical else self._others).append(waiting)
            try:
                await waiting
            except asyncio.CancelledError:
                if waiting.done() and not waiting.cancelled():
                    self._pass_on()  # it had come in the moment of the cancellation
                raise
        try:
            yield
        finally:
            self._pass_on()

    def _pass_on(self) -> None:
        queues = [self._critical, self._others]
        for queue in reversed(queues) if self._in_a_row >= _CRITICAL_IN_A_ROW else queues:
            while queue:
                waiting = queue.popleft()
                if not waiting.done():
                    self._in_a_row = self._in_a_row + 1 if queue is self._critical else 0
                    waiting.set_result(None)
                    return
        self._free += 1
