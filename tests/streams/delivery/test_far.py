"""What is far behind the head of a lane: others go on, order and memory are kept, and it comes back."""

import asyncio
import random

import pytest

from streams.delivery import lanes as lanes_module
from streams.delivery.far import Far
from streams.delivery.lanes import Lane, Lanes, Pending


def pending(offset: int, critical: bool = False) -> Pending:
    return Pending(offset=offset, timestamp=0, key=None, value=b"x" * 10, delivery=None, critical=critical)


class Road:
    """Lanes whose steps finish their head, but for the lane `slow`, which waits until it may go on."""

    def __init__(self) -> None:
        self.finished: list[tuple[str, int]] = []
        self.allowed = 0  # steps of the slow lane
        self.lanes = Lanes(self._step, self._failed)
        self.lanes.open()

    async def _step(self, lane: Lane) -> None:
        if lane.name == "slow" or lane.name.startswith("p"):
            if not self.allowed:
                lane.is_patient(True)
                await lane.woken.wait()
                return
            self.allowed -= 1
        head = lane.pending.popleft()
        self.lanes.finish(head)
        self.finished.append((lane.name, head.offset))

    def _failed(self, error: BaseException) -> None:
        raise error

    async def read(self, records: list[tuple[str, bool]]) -> None:
        """Reads a topic as the worker does; a lane and whether it is critical, by offset."""
        for offset, (lane, critical) in enumerate(records):
            self.lanes.add(pending(offset, critical), lane)
            if self.lanes.full:
                self.lanes.shed()
                await asyncio.sleep(0)
                assert not self.lanes.full
            if offset % 7 == 0:
                await asyncio.sleep(0)

    async def bring(self) -> int:
        wanted = self.lanes.wanted()
        for offset, lane in wanted:
            self.lanes.bring(pending(offset), lane)
            await asyncio.sleep(0)
        return len(wanted)

    def of(self, lane: str) -> list[int]:
        return [offset for name, offset in self.finished if name == lane]


@pytest.fixture
def road(monkeypatch: pytest.MonkeyPatch) -> Road:
    monkeypatch.setattr(lanes_module, "MAX_PENDING", 40)
    monkeypatch.setattr(lanes_module, "NEAR", 5)
    return Road()


async def let_go(road: Road, steps: int) -> None:
    road.allowed = steps
    road.lanes.wake()
    while road.allowed and road.lanes.unfinished:
        await asyncio.sleep(0)
        await road.bring()


async def test_others_go_on_past_thousands_that_wait_and_those_keep_their_order(road: Road) -> None:
    chance = random.Random(7)
    records = [("slow", False)] * 3000 + [(chance.choice(["slow", "a", "b", "c"]), False) for _ in range(2000)]
    await road.read(records)
    while await road.bring():
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    slow = [offset for offset, (lane, _) in enumerate(records) if lane == "slow"]
    assert len(road.finished) == len(records) - len(slow)
    assert road.lanes.unfinished == len(slow)
    assert road.lanes.unfinished - len(road.lanes.far) <= 40
    assert road.lanes.committable == 0
    await let_go(road, 1000)
    assert road.of("slow") == slow[:1000]
    assert road.lanes.committable == 1000
    await let_go(road, 10_000)
    for lane in ("slow", "a", "b", "c"):
        assert road.of(lane) == [offset for offset, (name, _) in enumerate(records) if name == lane]
    assert road.lanes.committable == len(records)
    assert not len(road.lanes.far)


async def test_a_critical_one_overtakes_what_waits_near_and_far(road: Road) -> None:
    records = [("slow", offset in (500, 900)) for offset in range(1000)]
    await road.read(records)
    await let_go(road, 3)
    assert road.of("slow") == [500, 900, 0]
    await let_go(road, 10_000)
    assert road.of("slow")[3:] == [offset for offset in range(1, 1000) if offset not in (500, 900)]


async def test_critical_ones_go_before_a_head_that_failed_and_keep_their_order(road: Road) -> None:
    lane = Lane("slow")
    road.lanes._lanes["slow"] = lane
    for offset in range(3):
        road.lanes.add(pending(offset), "slow")
    with road.lanes.working(lane, [lane.pending[0]]):
        road.lanes.add(pending(3, critical=True), "slow")
    road.lanes.add(pending(4, critical=True), "slow")
    with road.lanes.working(lane, [lane.pending[0]]):
        road.lanes.add(pending(5, critical=True), "slow")
    assert [waiting.offset for waiting in lane.pending] == [3, 4, 5, 0, 1, 2]
    await road.lanes.cancel()


async def test_more_critical_ones_than_there_is_room_for_keep_their_order(road: Road) -> None:
    records = [("slow", offset % 2 == 1) for offset in range(400)]
    await road.read(records)
    await let_go(road, 10_000)
    assert road.of("slow") == [*range(1, 400, 2), *range(0, 400, 2)]


async def test_what_comes_after_critical_ones_that_are_far_goes_after_them(road: Road) -> None:
    await road.read([("slow", offset < 60) for offset in range(75)])
    await let_go(road, 10_000)
    assert road.of("slow") == list(range(75))


async def test_many_lanes_of_one_delivery_each_are_read_past(road: Road) -> None:
    """A bulk run to many people, of whom nobody can go now."""
    records = [(f"p{n}", n == 450) for n in range(500)]
    await road.read(records)
    assert len(road.lanes.far) > 400
    assert road.lanes._lanes["p450"].pending[0].critical
    await road.lanes.cancel()


async def test_what_is_gone_from_its_topic_is_finished_and_what_is_given_away_is_not_brought(road: Road) -> None:
    await road.read([("slow", False)] * 100)
    (offset, lane), *_ = road.lanes.wanted() or [(next(offsets for _, offsets in road.lanes.far.lanes())[0], "slow")]
    road.lanes.lose(offset, lane)
    assert road.lanes.is_finished(pending(offset))
    road.lanes.halt()
    road.lanes.revive()
    road.lanes.bring(pending(offset + 1), lane)
    assert road.lanes.unfinished == 0


def test_only_the_first_of_a_lane_is_taken_out() -> None:
    far = Far()
    far.add("a", [5, 7], False)
    far.add("a", [1, 2], False)
    far.add("a", [6], True)
    assert (len(far), far.first) == (5, 1)
    assert far.remove("a", 5) is None
    assert [far.remove("a", offset) for offset in (1, 6, 2, 5, 7)] == [False, True, False, False, False]
    assert (len(far), far.first, far.has("a", False)) == (0, None, False)


def test_of_many_lanes_the_first_offset_is_never_too_high_and_right_in_the_end() -> None:
    far = Far()
    for n in range(1000):
        far.add(str(n), [n], False)
    for n in range(1000):
        assert far.first is not None
        assert n - 10 <= far.first <= n
        far.remove(str(n), n)
    assert far.first is None
    far.add("a", [7], False)
    far.add("a", [3], False)
    assert far.first == 3
    far.clear()
    assert far.first is None
