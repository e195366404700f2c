"""What a service told to wait: kept over rebalances and restarts, and over when its consumer changes."""

from datetime import timedelta

import pytest

from notifier.settings import Settings
from streams.delivery import partition, waits
from streams.delivery.waits import Waits
from tests.rigs.delivery_rig import (
    attempts,
    buried,
    dead_letters,
    define,
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
from tests.rigs.kafka_tools import wait_until


class Clock:
    """A monotonic clock that a test moves."""

    def __init__(self) -> None:
        self.at = 1000.0

    def monotonic(self) -> float:
        return self.at


def test_an_address_is_not_called_before_the_longest_wait_that_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(waits, "time", clock)
    told = Waits()
    told.tell("chat", "a", 1600.0)
    told.tell("chat", "a", 1005.0)
    told.tell("chat", "b", 1005.0)
    assert [told.until("chat", address) for address in "abc"] == [1600.0, 1005.0, 0.0]
    assert told.until("other", "a") == 0.0
    clock.at = 1005.0
    assert told.until("chat", "b") <= clock.at
    assert told.until("chat", "a") == 1600.0
    told.forget("chat")
    told.forget("chat")
    assert told.until("chat", "a") == 0.0


@pytest.mark.parametrize("answer", ["limit 600", "fail"])
async def test_a_wait_is_kept_over_a_rebalance_and_a_restart_and_ends_with_the_consumers_change(
    settings: Settings, answer: str
) -> None:
    settings = with_(settings, retry_schedule_s=(600.0,), lane_wait_s=700.0)
    plan = {"0": [answer, "accept"]}
    path, gone = await define_sink(settings, plan=plan), await define_sink(settings, "gone", plan=plan)
    for consumer in ("sink", "gone"):
        await send(settings, [make(str(n), consumer=consumer, number=n) for n in range(2)])
    async with working(settings):
        told = await wait_for_attempts(settings, 2, outcome="deferred")
        waits_s = [(a.not_before - a.ended_at).total_seconds() for a in told if a.not_before]
        assert len(waits_s) == 2
        assert answer == "fail" or waits_s == [600.0, 600.0]  # to the second
        other = await define_sink(settings, "other")
        await send(settings, [make("2", consumer="other", number=2)])
        await saw(other, 1)  # so there was a rebalance
    async with working(settings):
        await send(settings, [make("3", consumer="other", number=3)])
        await saw(other, 2)
        assert [line["content"] for line in (*seen(path), *seen(gone))] == ["0", "0"]
        await define_sink(settings, plan={"0": ["accept"]})
        await define(settings, "gone", None, revision=2)
        assert [(line["content"], line["attempt"]) for line in await saw(path, 3)] == [("0", 1), ("0", 2), ("1", 1)]
        await wait_until(lambda: buried(settings, 2))
    assert {letter.reason for letter in await dead_letters(settings)} == {"consumer_deleted"}


async def test_a_wait_is_over_when_the_consumer_was_changed_while_no_worker_ran(settings: Settings) -> None:
    settings = with_(settings, retry_schedule_s=(600.0,), lane_wait_s=0.0)
    plan = {"0": ["limit 600"], "1": ["fail"]}
    path = await define_sink(settings, plan=plan)
    await send(settings, [make("0"), make("1", lane="b", number=1)])
    async with working(settings):
        await wait_for_attempts(settings, 2, outcome="deferred")
    assert [d.why for d in (await parked(settings)).values()] == ["retry"]
    await define_sink(settings)
    async with working(settings):
        assert {(line["content"], line["attempt"]) for line in (await saw(path, 4))[2:]} == {("0", 2), ("1", 2)}


async def test_a_script_that_is_mended_during_a_call_ends_the_wait_that_follows(settings: Settings) -> None:
    settings = with_(settings, retry_schedule_s=(600.0,), lane_wait_s=700.0)
    script = {"executor": "python", "content": "fail()"}
    await define(settings, "mended", script, kind="script")
    path = await define_sink(settings, plan={"0": ["gate fail", "accept"], "1": ["fail", "accept"]}, script="mended")
    await send(settings, [make("0"), make("1", lane="b", number=1)])
    async with working(settings):
        await wait_for_attempts(settings, 1, outcome="deferred")
        await wait_until(path.with_suffix(".shut").exists)  # the call has begun
        await define(settings, "mended", {**script, "content": "pass"}, kind="script", revision=2)
        assert [line["content"] for line in await saw(path, 2)] == ["1", "1"]  # so the worker has seen the change
        path.with_suffix(".open").touch()
        assert [(line["content"], line["attempt"]) for line in (await saw(path, 4))[2:]] == [("0", 1), ("0", 2)]


async def test_a_wait_of_days_is_parked_with_what_follows_it(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partition, "LONG_WAIT_S", 10.0)
    path = await define_sink(settings, plan={"0": ["limit 1e300"]}, fixed=True)
    await send(settings, [make(str(n), lane="sink", number=n) for n in range(3)])
    async with working(settings):
        found = await wait_for_attempts(settings, 3, outcome="deferred", reason="rate_limited")
        assert len(await parked(settings)) == 3
        assert [line["content"] for line in seen(path)] == ["0"]
        first, *others = [a.not_before for a in found if a.not_before]
        assert first == found[0].ended_at + timedelta(days=30)
        assert [other >= first for other in others] == [True, True]
        await define_sink(settings, fixed=True)
        assert {line["content"] for line in (await saw(path, 4))[1:]} == {"0", "1", "2"}
    assert len(await attempts(settings)) == 6
