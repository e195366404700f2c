"""A refused credential holds its consumer and loses nothing: when it is tried again, and what people are told."""

import pytest

from notifier.outcome import Reason
from notifier.plugin import Result
from notifier.settings import Settings
from notifier.status import Status
from streams.delivery import holds
from streams.delivery.holds import Holds
from tests.rigs.delivery_rig import (
    attempts,
    dead_letters,
    define_sink,
    make,
    saw,
    send,
    wait_for_attempts,
    with_,
    working,
)
from tests.rigs.kafka_tools import read_all, wait_until


class Clock:
    """A monotonic clock that a test moves."""

    def __init__(self) -> None:
        self.at = 1000.0

    def monotonic(self) -> float:
        return self.at


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(holds, "time", found)
    return found


class Told:
    """What a worker was told of holds."""

    def __init__(self) -> None:
        self.said: list[tuple[str, float | None]] = []
        self.holds = Holds((5.0, 30.0), lambda name, s, _: self.said.append((name, s)), self.ended)

    def ended(self, name: str) -> None:
        self.said.append((name, None))


def answer(reason: Reason) -> list[Result]:
    return [Result(outcome="refused", reason=reason)]


def test_one_at_a_time_is_tried_by_the_schedule_and_the_first_answer_ends_the_hold(clock: Clock) -> None:
    told = Told()
    for wait_s in (5.0, 30.0, 30.0):
        assert told.holds.begin("chat")
        told.holds.learn("chat", clock.at, answer("unauthorized"))
        assert told.said[-1] == ("chat", wait_s)
        assert told.holds.until("chat") == clock.at + wait_s
        assert not told.holds.begin("chat")
        clock.at += wait_s
    assert told.holds.begin("chat")
    assert not told.holds.begin("chat")
    assert clock.at < told.holds.until("chat") < clock.at + 1  # until the probe has ended
    told.holds.give_back("chat")
    assert told.holds.begin("chat")
    told.holds.learn("chat", clock.at, answer("connection"))  # says nothing of the credential
    assert told.holds.until("chat") == clock.at + 30
    clock.at += 30
    assert told.holds.begin("chat")
    told.holds.learn("chat", clock.at, answer("not_found"))
    assert told.said[-1] == ("chat", None)
    assert told.holds.until("chat") == 0
    assert told.holds.begin("chat")
    assert told.holds.begin("chat")


def test_calls_that_were_under_way_neither_lengthen_a_hold_nor_end_it(clock: Clock) -> None:
    told = Told()
    began = clock.at
    clock.at += 1
    told.holds.learn("chat", began, answer("unauthorized"))
    told.holds.learn("chat", began, answer("unauthorized"))
    told.holds.learn("chat", began, answer("ok"))
    assert told.said == [("chat", 5.0)]
    assert told.holds.until("chat") == clock.at + 5
    assert told.holds.until("other") == 0


def test_a_change_of_the_consumer_ends_its_hold(clock: Clock) -> None:
    told = Told()
    told.holds.learn("chat", clock.at, answer("unauthorized"))
    told.holds.forget("chat")
    told.holds.forget("other")
    assert told.said == [("chat", 5.0), ("chat", None)]
    assert told.holds.begin("chat")


@pytest.mark.parametrize("fixed", [pytest.param(True, id="group"), pytest.param(False, id="people")])
async def test_what_comes_while_the_credential_is_refused_arrives_once_it_is_mended(
    settings: Settings, fixed: bool
) -> None:
    settings = with_(settings, retry_schedule_s=(600.0,), lane_wait_s=0.0)
    path = await define_sink(settings, otherwise="unauthorized", fixed=fixed)
    await send(settings, [make("0", lane="a")])
    async with working(settings):
        (first,) = await wait_for_attempts(settings, 1, outcome="deferred", reason="unauthorized")
        assert first.not_before is not None
        made = [make(str(n), lane="a" if fixed else f"lane-{n % 4}", number=n) for n in range(1, 20)]
        await send(settings, made)

        async def paused() -> list[Status]:
            records = await read_all(settings, "status")  # the process says there how it is, too
            return [Status.decode(record.value) for record in records if record.key == b"consumer/sink"]

        (status,) = await wait_until(paused)
        assert (status.kind, status.name, status.state, status.reason) == ("consumer", "sink", "paused", "unauthorized")
        assert status.detail == "the service answered 401"
        other = await define_sink(settings, "other")
        await send(settings, [make("20", consumer="other", number=20)])
        await saw(other, 1)
        assert len(await saw(path, 1)) == 1
        await define_sink(settings, fixed=fixed)
        lines = await saw(path, 21)
        await wait_for_attempts(settings, 21, outcome="accepted")
        await wait_until(lambda: _is_over(settings))
    contents = [int(line["content"]) for line in lines]
    assert contents[0] == 0
    assert contents[1:] == list(range(20)) if fixed else sorted(contents[1:]) == list(range(20))
    assert await dead_letters(settings) == []
    assert len([a for a in await attempts(settings) if a.reason == "unauthorized"]) == 1


async def _is_over(settings: Settings) -> bool:
    last = {record.key: record.value for record in await read_all(settings, "status")}
    return last[b"consumer/sink"] is None
