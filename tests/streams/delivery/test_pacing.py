"""The pace of a credential and what overtakes, with a real worker and a real broker."""

import json
from collections import defaultdict
from typing import Any

import msgspec
import pytest

from notifier.delivery import Delivery
from notifier.settings import Settings
from streams.delivery import lanes, partition, worker
from tests.rigs.delivery_rig import (
    attempts,
    dead_letters,
    define_sink,
    is_committed,
    make,
    parked,
    saw,
    send,
    wait_for_attempts,
    with_,
    working,
)
from tests.rigs.kafka_tools import produce, wait_until
from tests.rigs.windows import most_within


def critical(delivery: Delivery) -> Delivery:
    message = {**json.loads(bytes(delivery.message)), "severity": "critical"}
    return msgspec.structs.replace(delivery, message=msgspec.Raw(json.dumps(message).encode()))


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Partitions that are full soon."""
    monkeypatch.setattr(lanes, "MAX_PENDING", 20)
    monkeypatch.setattr(lanes, "NEAR", 3)
    monkeypatch.setattr(partition, "FULL_S", 0.0)
    monkeypatch.setattr(worker, "FETCHED_AT_ONCE", 10)


async def test_one_credential_has_one_pace_and_who_waits_for_it_hinders_nobody(settings: Settings) -> None:
    """Two consumers; in front of one's partition lies more for one chat than a partition holds."""
    settings = with_(settings, lane_wait_s=0.0)  # nothing of this is a failure, so nothing is parked
    paced: dict[str, Any] = {"credential": "bot", "rates": [(8, 1.0)], "lane_rates": [(2, 0.8)]}
    paths = [await define_sink(settings, name, **paced) for name in ("sink", "other")]
    made = [make(str(n), lane="slow", number=n) for n in range(50)]
    made += [make(str(n), lane=f"p{n}", number=n) for n in range(10)]
    others = [make(str(n), consumer="other", lane=f"q{n % 2}", number=n) for n in range(10)]
    await send(settings, [*made, *others])
    async with working(settings):
        lines = await saw(paths[0], 60)
        more = await saw(paths[1], 10)
        found = await wait_for_attempts(settings, 70, outcome="accepted")
        await wait_until(lambda: is_committed(settings, {0: 60}))
    got: defaultdict[str, list[int]] = defaultdict(list)
    times: defaultdict[str, list[float]] = defaultdict(list)
    for line in lines + more:
        got[line["address"]].append(int(line["content"]))
        times[line["address"]].append(line["at"])
    assert got["slow"] == list(range(50))
    assert [got[f"p{n}"] for n in range(10)] == [[n] for n in range(10)]
    assert [got[f"q{n}"] for n in range(2)] == [list(range(n, 10, 2)) for n in range(2)]
    assert [line["address"] for line in lines[-20:]] == ["slow"] * 20
    assert most_within([line["at"] for line in lines + more], 0.99) <= 8
    assert {address for address, at in times.items() if most_within(at, 0.79) > 2} == set()
    assert len(found) == len(await attempts(settings)) == 70  # a wait is no attempt
    assert {a.number for a in found} == {1}
    assert (await parked(settings), await dead_letters(settings)) == ({}, [])


async def test_what_is_critical_overtakes_what_waits_in_its_lane_also_where_that_fills_the_partition(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: set[int] = set()
    add = lanes.Lanes.add

    def watched(self: lanes.Lanes, pending: lanes.Pending, lane: str, *, over: bool = False) -> None:
        read.add(pending.offset)
        add(self, pending, lane, over=over)

    monkeypatch.setattr(lanes.Lanes, "add", watched)
    path = await define_sink(settings, fixed=True, overtake="critical", otherwise="slow 0.02", plan={"0": ["gate"]})
    plain = [make(str(n), lane="sink", number=n) for n in range(100)]
    urgent = [critical(make(f"c{n}", lane="sink", number=n)) for n in range(3)]
    await send(settings, [plain[0]])
    async with working(settings):
        await wait_until(path.with_suffix(".shut").exists)  # the first is being delivered
        await send(settings, [*plain[1:80], *urgent[:2], *plain[80:], urgent[2]])
        await wait_until(lambda: len(read) == 103)
        path.with_suffix(".open").touch()
        contents = [line["content"] for line in await saw(path, 103)]
        await wait_until(lambda: is_committed(settings, {0: 103}))
    assert contents == ["0", "c0", "c1", "c2", *(str(n) for n in range(1, 100))]


async def test_without_the_parameter_nothing_overtakes(settings: Settings) -> None:
    path = await define_sink(settings, fixed=True)
    await send(settings, [make("0", lane="sink"), critical(make("1", lane="sink")), make("2", lane="sink")])
    async with working(settings):
        assert [line["content"] for line in await saw(path, 3)] == ["0", "1", "2"]


async def test_the_next_worker_counts_what_the_one_before_has_sent(settings: Settings) -> None:
    path = await define_sink(settings, credential="bot", lane_rates=[(2, 10.0)])
    await send(settings, [make(str(n), number=n) for n in range(2)])
    async with working(settings):
        await wait_for_attempts(settings, 2, outcome="accepted")
    await produce(settings, "attempts", [b'{"v": 2}', b"no attempt", None], key="a")
    await send(settings, [make("2", number=2)])
    async with working(settings):
        lines = await saw(path, 3)
    assert lines[2]["at"] - lines[0]["at"] >= 10.0


async def test_two_workers_keep_the_limits_of_a_credential_together(settings: Settings) -> None:
    names = ("one", "two", "three")
    paced: dict[str, Any] = {"credential": "bot", "rates": [(4, 1.0)], "partitions": 2}
    paths = [await define_sink(settings, name, **paced) for name in names]
    free = await define_sink(settings, "free", partitions=2)
    async with working(settings), working(settings):
        await send(settings, [make("0", consumer="free")])
        await saw(free, 1)
        made = [make(str(n), consumer=name, lane=f"p{n}", number=n) for name in names for n in range(8)]
        await send(settings, made)
        await wait_for_attempts(settings, 25, outcome="accepted")
        lines = [line for path in paths for line in await saw(path, 8)]
    assert most_within([line["at"] for line in lines], 0.99) <= 4
    assert len(lines) == len(await attempts(settings)) - 1 == 24
