"""Accepted batches leave their lane while they are recorded; nothing of them is committed, or sent again, before that is done."""

import asyncio
from collections.abc import Sequence

from notifier.settings import Settings
from streams.delivery.lanes import Lane, Lanes, Pending
from streams.delivery.leaving import Leaving
from streams.delivery.recording import Note, Recording
from tests.rigs.delivery_rig import (
    define_sink,
    is_committed,
    make,
    saw,
    seen,
    send,
    wait_for_attempts,
    working,
)
from tests.rigs.kafka_tools import wait_until


class Records(Recording):
    """Nothing is written; what is started runs in tasks of their own."""

    def __init__(self) -> None:
        self._late = set()
        self._unacknowledged = set()

    async def attempts(self, notes: Sequence[Note]) -> None:
        return


def pending_of(offset: int) -> Pending:
    delivery = make(str(offset), number=offset)
    return Pending(offset=offset, timestamp=0, key=None, value=b"x", delivery=delivery)


class Batches:
    """Lanes whose steps send two deliveries at a time and let them go; each end waits to be acknowledged."""

    def __init__(self) -> None:
        self.failed: list[BaseException] = []
        self.sent: list[int] = []
        self.acknowledged: dict[int, asyncio.Future[None]] = {}  # by the first offset of a batch
        self.lanes = Lanes(self._step, self.failed.append)
        self.leaving = Leaving(self.lanes, Records(), self.failed.append)
        for offset in range(8):
            self.lanes.add(pending_of(offset), "a")
        self.lanes.open()

    async def _step(self, lane: Lane) -> None:
        batch = list(lane.pending)[:2]
        with self.lanes.working(lane, batch):
            self.sent += [pending.offset for pending in batch]
            self.acknowledged[batch[0].offset] = asyncio.get_running_loop().create_future()
            await self.leaving.let_go(lane, batch, self._end(batch))

    async def _end(self, batch: Sequence[Pending]) -> None:
        await self.acknowledged[batch[0].offset]
        for pending in batch:
            self.lanes.finish(pending)

    def acknowledge(self, offset: int) -> None:
        self.acknowledged[offset].set_result(None)


async def _turns() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_one_batch_of_a_lane_goes_on_while_the_one_before_is_recorded() -> None:
    batches = Batches()
    lane = Lane("a")
    await _turns()
    assert batches.sent == [0, 1, 2, 3]
    assert batches.lanes.committable == 0
    assert batches.leaving.has(lane, make("1", number=1).id)
    assert not batches.leaving.has(Lane("b"), make("1", number=1).id)
    batches.acknowledge(0)
    await _turns()
    assert batches.sent == [0, 1, 2, 3, 4, 5]
    assert batches.lanes.committable == 2
    assert not batches.leaving.has(lane, make("1", number=1).id)
    batches.acknowledge(4)  # not in order
    await _turns()
    assert batches.lanes.committable == 2
    batches.acknowledge(2)
    await _turns()
    batches.acknowledge(6)
    await batches.lanes.wait_idle(60)
    assert batches.sent == list(range(8))
    assert batches.lanes.committable == 8
    assert batches.failed == []


async def test_a_stop_waits_for_what_is_leaving() -> None:
    batches = Batches()
    await _turns()
    batches.lanes.halt()
    stopped = asyncio.create_task(batches.lanes.wait_idle(60))
    await _turns()
    assert not stopped.done()
    batches.acknowledge(0)
    batches.acknowledge(2)
    await stopped
    assert batches.sent == [0, 1, 2, 3]
    assert batches.lanes.committable == 4


async def test_what_is_leaving_is_recorded_also_when_the_lanes_are_cancelled() -> None:
    batches = Batches()
    await _turns()
    await batches.lanes.cancel()
    batches.acknowledge(0)
    batches.acknowledge(2)
    await batches.lanes.wait_idle(60)
    assert batches.lanes.committable == 4
    assert batches.failed == []


async def test_what_cannot_be_recorded_is_not_committed_and_ends_the_partition() -> None:
    batches = Batches()
    await _turns()
    batches.acknowledged[0].set_exception(RuntimeError("no disk"))
    await _turns()
    assert [str(error) for error in batches.failed] == ["no disk"]
    assert batches.lanes.committable == 0
    await batches.lanes.cancel()
    batches.acknowledge(2)
    await _turns()
    assert batches.lanes.committable == 0


async def test_an_id_that_is_leaving_is_not_sent_again(settings: Settings) -> None:
    path = await define_sink(settings, fixed=True, size=3)
    await send(settings, [make(str(n % 6), lane="sink", number=n % 6) for n in range(18)])
    async with working(settings):
        await wait_for_attempts(settings, 12, reason="duplicate")
        await saw(path, 6)
        await wait_until(lambda: is_committed(settings, {0: 18}))
    assert [line["content"] for line in seen(path)] == [str(n) for n in range(6)]
