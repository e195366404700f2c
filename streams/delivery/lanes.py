"""Lanes: the unfinished deliveries of one partition, in order within a lane; critical ones go before the others there.

A lane takes one step at a time; different lanes run concurrently. Committable is everything below the lowest unfinished
offset. Where lanes wait that do not fail, what is far behind their heads is dropped but for its offset
(`streams.delivery.far`), so that the partition can be read on. No I/O happens here: `step` does the work
(`streams.delivery.partition`), offsets are committed by `streams.delivery.worker`.
"""

import asyncio
import math
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from notifier.delivery import Delivery
from streams.delivery.far import Far

# Fetching of a partition pauses at any of these.
MAX_PENDING = 2000  # unfinished deliveries, without those far behind
MAX_FAR = 500_000  # deliveries far behind
MAX_BYTES = 16 * 1024 * 1024  # of unfinished deliveries
MAX_AHEAD = 500_000  # finished offsets above the lowest unfinished one; each is remembered

NEAR = 100  # deliveries of a lane that waits, which are kept when others are dropped
_CRITICAL_SHARE = 1.5  # of the room, that critical ones may fill together with others
_LOOK_S = 0.01


@dataclass(kw_only=True, eq=False, slots=True)
class Pending:
    """A delivery read from its topic and not finished."""

    offset: int
    timestamp: int | None  # of the record, in milliseconds since 1970
    key: bytes | None
    value: bytes | None
    delivery: Delivery | None  # none: the record cannot be read
    error: str = ""  # why it cannot be read
    attempt: int = 1  # number of the next try
    spared: int = 0  # tries that did not spend the retry schedule
    began: float | None = None  # first try in this process; `time.monotonic()`
    due: float = 0.0  # earliest next try; `time.monotonic()`
    looks_at: float = 0.0  # next look at it as a head, though it may be due; `time.monotonic()`
    alone: bool = False  # a batch with it failed as a whole, so it is tried by itself
    fresh: bool = True  # not compared with the ledger yet
    critical: bool = False  # it goes before what is not, within its lane and among the lanes
    leaves: bool = False  # it was accepted and leaves its lane before that is recorded; see `streams.delivery.leaving`

    @property
    def address(self) -> str:
        """Whom a call of its consumer reaches; empty where the record cannot be read."""
        return "" if self.delivery is None else self.delivery.address or self.delivery.lane

    @property
    def size(self) -> int:
        """Bytes of the record's value."""
        return len(self.value or b"")


@dataclass(eq=False, slots=True)
class Lane:
    """The unfinished deliveries of one lane, in order."""

    name: str
    pending: deque[Pending] = field(default_factory=deque)
    calling: int = 0  # how many of the first are being worked on
    task: asyncio.Task[None] | None = None
    woken: asyncio.Event = field(default_factory=asyncio.Event)  # it is to look at its head, though that is not due
    moved: float = field(default_factory=time.monotonic)  # when a tried delivery last left the lane
    patient: bool = False  # its head does not fail but waits, as the service or somebody wants it
    place: int | None = None  # of its head among those that wait for the pace

    def is_patient(self, patient: bool) -> None:
        """Says whether its head waits without failing. When that ends, it is as if the lane had moved."""
        if self.patient and not patient:
            self.moved = time.monotonic()
        self.patient = patient


class Lanes:
    """All lanes of one partition, closed until `open`. `failed` is called with what a step raises."""

    def __init__(self, step: Callable[[Lane], Awaitable[None]], failed: Callable[[BaseException], None]) -> None:
        self._step = step
        self._failed = failed
        self.far = Far()
        self._lanes: dict[str, Lane] = {}
        self._unfinished: dict[int, int] = {}  # offset → bytes
        self._finished: set[int] = set()  # offsets above the lowest unfinished one
        self._busy: dict[int, float] = {}  # being worked on: offset → since when, `time.monotonic()`
        self._bytes = 0  # of unfinished deliveries
        self._next: int | None = None  # offset after the last record read since the assignment
        self._floor = 0  # last committed offset
        self._opened = False
        self._reads_on = False  # though lanes wait: what does not go near the heads goes far behind
        self._halted = False
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def opened(self) -> bool:
        """Whether deliveries may begin."""
        return self._opened

    @property
    def halted(self) -> bool:
        """Whether nothing new may begin."""
        return self._halted

    @property
    def unfinished(self) -> int:
        """Number of unfinished deliveries."""
        return len(self._unfinished) + len(self.far)

    @property
    def full(self) -> bool:
        """Whether fetching should pause."""
        return (
            (self._reaches(1.0) and not self._reads_on) or len(self._finished) >= MAX_AHEAD or len(self.far) >= MAX_FAR
        )

    @property
    def relaxed(self) -> bool:
        """Whether fetching may go on."""
        return (
            (self._reads_on or not self._reaches(0.5))
            and len(self._finished) <= MAX_AHEAD // 2
            and len(self.far) <= MAX_FAR - MAX_PENDING
        )

    @property
    def committable(self) -> int | None:
        """The offset below which everything is finished. None where nothing was read yet."""
        # After a rebalance `_next` is below the deliveries that are still being worked on, until those are read again.
        if self._next is None:
            return None
        far = self.far.first
        return min(self._next, min(self._unfinished, default=self._next), self._next if far is None else far)

    def add(self, pending: Pending, lane: str, *, over: bool = False) -> None:
        """Adds a record to a lane. Skips one that is finished, or being worked on since before a rebalance.

        `over`: another worker has finished it.
        """
        if self.halted:
            return
        if pending.offset < self._floor:  # the topic was deleted and created again
            self._finished.clear()
            self._floor = 0
        self._next = pending.offset + 1
        if pending.offset in self._finished or pending.offset in self._unfinished:
            return
        if over:
            self._finished.add(pending.offset)
            return
        if self._reads_on:
            crowded = self._reaches(_CRITICAL_SHARE if pending.critical else 0.5)
            # Behind critical ones that are far, the others are too: near the head they would go first.
            if crowded or self.far.has(lane, True) or self.far.has(lane, pending.critical):
                self.far.add(lane, [pending.offset], pending.critical)
                return
            self._reads_on = len(self.far) > 0 or self._reaches(0.5)
        self._put(pending, lane)

    def bring(self, pending: Pending, lane: str) -> None:
        """Puts a delivery that was far behind and has been read again into its lane."""
        critical = self.far.remove(lane, pending.offset)
        if critical is not None:  # else the partition was given away meanwhile
            pending.critical = critical
            self._put(pending, lane)

    def lose(self, offset: int, lane: str) -> None:
        """Finishes a delivery far behind that is not on its topic any more."""
        if self.far.remove(lane, offset) is not None:
            self._finished.add(offset)

    @property
    def has_room(self) -> bool:
        """Whether more that is far behind can be brought."""
        return not self.halted and self._bytes < MAX_BYTES * 0.5

    def wanted(self) -> list[tuple[int, str]]:
        """The offset and lane of deliveries far behind that are to be brought now, by offset."""
        if self.halted or not self._opened or not len(self.far):
            return []
        if self._reaches(0.5):
            self.shed()
        found: list[tuple[int, str]] = []
        room = MAX_PENDING // 2 - len(self._unfinished)
        for name, offsets in self.far.lanes():
            if room <= 0 or self._reaches(0.5):
                break
            lane = self._lanes.get(name)
            near, keep = 0 if lane is None else len(lane.pending), self._keep(lane)
            if near <= keep // 2:
                brought = offsets[: min(room, keep - near)]
                room -= len(brought)
                found += [(offset, name) for offset in brought]
        return sorted(found)

    def shed(self) -> None:
        """Drops what is far behind the heads, but for its offset; of what is read from now on, too, until there is room."""
        self._reads_on = True
        for lane in self._lanes.values():
            keep = max(lane.calling, 1 if self._bytes >= MAX_BYTES * 0.5 else self._keep(lane))
            dropped: list[Pending] = []
            # What was looked at knows more than its record does.
            while len(lane.pending) > keep and lane.pending[-1].fresh:
                dropped.append(lane.pending.pop())
                self._bytes -= self._unfinished.pop(dropped[-1].offset)
            for critical in (False, True):
                offsets = [pending.offset for pending in reversed(dropped) if pending.critical == critical]
                if offsets:
                    self.far.add(lane.name, offsets, critical)

    def _reaches(self, share: float) -> bool:
        """Whether deliveries fill this share of the room for them."""
        return len(self._unfinished) >= MAX_PENDING * share or self._bytes >= MAX_BYTES * share

    def _keep(self, lane: Lane | None) -> int:
        """How many deliveries a lane keeps when others are dropped."""
        share = max(1, MAX_PENDING // 4 // max(1, len(self._lanes)))
        return min(share, NEAR) if lane is None or lane.patient else share

    def _put(self, pending: Pending, name: str) -> None:
        self._unfinished[pending.offset] = pending.size
        self._bytes += pending.size
        lane = self._lanes.get(name)
        if lane is None:
            lane = self._lanes[name] = Lane(name)
        if pending.critical:
            at = lane.calling
            while at < len(lane.pending) and lane.pending[at].critical:
                at += 1
            lane.pending.insert(at, pending)
            lane.woken.set()  # its head may be another now
        else:
            lane.pending.append(pending)
        self._wake(lane)

    def open(self) -> None:
        """Lets deliveries begin."""
        self._opened = True
        for lane in self._lanes.values():
            self._wake(lane)

    def wake(self) -> None:
        """Has each lane look at its head once, due or not: something has changed."""
        for lane in self._lanes.values():
            lane.woken.set()

    def forget_waits(self) -> None:
        """Makes all deliveries due, and wakes their lanes."""
        for lane in self._lanes.values():
            for pending in lane.pending:
                pending.due = 0.0
        self.wake()

    def begin(self, deliveries: Iterable[Pending]) -> None:
        """Marks deliveries as being worked on; `wait_idle` waits for them."""
        self._busy.update((pending.offset, time.monotonic()) for pending in deliveries)

    def end(self, deliveries: Iterable[Pending]) -> None:
        """Ends what `begin` marked, finished or not."""
        for pending in deliveries:
            del self._busy[pending.offset]

    def finish(self, pending: Pending) -> None:
        """Marks a delivery as finished: its outcome is recorded and acknowledged."""
        self._bytes -= self._unfinished.pop(pending.offset)
        self._finished.add(pending.offset)

    def is_finished(self, pending: Pending) -> bool:
        """Whether `finish` was called for it."""
        return pending.offset in self._finished or pending.offset not in self._unfinished

    def committed(self, offset: int) -> None:
        """Forgets the offsets below a committed one, which are not read again."""
        self._floor = offset
        self._finished = {finished for finished in self._finished if finished >= offset}

    def stalled(self, seconds: float) -> Iterable[Lane]:
        """The lanes that no tried delivery has left for `seconds`, since their heads fail, and in which more waits."""
        before = time.monotonic() - seconds
        return [
            lane
            for lane in self._lanes.values()
            if lane.moved < before and not lane.patient and len(lane.pending) > max(lane.calling, 1)
        ]

    @property
    def any_is_patient(self) -> bool:
        """Whether a lane waits whose head does not fail."""
        return any(lane.patient for lane in self._lanes.values())

    def take_behind_head(self, lane: Lane) -> list[Pending]:
        """Takes the deliveries behind the head out of a lane, for the caller to finish."""
        keep = max(lane.calling, 1)
        taken = [lane.pending.pop() for _ in range(len(lane.pending) - keep)]
        return taken[::-1]

    @contextmanager
    def working(self, lane: Lane, first: Sequence[Pending]) -> Iterator[None]:
        """The first deliveries of a lane are being worked on; afterwards those that are finished or leave are taken out."""
        lane.calling = len(first)
        self.begin(first)
        try:
            yield
        finally:
            lane.calling = 0
            for _ in first:
                lane.pending.popleft()
            left = [pending for pending in first if not (pending.leaves or self.is_finished(pending))]
            while left and lane.pending and lane.pending[0].critical:  # it came meanwhile
                left.append(lane.pending.popleft())
            left.sort(key=lambda pending: not pending.critical)
            lane.pending.extendleft(reversed(left))
            self.end(pending for pending in first if not pending.leaves)

    def halt(self) -> None:
        """Begins nothing new from now on: drops what waits, unfinished, and lets go on what is being worked on."""
        self._halted = True
        self.far.clear()
        self.wake()
        for lane in self._lanes.values():
            while len(lane.pending) > lane.calling:
                lane.pending.pop()

    async def wait_idle(self, timeout_s: float, hung_s: float = math.inf) -> None:
        """Waits at most `timeout_s` until nothing is being worked on, except for work that is older than `hung_s`."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline and self._busy_for_less_than(hung_s):  # noqa: ASYNC110 - no event tells ages
            await asyncio.sleep(_LOOK_S)

    def revive(self) -> None:
        """Begins again after a halt, closed: the partition is read again from its committed offset.

        Work that is going on since before the halt goes on; `add` skips its records.
        """
        self._halted = False
        self._opened = False
        self._next = None
        self._unfinished = {offset: size for offset, size in self._unfinished.items() if offset in self._busy}
        self._bytes = sum(self._unfinished.values())

    async def cancel(self) -> None:
        """Halts, and cancels what is being worked on."""
        self.halt()
        for task in (tasks := list(self._tasks)):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def run(self, work: Awaitable[None]) -> None:
        """Runs something beside the lanes; `cancel` ends it too."""
        self._start(work)

    def _busy_for_less_than(self, seconds: float) -> bool:
        return any(time.monotonic() - since < seconds for since in self._busy.values())

    def _wake(self, lane: Lane) -> None:
        if lane.task is None and self._opened and not self.halted and lane.pending:
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
            while lane.pending and self._opened and not self.halted:
                wait_s = max(lane.pending[0].due, lane.pending[0].looks_at) - time.monotonic()
                begins = wait_s <= 0 or await _happens(lane.woken, wait_s)
                lane.woken.clear()
                if begins and lane.pending and self._opened and not self.halted:
                    await self._step(lane)
        finally:
            lane.task = None
            if self.halted:
                lane.pending.clear()
            if not lane.pending and self._lanes.get(lane.name) is lane:
                del self._lanes[lane.name]
        self._wake(lane)  # the lanes may have been halted and opened again meanwhile; not after a step that raised


async def _happens(event: asyncio.Event, within_s: float) -> bool:
    """Waits for an event, and says whether it happened in time."""
    try:
        async with asyncio.timeout(within_s):
            await event.wait()
    except TimeoutError:
        return False
    return True
