"""A refused credential holds its consumer and loses nothing: when it is tried again, and what people are told."""

import pytest

from notifier.outcome import Reason
from notifier.plugin import Result
from notifier.settings import Settings
from notifier.status import Status
from streams.delivery import holds
from streams.delivery.breaker import Tried
from streams.delivery.holds import DOWN_SCHEDULE_S, PATIENCE, Held, Holds
from streams.delivery.retry import Decision
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
        self.holds = Holds((5.0, 30.0), self.begun, self.ended)

    def begun(self, name: str, held: Held) -> None:
        self.said.append((name, held.wait_s))

    def learn(self, began: float, results: list[Result], delivery: str = "1", address: str | None = None) -> None:
        self.holds.learn("chat", began, [Tried(delivery, address)], results)

    def ended(self, name: str) -> None:
        self.said.append((name, None))


def answer(reason: Reason) -> list[Result]:
    return [Result(outcome="refused", reason=reason)]


def test_one_at_a_time_is_tried_by_the_schedule_and_the_first_answer_ends_the_hold(clock: Clock) -> None:
    told = Told()
    for wait_s in (5.0, 30.0, 30.0):
        assert told.holds.begin("chat")
        told.learn(clock.at, answer("unauthorized"))
        assert told.said[-1] == ("chat", wait_s)
        assert told.holds.until("chat") == clock.at + wait_s
        assert not told.holds.begin("chat")
        clock.at += wait_s
    assert told.holds.begin("chat")
    assert not told.holds.begin("chat")
    assert clock.at < told.holds.until("chat") < clock.at + 1  # until the probe has ended
    told.holds.give_back("chat")
    assert told.holds.begin("chat")
    told.learn(clock.at, answer("connection"))  # says nothing of the credential
    assert told.holds.until("chat") == clock.at + 30
    clock.at += 30
    assert told.holds.begin("chat")
    told.learn(clock.at, answer("not_found"))
    assert told.said[-1] == ("chat", None)
    assert told.holds.until("chat") == 0
    assert told.holds.begin("chat")
    assert told.holds.begin("chat")


def test_calls_that_were_under_way_neither_lengthen_a_hold_nor_end_it(clock: Clock) -> None:
    told = Told()
    began = clock.at
    clock.at += 1
    told.learn(began, answer("unauthorized"))
    told.learn(began, answer("unauthorized"))
    told.learn(began, answer("ok"))
    assert told.said == [("chat", 5.0)]
    assert told.holds.until("chat") == clock.at + 5
    assert told.holds.until("other") == 0


def test_a_change_of_the_consumer_ends_its_hold(clock: Clock) -> None:
    told = Told()
    told.learn(clock.at, answer("unauthorized"))
    told.holds.forget("chat")
    told.holds.forget("other")
    assert told.said == [("chat", 5.0), ("chat", None)]
    assert told.holds.begin("chat")


DOWN = Result(outcome="deferred", reason="server_error", detail="500")


def down(told: Told, clock: Clock) -> None:
    """Has a service fail until its consumer is held."""
    for number in range(10):
        told.learn(clock.at, [DOWN], str(number))


def test_a_service_that_is_down_is_tried_ever_more_seldom_and_any_answer_ends_the_hold(clock: Clock) -> None:
    told = Told()
    down(told, clock)
    for wait_s in (*DOWN_SCHEDULE_S, DOWN_SCHEDULE_S[-1]):
        assert told.said[-1] == ("chat", wait_s)
        assert told.holds.until("chat") == clock.at + wait_s
        assert (told.holds.begin("chat"), told.holds.most("chat", 50)) == (False, 1)
        clock.at += wait_s
        assert told.holds.begin("chat")
        told.learn(clock.at, [DOWN])
    clock.at += 60
    assert told.holds.begin("chat")
    told.learn(clock.at, answer("forbidden"))
    assert told.said[-1] == ("chat", None)
    assert (told.holds.begin("chat"), told.holds.most("chat", 50)) == (True, 50)
    told.learn(clock.at, [DOWN])  # it begins anew to count
    assert told.holds.until("chat") == 0


def test_a_service_that_comes_back_and_refuses_the_credential_is_held_for_that(clock: Clock) -> None:
    told = Told()
    down(told, clock)
    clock.at += 5
    assert told.holds.begin("chat")
    told.learn(clock.at, answer("unauthorized"))
    assert (told.holds.reason("chat"), told.holds.until("chat")) == ("unauthorized", clock.at + 5)


def test_a_failure_of_a_held_consumer_spends_no_retry_unless_one_delivery_fails_at_every_probe(clock: Clock) -> None:
    told = Told()
    tried = Decision(outcome="deferred", reason="server_error", wait_s=30.0, spared=2)
    given_up = Decision(outcome="refused", reason="server_error", dead="exhausted", spared=2)
    assert told.holds.spared("chat", "1", 2, DOWN, tried) is tried
    down(told, clock)
    for decision in [tried, given_up] * (PATIENCE // 2):
        spared = told.holds.spared("chat", "1", 2, DOWN, decision)
        assert (spared.outcome, spared.held, spared.wait_s, spared.spared, spared.dead) == (
            "deferred",
            True,
            0,
            3,
            None,
        )
    assert told.holds.spared("chat", "1", 2, DOWN, given_up) is given_up
    assert told.holds.spared("chat", "2", 2, DOWN, given_up).held
    unconnected = Result(outcome="deferred", reason="connection")
    assert told.holds.spared("chat", "1", 2, unconnected, given_up).held
    refused = Decision(outcome="refused", reason="forbidden", dead="forbidden")
    assert told.holds.spared("chat", "1", 0, Result(outcome="refused", reason="forbidden"), refused) is refused


def test_what_others_say_holds_here_too(clock: Clock) -> None:
    told = Told()
    told.holds.adopt("chat", "server_error", 3, 40.0)
    assert told.holds.until("chat") == clock.at + 40
    told.holds.adopt("chat", "server_error", 4, 10.0)  # it is never sooner
    assert told.holds.until("chat") == clock.at + 40
    told.holds.adopt("mail", "connection", 10**6, 10.0**9)  # nobody can hold it for ever
    assert told.holds.until("mail") == clock.at + DOWN_SCHEDULE_S[-1]
    clock.at += 60
    assert told.holds.begin("mail")
    told.holds.adopt("mail", "connection", 4, 60.0)
    told.learn(clock.at, answer("ok"))
    assert told.holds.end("chat") is False
    assert told.holds.end("mail") is True
    assert told.said == [("chat", None)]


def test_a_consumer_that_a_person_paused_is_not_tried_and_stays_so_when_it_is_changed(clock: Clock) -> None:
    told = Told()
    told.holds.take_by_hand("chat", paused=True)
    clock.at += 10**6
    assert told.holds.until("chat") > clock.at
    assert not told.holds.begin("chat")
    told.holds.forget("chat")
    assert not told.holds.begin("chat")
    assert told.holds.take_by_hand("chat", paused=False)
    assert told.holds.begin("chat")
    assert told.holds.went_on_s("chat") == 0
    clock.at += 7
    assert told.holds.went_on_s("chat") == 7


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
