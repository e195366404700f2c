"""Lanes: the deliveries of one partition that are being worked on.

Equal lanes are strictly in order, one step at a time; different lanes go on at the same time. What may be committed is
everything below the lowest offset that is not finished. Knows nothing of Kafka clients or consumers: `step` does the work.
"""

import asyncio
import math
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime

from notifier.delivery import Delivery

MAX_ITEMS = 2000  # unfinished deliveries of one partition beyond which no more of it are fetched
MAX_BYTES = 16 * 1024 * 1024  # the same, by size
MAX_AHEAD = 500_000  # deliveries that may be finished behind one that is not: what is remembered of them is bounded too

_LOOK_S = 0.01


@dataclass(kw_only=True, eq=False, slots=True)
class Item:
    """One record of a deliveries topic, until it is finished."""

    offset: int
    timestamp: datetime
    key: bytes | None
    value: bytes | None
    delivery: Delivery | None  # none: the record could not be read
    error: str = ""  # why it could not be read
    attempt: int = 1  # number of the next try
    spared: int = 0  # tries that did not spend the retry schedule
    began: float | None = None  # when it was first tried here; `time.monotonic()`
    due: float = 0.0  # not to be tried earlier; `time.monotonic()`
    alone: bool = False  # a batch with it failed as a whole, so it is tried by itself
    fresh: bool = True  # not compared with the ledger yet

    @property
    def size(self) -> int:
        """Bytes of its record."""
        return len(self.value or b"")


@dataclass(eq=False, slots=True)
class Lane:
    """The unfinished deliveries of one lane, in order. The first `calling` of them are being delivered right now."""

    name: str
    items: deque[Item] = field(default_factory=deque)
    calling: int = 0
    task: asyncio.Task[None] | None = None
    moved: float = field(default_factory=time.monotonic)  # when a delivery of the lane last ended well


class Lanes:
    """All lanes of one partition, closed until `open()`."""

    def __init__(
        self, step: Callable[["Lanes", Lane], Awaitable[None]], failed: Callable[[BaseException], None]
    ) -> None:
        self._step = step
        self._failed = failed
        self._lanes: dict[str, Lane] = {}
        self._unfinished: dict[int, int] = {}  # offset → bytes
        self._finished: set[int] = set()  # above the lowest that is not
        self._busy: dict[int, float] = {}  # being delivered or recorded: offset → since when, `time.monotonic()`
        self._bytes = 0
        self._next: int | None = None  # offset after the last record read since the partition became ours
        self._floor = 0  # the offset that was committed last
        self._opened = False
        self._halted = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def opened(self) -> bool:
        """Whether deliveries may begin."""
        return self._opened

    @property
    def halted(self) -> bool:
        """Whether nothing new may begin."""
        return self._halted.is_set()

    @property
    def unfinished(self) -> int:
        """How many deliveries are not finished."""
        return len(self._unfinished)

    @property
    def full(self) -> bool:
        """Whether no more should be fetched."""
        return len(self._unfinished) >= MAX_ITEMS or self._bytes >= MAX_BYTES or len(self._finished) >= MAX_AHEAD

    @property
    def relaxed(self) -> bool:
        """Whether fetching may go on."""
        return (
            len(self._unfinished) <= MAX_ITEMS // 2
            and self._bytes <= MAX_BYTES // 2
            and len(self._finished) <= MAX_AHEAD // 2
        )

    @property
    def committable(self) -> int | None:
        """The offset that may be committed: below it everything is finished. None where nothing was read yet."""
        # After a rebalance `_next` is below what is still being delivered since before, until that is read again.
        return None if self._next is None else min(self._next, min(self._unfinished, default=self._next))

    def add(self, item: Item, lane: str) -> None:
        """Takes a record up. One that is finished or being delivered since before a rebalance is not taken up twice."""
        if self.halted:
            return
        if item.offset < self._floor:  # the topic was deleted and made again
            self._finished.clear()
            self._floor = 0
        self._next = item.offset + 1
        if item.offset in self._finished or item.offset in self._unfinished:
            return
        self._unfinished[item.offset] = item.size
        self._bytes += item.size
        found = self._lanes.get(lane)
        if found is None:
            found = self._lanes[lane] = Lane(lane)
        found.items.append(item)
        self._wake(found)

    def open(self) -> None:
        """Lets deliveries begin."""
        self._opened = True
        for lane in self._lanes.values():
            self._wake(lane)

    def begin(self, items: Iterable[Item]) -> None:
        """Marks deliveries as being worked on; a halt waits for them."""
        self._busy.update((item.offset, time.monotonic()) for item in items)

    def end(self, items: Iterable[Item]) -> None:
        """Marks the end of the work on them, finished or not."""
        for item in items:
            del self._busy[item.offset]

    def finish(self, item: Item) -> None:
        """Nothing is left to do for the delivery: its outcome is recorded."""
        self._bytes -= self._unfinished.pop(item.offset)
        self._finished.add(item.offset)

    def is_finished(self, item: Item) -> bool:
        """Whether `finish` was called for it."""
        return item.offset in self._finished or item.offset not in self._unfinished

    def committed(self, offset: int) -> None:
        """The offset was committed; what is below it is not read again."""
        self._floor = offset
        self._finished = {finished for finished in self._finished if finished >= offset}

    def stalled(self, seconds: float) -> Iterable[Lane]:
        """Lanes of which nothing ended well for so long, and in which more than the head waits."""
        before = time.monotonic() - seconds
        return [lane for lane in self._lanes.values() if lane.moved < before and len(lane.items) > max(lane.calling, 1)]

    def take_behind_head(self, lane: Lane) -> list[Item]:
        """Takes what waits behind the head out of a lane, for the caller to finish."""
        keep = max(lane.calling, 1)
        taken = [lane.items.pop() for _ in range(len(lane.items) - keep)]
        return taken[::-1]

    def halt(self) -> None:
        """Nothing new begins from now on: what waits is put away unfinished, what is being delivered goes on."""
        self._halted.set()
        for lane in self._lanes.values():
            while len(lane.items) > lane.calling:
                lane.items.pop()

    async def wait_idle(self, timeout_s: float, hung_s: float = math.inf) -> None:
        """Waits until nothing is being delivered or recorded, but for what has been going on for `hung_s` seconds."""
        deadline = time.monotonic() + timeout_s
        while any(  # noqa: ASYNC110 - looks at ages too, which no event tells
            time.monotonic() - since < hung_s for since in self._busy.values()
        ) and (time.monotonic() < deadline):
            await asyncio.sleep(_LOOK_S)

    def revive(self) -> None:
        """After a halt the partition is ours again, closed, and is read again from its committed offset.

        What is being delivered since before goes on, and is not taken up twice.
        """
        self._halted = asyncio.Event()
        self._opened = False
        self._next = None
        self._unfinished = {offset: size for offset, size in self._unfinished.items() if offset in self._busy}
        self._bytes = sum(self._unfinished.values())

    async def cancel(self) -> None:
        """Ends everything, also what is being delivered."""
        self.halt()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def run(self, work: Awaitable[None]) -> None:
        """Runs something beside the lanes, to be ended with them."""
        self._start(work)

    def _wake(self, lane: Lane) -> None:
        if lane.task is None and self._opened and not self.halted and lane.items:
            lane.task = self._start(self._run(lane))

    def _start(self, work: Awaitable[None]) -> asyncio.Task[None]:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failed(error)

    async def _run(self, lane: Lane) -> None:
        try:
            while lane.items and self._opened and not self.halted:
                wait_s = lane.items[0].due - time.monotonic()
                if wait_s <= 0:
                    await self._step(self, lane)
                else:
                    await _happens(self._halted, wait_s)
        finally:
            lane.task = None
            if self.halted:
                lane.items.clear()
            if not lane.items and self._lanes.get(lane.name) is lane:
                del self._lanes[lane.name]
        self._wake(lane)  # it may have been closed and opened again meanwhile; not after a step that raised


async def _happens(event: asyncio.Event, within_s: float) -> bool:
    """Whether the event happens within so many seconds."""
    try:
        await asyncio.wait_for(event.wait(), within_s)
    except TimeoutError:
        return False
    return True
