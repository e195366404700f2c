"""What follows from a try, on a real broker: another one in its lane, parking, or a dead letter."""

from datetime import timedelta
from itertools import pairwise

from notifier.delivery import Delivery
from notifier.kafka import kafka_producer
from notifier.settings import Settings
from tests.rigs.delivery_rig import (
    attempts,
    buried,
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
from tests.rigs.kafka_tools import read_all, wait_until


async def test_a_failed_head_is_tried_again_in_place_and_keeps_its_lane_in_order(settings: Settings) -> None:
    settings = with_(settings, retry_schedule_s=(0.2, 0.2, 0.2), lane_wait_s=60.0)
    path = await define_sink(settings, plan={"1": ["fail", "crash", "answer", "accept"]})
    await send(settings, [make(str(n), number=n) for n in range(3)])
    async with working(settings):
        lines = await saw(path, 6)
        assert [(line["content"], line["attempt"]) for line in lines] == [
            ("0", 1),
            ("1", 1),
            ("1", 2),
            ("1", 3),
            ("1", 4),
            ("2", 1),
        ]
        found = await wait_for_attempts(settings, 3, outcome="accepted")
        mine = [a for a in found if a.message == "m-1-1"]
        assert [(a.number, a.outcome, a.reason) for a in mine] == [
            (1, "deferred", "server_error"),
            (2, "deferred", "server_error"),
            (3, "deferred", "connection"),
            (4, "accepted", "ok"),
        ]
        for before, after in pairwise(mine):
            assert before.not_before is not None
            assert timedelta(seconds=0.18) <= before.not_before - before.ended_at <= timedelta(seconds=0.22)
            assert after.started_at >= before.not_before - timedelta(milliseconds=20)
        assert await parked(settings) == {}


async def test_what_fails_for_longer_than_a_lane_waits_is_parked_and_overtaken(settings: Settings) -> None:
    settings = with_(settings, retry_schedule_s=(1.0, 1.0, 1.0), lane_wait_s=0.5)
    path = await define_sink(settings, plan={"0": ["fail", "fail", "accept"]})
    await send(settings, [make("0"), make("1", number=1)])
    async with working(settings):
        lines = await saw(path, 4)
        assert [(line["content"], line["attempt"]) for line in lines] == [("0", 1), ("1", 1), ("0", 2), ("0", 3)]
        assert lines[2]["at"] - lines[0]["at"] >= 0.9
        await wait_for_attempts(settings, 2, outcome="accepted")
        assert await parked(settings) == {}
    records = await read_all(settings, "parked")
    first = Delivery.decode(records[0].value)
    assert (first.attempt, first.why, records[0].key.decode()) == (2, "retry", first.id)
    assert [record.value is None for record in records] == [False, True, False, True]
    assert {line["id"] for line in lines if line["content"] == "0"} == {make("0").id}


async def test_a_permanent_answer_is_a_dead_letter_at_once(settings: Settings) -> None:
    path = await define_sink(settings, plan={"0": ["refuse"]})
    await send(settings, [make("0"), make("1", number=1)])
    async with working(settings):
        assert [line["content"] for line in await saw(path, 2)] == ["0", "1"]
        await wait_for_attempts(settings, 1, outcome="accepted")
    (letter,) = await dead_letters(settings)
    assert (letter.reason, letter.stage, letter.attempts, letter.delivery) == ("forbidden", "deliver", 1, make("0").id)
    assert (letter.offset, letter.error, letter.id) == (0, "the service answered 403", make("0").id)
    assert letter.value == make("0").encode().decode()
    assert [a.outcome for a in await attempts(settings)] == ["refused", "accepted"]


async def test_a_schedule_that_is_spent_ends_as_a_dead_letter(settings: Settings) -> None:
    settings = with_(settings, retry_schedule_s=(0.1, 0.1), lane_wait_s=60.0)
    await define_sink(settings, plan={"0": ["fail"]})
    await send(settings, [make("0")])
    async with working(settings):
        found = await wait_for_attempts(settings, 1, outcome="refused")
    assert [(a.number, a.outcome) for a in found] == [(1, "deferred"), (2, "deferred"), (3, "refused")]
    (letter,) = await dead_letters(settings)
    assert (letter.reason, letter.attempts) == ("exhausted", 3)


async def test_a_limit_is_obeyed_in_place_and_does_not_spend_the_schedule(settings: Settings) -> None:
    settings = with_(settings, retry_schedule_s=(0.1,), lane_wait_s=0.0)
    path = await define_sink(settings, plan={"0": ["limit 0.6", "limit 0.6", "fail", "accept"]})
    await send(settings, [make("0"), make("1", number=1)])
    async with working(settings):
        lines = await saw(path, 5)
        # The two waits that the service asked for are in the lane; the failure then is parked, and overtaken.
        assert [line["content"] for line in lines] == ["0", "0", "0", "1", "0"]
        assert lines[1]["at"] - lines[0]["at"] >= 0.6
        assert lines[2]["at"] - lines[1]["at"] >= 0.6
        await wait_for_attempts(settings, 2, outcome="accepted")
    assert await dead_letters(settings) == []


async def test_a_record_that_cannot_be_read_is_a_dead_letter_and_delays_nothing(settings: Settings) -> None:
    path = await define_sink(settings)
    topic = f"{settings.topic_prefix}deliveries.sink"
    async with kafka_producer(settings) as producer:
        for value in (b"{", b"\xff\xfe", None, make("x", consumer="other").encode()):
            await producer.send_and_wait(topic, value, key=b"a")
    await send(settings, [make("0")])
    async with working(settings):
        await saw(path, 1)
        await wait_until(lambda: buried(settings, 4))
        await wait_until(lambda: is_committed(settings, {0: 5}))
    letters = await dead_letters(settings)
    assert {(letter.reason, letter.topic, letter.offset) for letter in letters} == {
        ("invalid", topic, offset) for offset in range(4)
    }
    assert {letter.id for letter in letters} == {f"{topic}/0/{offset}" for offset in range(4)}
    assert next(letter for letter in letters if letter.offset == 1).value_base64 == "//4="
