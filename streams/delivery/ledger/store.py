"""Store: a ledger's file, with the one thread that works on it, so that the event loop does not wait for a disk."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar, TypeVarTuple

from streams.delivery.ledger.file import LedgerFile

_Answer = TypeVar("_Answer")
_Arguments = TypeVarTuple("_Arguments")


class Store:
    """Calls of the file, one after another."""

    def __init__(self, file: LedgerFile) -> None:
        self.file = file
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="ledger")

    async def call(self, function: Callable[[*_Arguments], _Answer], *arguments: *_Arguments) -> _Answer:
        """Calls a method of the file in its thread. One that has begun ends, also where who waits for it is cancelled."""
        self.file.release()
        answer = await asyncio.get_running_loop().run_in_executor(self._thread, function, *arguments)
        self.file.release()  # where calls overlap, the one before may have had look-ups hold what was there before this one
        self.file.hold()
        return answer

    def undo(self) -> None:
        """Rolls a transaction back, after what is being done. Waits for nothing."""
        self._thread.submit(self.file.roll_back)

    def close(self) -> None:
        """Waits for what is being done."""
        self._thread.shutdown(wait=True)
