"""Lanes on a real broker: order within one, none waits for another, and the limits of what is in flight."""

import pytest

from notifier.settings import Settings
from streams.delivery import lanes, worker
from tests.rigs.delivery_rig import (
    attempts,
    committed,
    define_sink,
    make,
    parked,
    saw,
    seen,
    send,
    wait_for_attempts,
    with_,
    working,
)


async def test_equal_lanes_keep_their_order_and_others_go_on_while_one_hangs(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "STOP_WAIT_S", 0.1)  # for what hangs, at the end
    path = await define_sink(settings, plan={"stuck": ["hang"]}, timeout_s=600)
    made = [make("stuck", lane="dead")]
    made += [make("more", lane="dead", number=n) for n in range(3)]
    made += [make(str(n), lane=f"lane-{n % 4}", number=n) for n in range(40)]
    await send(settings, made)
    async with working(settings):
        lines = await saw(path, 41)
        got: dict[str, list[int]] = {}
        for line in lines[1:]:
            if line["content"] != "stuck":
                got.setdefault(line["id"].rsplit("/", 1)[1], []).append(int(line["content"]))
        assert got == {f"lane-{n}": list(range(n, 40, 4)) for n in range(4)}
        assert await committed(settings) in ({}, {0: 0})  # never past the one that hangs


async def test_a_lane_that_stands_still_makes_room_for_the_others(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lanes, "MAX_PENDING", 20)
    monkeypatch.setattr(worker, "FETCHED_AT_ONCE", 10)
    settings = with_(settings, lane_wait_s=0.5, retry_schedule_s=(600.0,))
    path = await define_sink(settings, plan={"dead": ["hang"]}, timeout_s=4)
    made = [make("dead", lane="dead", number=n) for n in range(50)]
    made += [make(str(n), lane="alive", number=n) for n in range(10)]
    await send(settings, made)
    async with working(settings):
        await wait_for_attempts(settings, 10, outcome="accepted")
        overtaken = [a for a in await attempts(settings) if (a.detail or "").startswith("not tried: its lane stands")]
        assert overtaken
        assert {(a.outcome, a.number) for a in overtaken} == {("deferred", 1)}
        waiting = await parked(settings)
        assert {a.delivery for a in overtaken} <= set(waiting)
    assert [line["content"] for line in seen(path) if line["content"] != "dead"] == [str(n) for n in range(10)]


async def test_a_full_partition_is_fetched_no_further_until_it_is_worked_off(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lanes, "MAX_PENDING", 20)
    path = await define_sink(settings, fixed=True, otherwise="slow 0.001")
    await send(settings, [make(str(n), lane="sink", number=n) for n in range(300)])
    async with working(settings):
        lines = await saw(path, 300)
    assert [line["content"] for line in lines] == [str(n) for n in range(300)]
