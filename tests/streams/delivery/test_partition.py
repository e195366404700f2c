"""Delivery on a real broker: order, retries, the ledger, parking, dead letters, and workers that are killed."""

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiokafka import TopicPartition

from consumers import BUILT_IN
from notifier.attempt import Attempt
from notifier.dead_letter import DeadLetter
from notifier.definition import Definition, definition_key
from notifier.delivery import Delivery, delivery_id
from notifier.errors import Permanent, Retryable, UnsupportedVersion
from notifier.kafka import ensure_topics, kafka_admin, kafka_consumer, kafka_producer
from notifier.message import Message
from notifier.outcome import Kind
from notifier.plugin import Result
from notifier.record import now
from notifier.registry import Registry
from notifier.settings import PREFIX, Settings
from notifier.topics import DEFINITIONS, PARKED, deliveries
from streams.definitions import LAST
from streams.delivery import lanes, parking
from streams.delivery import worker as deliver
from streams.delivery.retry import Decision, decide, result_of
from streams.delivery.worker import run_delivery
from tests.rigs.kafka_tools import read_all, wait_until
from tests.rigs.repository import ROOT
from tests.rigs.sink import REGISTRY, Sink


def make(content: str, *, consumer: str = "sink", lane: str = "a", number: int = 0, **fields: Any) -> Delivery:
    """A delivery as the router makes it."""
    message = Message(producer="ci", content=content, receiver=lane)
    id_ = f"m-{content}-{number}"
    return Delivery(
        id=delivery_id("ci", id_, "all", consumer, lane),
        configuration="all",
        configuration_version=1,
        consumer=consumer,
        lane=lane,
        message=msgspec.Raw(message.encode()),
        message_id=id_,
        recipient=lane,
        address=lane,
        **fields,
    )


async def define(
    settings: Settings, name: str, spec: dict[str, Any] | None, *, kind: Kind = "consumer", revision: int = 1
) -> None:
    """Publishes a definition, or its deletion, as the control API does."""
    await ensure_topics(settings, [DEFINITIONS])
    value = None if spec is None else Definition(kind=kind, name=name, revision=revision, spec=spec).encode()
    async with kafka_producer(settings) as producer:
        await producer.send_and_wait(
            settings.topic_prefix + DEFINITIONS.name,
            value,
            key=definition_key(kind, name).encode(),
            headers=[("revision", str(revision).encode()), (LAST, b"1")],
        )


async def define_sink(settings: Settings, name: str = "sink", *, partitions: int = 1, **parameters: Any) -> Path:
    """A sink with its topic; answers where it writes."""
    path = settings.data_dir / f"{name}.jsonl"
    path.touch()
    await ensure_topics(settings, [deliveries(name, partitions)])
    await define(settings, name, {"type": "sink", "parameters": {"path": str(path), **parameters}})
    return path


async def send(settings: Settings, made: Iterable[Delivery]) -> None:
    """Writes deliveries as the router does."""
    async with kafka_producer(settings) as producer:
        for delivery in made:
            await producer.send(
                f"{settings.topic_prefix}deliveries.{delivery.consumer}", delivery.encode(), key=delivery.lane.encode()
            )
        await producer.flush()


@asynccontextmanager
async def working(settings: Settings, registry: Registry = REGISTRY) -> AsyncIterator[None]:
    """A delivery worker in this process, stopped in order at the end."""
    stop = asyncio.Event()
    worker = asyncio.create_task(run_delivery(settings, stop=stop, registry=registry))
    try:
        yield
    finally:
        stop.set()
        await worker


def seen(path: Path) -> list[dict[str, Any]]:
    """What a sink was given, in order. The last line of one that was killed may be cut."""
    return [json.loads(line) for line in path.read_text().splitlines() if line.endswith("}")]


async def saw(path: Path, count: int) -> list[dict[str, Any]]:
    """What a sink was given, once it is `count` deliveries."""
    await wait_until(lambda: len(seen(path)) >= count, otherwise=lambda: f"{len(seen(path))} of {count}")
    return seen(path)


async def attempts(settings: Settings) -> list[Attempt]:
    """All attempts, by time."""
    return [Attempt.decode(record.value) for record in await read_all(settings, "attempts")]


async def wait_for_attempts(settings: Settings, count: int, **expected: str) -> list[Attempt]:
    """All attempts, once `count` of them are as expected."""
    found: list[Attempt] = []

    async def enough() -> bool:
        nonlocal found
        found = await attempts(settings)
        return sum(all(getattr(a, name) == value for name, value in expected.items()) for a in found) >= count

    await wait_until(
        enough, otherwise=lambda: f"{count} attempts {expected} of {[(a.outcome, a.reason) for a in found]}"
    )
    return found


async def dead_letters(settings: Settings) -> list[DeadLetter]:
    """All dead letters, by time."""
    return [DeadLetter.decode(record.value) for record in await read_all(settings, "dead_letters")]


async def parked(settings: Settings) -> dict[str, Delivery]:
    """What is parked now, by id."""
    waiting: dict[str, Delivery] = {}
    for record in await read_all(settings, "parked"):
        if record.value is None:
            waiting.pop(record.key.decode(), None)
        else:
            waiting[record.key.decode()] = Delivery.decode(record.value)
    return waiting


async def committed(settings: Settings, consumer: str = "sink") -> dict[int, int]:
    """The committed offset of each partition of a consumer's topic."""
    topic = f"{settings.topic_prefix}deliveries.{consumer}"
    async with kafka_admin(settings) as admin:
        offsets = await admin.list_consumer_group_offsets(settings.topic_prefix + "delivery")
    return {tp.partition: meta.offset for tp, meta in offsets.items() if tp.topic == topic}


def with_(settings: Settings, **changes: Any) -> Settings:
    """The settings with some changed."""
    return settings.model_copy(update=changes)


# Retry: a table


SCHEDULE = (5.0, 30.0)


@pytest.mark.parametrize(
    ("result", "attempt", "spared", "expected"),
    [
        pytest.param(Result(), 1, 0, Decision(outcome="accepted", reason="ok"), id="accepted"),
        pytest.param(
            Result(outcome="suppressed", reason="expired"),
            1,
            0,
            Decision(outcome="suppressed", reason="expired"),
            id="suppressed by the consumer",
        ),
        pytest.param(
            Result(outcome="refused", reason="forbidden", detail="no"),
            1,
            0,
            Decision(outcome="refused", reason="forbidden", detail="no", dead="forbidden"),
            id="permanent at once",
        ),
        pytest.param(
            Result(outcome="deferred", reason="connection"),
            1,
            0,
            Decision(outcome="deferred", reason="connection", wait_s=5.0),
            id="first failure",
        ),
        pytest.param(
            Result(outcome="unknown", reason="timeout"),
            2,
            0,
            Decision(outcome="unknown", reason="timeout", wait_s=30.0),
            id="second failure",
        ),
        pytest.param(
            Result(outcome="deferred", reason="server_error"),
            3,
            0,
            Decision(outcome="refused", reason="server_error", dead="exhausted"),
            id="exhausted",
        ),
        pytest.param(
            Result(outcome="unknown", reason="timeout"),
            3,
            0,
            Decision(outcome="unknown", reason="timeout", dead="exhausted"),
            id="exhausted and unknown",
        ),
        pytest.param(
            Result(outcome="deferred", reason="rate_limited", retry_after_s=7.5),
            3,
            0,
            Decision(outcome="deferred", reason="rate_limited", wait_s=7.5, told=True, spared=1),
            id="a limit is obeyed exactly and spends nothing",
        ),
        pytest.param(
            Result(outcome="deferred", reason="server_error"),
            4,
            2,
            Decision(outcome="deferred", reason="server_error", wait_s=30.0, spared=2),
            id="what was spared is left",
        ),
        pytest.param(
            Result(outcome="deferred", reason="server_error", retry_after_s=float("nan")),
            1,
            0,
            Decision(outcome="deferred", reason="server_error", wait_s=5.0),
            id="a time that is none is passed over",
        ),
        pytest.param(
            Result(outcome="deferred", reason="server_error", retry_after_s=-3),
            1,
            0,
            Decision(outcome="deferred", reason="server_error", wait_s=0.0, told=True),
            id="a time in the past is now",
        ),
    ],
)
def test_a_decision_follows_from_result_and_attempt(
    result: Result, attempt: int, spared: int, expected: Decision
) -> None:
    assert decide(result, attempt=attempt, spared=spared, schedule=SCHEDULE, chance=0.5) == expected


def test_waits_are_moved_by_a_tenth_at_most() -> None:
    failed = Result(outcome="deferred", reason="connection")
    waits = [decide(failed, attempt=1, spared=0, schedule=(100.0,), chance=chance).wait_s for chance in (0.0, 0.999)]
    assert waits == [pytest.approx(90), pytest.approx(110, abs=0.1)]


def test_errors_say_whether_they_may_be_tried_again() -> None:
    assert result_of(Retryable("connection", "refused", 3)) == Result(
        outcome="deferred", reason="connection", detail="refused", retry_after_s=3
    )
    assert result_of(Retryable("timeout", "no answer")).outcome == "unknown"
    assert result_of(Permanent("not_found", "gone")) == Result(outcome="refused", reason="not_found", detail="gone")
    assert result_of(KeyError("x")) == Result(outcome="deferred", reason="server_error", detail="KeyError: 'x'")


# One worker


async def test_a_delivery_is_handed_over_recorded_and_then_committed(settings: Settings) -> None:
    path = await define_sink(settings)
    await send(settings, [make("hello")])
    async with working(settings):
        await saw(path, 1)
        (attempt,) = await wait_for_attempts(settings, 1, outcome="accepted")
        assert attempt.delivery == make("hello").id
        assert (attempt.number, attempt.reason, attempt.producer, attempt.consumer) == (1, "ok", "ci", "sink")
        assert (attempt.recipient, attempt.configuration, attempt.configuration_version) == ("a", "all", 1)
        assert attempt.origin is not None
        assert (attempt.origin.topic, attempt.origin.offset) == (f"{settings.topic_prefix}deliveries.sink", 0)
    assert await committed(settings) == {0: 1}


async def test_equal_lanes_keep_their_order_and_others_go_on_while_one_hangs(settings: Settings) -> None:
    path = await define_sink(settings, plan={"stuck": ["hang"]}, timeout_s=4)
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


async def test_a_call_that_takes_too_long_is_unknown_and_tried_again(settings: Settings) -> None:
    settings = with_(settings, retry_schedule_s=(0.1,))
    await define_sink(settings, plan={"0": ["hang", "accept"]}, timeout_s=0.3)
    await send(settings, [make("0")])
    async with working(settings):
        found = await wait_for_attempts(settings, 1, outcome="accepted")
    assert [(a.outcome, a.reason) for a in found] == [("unknown", "timeout"), ("accepted", "ok")]


async def test_a_failed_batch_is_tried_again_one_by_one(settings: Settings) -> None:
    settings = with_(settings, retry_schedule_s=(0.1, 0.1), lane_wait_s=60.0)
    path = await define_sink(settings, size=10, plan={"2": ["fail"]})
    await send(settings, [make(str(n), number=n) for n in range(5)])
    async with working(settings):
        found = await wait_for_attempts(settings, 4, outcome="accepted")
        await wait_until(lambda: len(seen(path)) >= 3 + 6)
    assert [a.message for a in found if a.outcome == "accepted"] == ["m-0-0", "m-1-1", "m-3-3", "m-4-4"]
    (letter,) = await dead_letters(settings)
    assert (letter.reason, letter.delivery) == ("exhausted", make("2", number=2).id)


@pytest.mark.predecessor("S-32")
async def test_an_id_that_was_accepted_is_not_sent_again(settings: Settings) -> None:
    path = await define_sink(settings)
    await send(settings, [make("0"), make("0")])
    async with working(settings):
        await wait_for_attempts(settings, 1, reason="duplicate")
    await send(settings, [make("0")])
    async with working(settings):  # another worker, which knows it from `attempts`
        found = await wait_for_attempts(settings, 2, reason="duplicate")
    assert [a.outcome for a in found] == ["accepted", "suppressed", "suppressed"]
    assert len(seen(path)) == 1


async def test_what_is_recorded_but_not_committed_is_not_done_again(settings: Settings) -> None:
    settings = with_(settings, retry_schedule_s=(60.0,), lane_wait_s=0.0)
    path = await define_sink(settings, plan={"0": ["accept"], "1": ["refuse"], "2": ["fail"]})
    await send(settings, [make(str(n), number=n) for n in range(3)])
    async with working(settings):
        before = await wait_for_attempts(settings, 1, outcome="deferred")
    topic = TopicPartition(f"{settings.topic_prefix}deliveries.sink", 0)
    async with kafka_consumer(settings, group_id=settings.topic_prefix + "delivery") as kafka:
        kafka.assign([topic])
        await kafka.commit({topic: 0})  # as if the worker had died before its commit
    await send(settings, [make("3", number=3)])
    async with working(settings):
        await saw(path, 4)
        await wait_for_attempts(settings, 2, outcome="accepted")
    assert len(await attempts(settings)) == len(before) + 1
    assert [line["content"] for line in seen(path)] == ["0", "1", "2", "3"]
    assert len(await dead_letters(settings)) == 1
    assert len(await parked(settings)) == 1


async def test_retries_go_on_where_the_worker_before_stopped(settings: Settings) -> None:
    settings = with_(settings, retry_schedule_s=(1.0, 1.0), lane_wait_s=60.0)
    path = await define_sink(settings, plan={"0": ["fail", "fail", "accept"]})
    await send(settings, [make("0")])
    async with working(settings):
        await wait_for_attempts(settings, 1, outcome="deferred")
    async with working(settings):
        found = await wait_for_attempts(settings, 1, outcome="accepted")
    assert [a.number for a in found] == [1, 2, 3]
    assert [line["attempt"] for line in seen(path)] == [1, 2, 3]


async def test_a_delivery_that_is_not_due_is_parked_until_then(settings: Settings) -> None:
    path = await define_sink(settings)
    due = now() + timedelta(seconds=2)
    await send(settings, [make("0", not_before=due), make("1", number=1)])
    async with working(settings):
        lines = await saw(path, 2)
        await wait_for_attempts(settings, 2, outcome="accepted")
    assert [line["content"] for line in lines] == ["1", "0"]
    assert lines[1]["at"] >= due.timestamp()
    first = Delivery.decode((await read_all(settings, "parked"))[0].value)
    assert (first.why, first.attempt, first.not_before) == ("delayed", 1, due)


async def test_a_parked_delivery_outlives_its_worker(settings: Settings) -> None:
    settings = with_(settings, retry_schedule_s=(2.0,), lane_wait_s=0.0)
    path = await define_sink(settings, plan={"0": ["fail", "accept"]})
    await send(settings, [make("0")])
    async with working(settings):
        await wait_for_attempts(settings, 1, outcome="deferred")
    assert [d.why for d in (await parked(settings)).values()] == ["retry"]
    async with working(settings):
        await wait_for_attempts(settings, 1, outcome="accepted")
    assert [line["attempt"] for line in seen(path)] == [1, 2]


async def test_a_record_that_cannot_be_read_is_a_dead_letter_and_delays_nothing(settings: Settings) -> None:
    path = await define_sink(settings)
    topic = f"{settings.topic_prefix}deliveries.sink"
    async with kafka_producer(settings) as producer:
        for value in (b"{", b"\xff\xfe", None, make("x", consumer="other").encode()):
            await producer.send_and_wait(topic, value, key=b"a")
    await send(settings, [make("0")])
    async with working(settings):
        await saw(path, 1)
        await wait_until(lambda: _count(settings, 4))
        await wait_until(lambda: _is_committed(settings, {0: 5}))
    letters = await dead_letters(settings)
    assert {(letter.reason, letter.topic, letter.offset) for letter in letters} == {
        ("invalid", topic, offset) for offset in range(4)
    }
    assert {letter.id for letter in letters} == {f"{topic}/0/{offset}" for offset in range(4)}
    assert next(letter for letter in letters if letter.offset == 1).value_base64 == "//4="


async def _count(settings: Settings, letters: int) -> bool:
    return len(await dead_letters(settings)) >= letters


async def _is_committed(settings: Settings, offsets: dict[int, int]) -> bool:
    return await committed(settings) == offsets


async def test_a_delivery_newer_than_the_program_stops_the_role(settings: Settings) -> None:
    await define_sink(settings)
    await send(settings, [make("0", v=2)])
    with pytest.raises(UnsupportedVersion, match="version 2 of Delivery"):
        await asyncio.wait_for(run_delivery(settings, stop=asyncio.Event(), registry=REGISTRY), 30)


async def test_a_new_consumer_is_found_with_its_first_messages(settings: Settings) -> None:
    await define_sink(settings, "first")
    async with working(settings):
        await asyncio.sleep(0)
        path = await define_sink(settings, "second")
        await send(settings, [make(str(n), consumer="second", number=n) for n in range(5)])
        assert [line["content"] for line in await saw(path, 5)] == list("01234")


async def test_a_changed_definition_is_used_and_the_old_instance_closed(settings: Settings) -> None:
    path = await define_sink(settings, otherwise="refuse")
    await send(settings, [make("0")])
    closed = Sink.closed
    async with working(settings):
        await wait_for_attempts(settings, 1, outcome="refused")
        await define(settings, "sink", {"type": "sink", "parameters": {"path": str(path)}}, revision=2)
        await wait_until(lambda: Sink.closed == closed + 1)
        await send(settings, [make("1", number=1)])
        await wait_for_attempts(settings, 1, outcome="accepted")
    assert Sink.closed == closed + 2


async def test_a_consumer_that_cannot_be_used_has_its_deliveries_parked(settings: Settings) -> None:
    await ensure_topics(settings, [deliveries("sink")])
    await define(settings, "sink", {"type": "not-installed", "parameters": {}})
    await send(settings, [make("0"), make("1", number=1)])
    async with working(settings):
        found = await wait_for_attempts(settings, 2, outcome="deferred", reason="paused")
        assert "not-installed" in (found[0].detail or "")
        assert {d.attempt for d in (await parked(settings)).values()} == {1}
        path = await define_sink(settings)
        await saw(path, 2)
        await wait_for_attempts(settings, 2, outcome="accepted")
    assert await dead_letters(settings) == []


@pytest.mark.slow
async def test_a_deleted_consumer_leaves_dead_letters_and_its_topic_goes(settings: Settings) -> None:
    settings = with_(settings, retry_schedule_s=(0.5, 600.0), lane_wait_s=0.0)
    path = await define_sink(settings, plan={"0": ["fail"]})
    await send(settings, [make("0")])
    topic = f"{settings.topic_prefix}deliveries.sink"

    async def dropped() -> bool:
        async with kafka_admin(settings) as admin:
            return topic not in await admin.list_topics()

    async with working(settings):
        await saw(
            path, 2
        )  # released from the parking once, so that a transaction's mark ends the topic; then parked again
        await wait_for_attempts(settings, 2, outcome="deferred")
        await define(settings, "sink", None, revision=2)
        await send(settings, [make("1", number=1), make("2", number=2)])
        await wait_until(lambda: _count(settings, 2))
        await wait_until(dropped)
    letters = await dead_letters(settings)
    assert {(letter.reason, letter.delivery) for letter in letters} == {
        ("consumer_deleted", make(str(n), number=n).id) for n in (1, 2)
    }
    assert len(seen(path)) == 2


async def test_parked_deliveries_of_a_deleted_consumer_become_dead_letters(settings: Settings) -> None:
    settings = with_(settings, retry_schedule_s=(1.0,), lane_wait_s=0.0)
    await define_sink(settings, plan={"0": ["fail"]})
    await send(settings, [make("0")])
    async with working(settings):
        await wait_for_attempts(settings, 1, outcome="deferred")
    await define(settings, "sink", None, revision=2)
    async with working(settings):
        await wait_until(lambda: _count(settings, 1))
        assert await parked(settings) == {}
    (letter,) = await dead_letters(settings)
    assert (letter.reason, letter.topic, letter.attempts) == ("consumer_deleted", settings.topic_prefix + "parked", 1)


async def test_a_lane_that_stands_still_makes_room_for_the_others(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lanes, "MAX_PENDING", 20)
    monkeypatch.setattr(deliver, "FETCHED_AT_ONCE", 10)
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


async def test_a_long_call_outlives_a_rebalance_that_brings_its_partition_back(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliver, "HUNG_S", 0.1)
    path = await define_sink(settings, plan={"0": ["slow 4"]})
    await send(settings, [make("0"), make("1", number=1), make("2", lane="b", number=2)])
    async with working(settings):
        await saw(path, 1)  # lane b; the call of lane a is under way
        other = await define_sink(settings, "other")
        await send(settings, [make("3", consumer="other")])
        await saw(other, 1)  # so there was a rebalance
        assert len(seen(path)) == 1
        await wait_for_attempts(settings, 4, outcome="accepted")
        await wait_until(lambda: _is_committed(settings, {0: 3}))
    assert [line["content"] for line in seen(path)] == ["2", "0", "1"]
    assert len(await attempts(settings)) == 4


async def test_a_call_is_cut_off_when_its_partition_goes_to_another_worker(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliver, "HUNG_S", 0.1)
    monkeypatch.setattr(deliver, "STOP_WAIT_S", 0.1)
    path = await define_sink(settings, partitions=2, plan={"0": ["hang", "accept"]})
    made = [make("0", lane=f"lane-{n}", number=n) for n in range(16)]  # on both partitions
    await send(settings, made)
    async with working(settings):
        await saw(path, 16)
        async with working(settings):
            found = await wait_for_attempts(settings, 1, outcome="accepted")
            cut_off = [a.delivery for a in found if (a.detail or "").startswith("cut off")]
            assert 0 < len(cut_off) < 16
            await define(settings, "sink", {"type": "sink", "parameters": {"path": str(path)}}, revision=2)
        await wait_for_attempts(settings, len(cut_off), outcome="accepted")


async def test_parked_deliveries_that_memory_does_not_hold_are_read_again(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parking, "KEPT_BYTES", 0)
    path = await define_sink(settings)
    due = now() + timedelta(seconds=1.5)
    await send(settings, [make(str(n), number=n, not_before=due) for n in range(20)])
    async with working(settings):
        await wait_for_attempts(settings, 20, outcome="accepted")
    assert sorted(line["content"] for line in seen(path)) == sorted(str(n) for n in range(20))
    assert await parked(settings) == {}


async def test_what_is_due_waits_for_a_topic_that_is_missing(settings: Settings) -> None:
    path = settings.data_dir / "sink.jsonl"
    path.touch()
    await define(settings, "sink", {"type": "sink", "parameters": {"path": str(path)}})
    await park(settings, make("0", not_before=now(), why="held", attempt=3))
    async with working(settings):
        await asyncio.sleep(3)
        assert list(await parked(settings)) == [make("0").id]
        await ensure_topics(settings, [deliveries("sink")])
        lines = await saw(path, 1)
    assert lines[0]["attempt"] == 3
    assert await parked(settings) == {}
    (record,) = await read_all(settings, "deliveries.sink")
    assert (record.key, Delivery.decode(record.value)) == (b"a", make("0", attempt=3))


async def test_a_parked_record_that_cannot_be_read_is_a_dead_letter(settings: Settings) -> None:
    await ensure_topics(settings, [PARKED])
    async with kafka_producer(settings) as producer:
        await producer.send_and_wait(settings.topic_prefix + "parked", b'{"id": 1}', key=b"x")
    async with working(settings):
        await wait_until(lambda: _count(settings, 1))
        await wait_until(lambda: _nothing_parked(settings))
    (letter,) = await dead_letters(settings)
    assert (letter.reason, letter.topic, letter.key) == ("invalid", settings.topic_prefix + "parked", "x")


async def _nothing_parked(settings: Settings) -> bool:
    return (await read_all(settings, "parked"))[-1].value is None


async def park(settings: Settings, delivery: Delivery) -> None:
    """Parks a delivery as a router does that holds it."""
    await ensure_topics(settings, [PARKED])
    async with kafka_producer(settings) as producer:
        await producer.send_and_wait(settings.topic_prefix + "parked", delivery.encode(), key=delivery.id.encode())


@pytest.mark.predecessor("S-51", "S-54")
async def test_a_script_is_run_and_a_changed_one_is_used_for_the_next_delivery(settings: Settings) -> None:
    settings = with_(settings, retry_schedule_s=(0.1,))
    count = "import json, sys\nsys.exit('{}: ' + ' '.join(item['content'] for item in json.load(sys.stdin)))"
    await define(settings, "work", {"executor": "python", "content": count.format("no")}, kind="script")
    await ensure_topics(settings, [deliveries("to-script", 4)])
    await define(settings, "to-script", {"type": "script", "parameters": {"script": "work", "batch": 3}}, revision=2)
    await send(settings, [make(str(n), consumer="to-script", lane="to-script", number=n) for n in range(3)])
    async with working(settings, Registry(BUILT_IN)):
        found = await wait_for_attempts(settings, 3, outcome="refused")
        assert {(a.outcome, a.reason) for a in found} == {("deferred", "script_failed"), ("refused", "script_failed")}
        assert [a.detail for a in found if a.message == "m-2-2" and a.number == 2] == [
            "script 'work' ended with exit status 1: no: 2"
        ]
        spec = {"executor": "python", "content": "print()"}
        await define(settings, "work", spec, kind="script", revision=3)
        await asyncio.sleep(1)
        await send(settings, [make("3", consumer="to-script", lane="to-script", number=3)])
        await wait_for_attempts(settings, 1, outcome="accepted")
    assert [(letter.reason, letter.attempts) for letter in await dead_letters(settings)] == [("exhausted", 2)] * 3


# Several workers, killed


class Workers:
    """Delivery workers as processes of their own."""

    def __init__(self, settings: Settings) -> None:
        names = ("kafka", "topic_prefix", "data_dir", "lane_wait_s")
        self._environment = {
            **os.environ,
            **{PREFIX + name.upper(): str(getattr(settings, name)) for name in names},
            PREFIX + "SECRET_KEY": settings.secret_key.get_secret_value() if settings.secret_key else "",
            PREFIX + "RETRY_SCHEDULE_S": ",".join(str(part) for part in settings.retry_schedule_s),
        }
        self.running: list[subprocess.Popen[bytes]] = []

    def start(self) -> subprocess.Popen[bytes]:
        process = subprocess.Popen([sys.executable, "-m", "tests.rigs.sink"], cwd=ROOT, env=self._environment)
        self.running.append(process)
        return process

    async def end(self, process: subprocess.Popen[bytes], number: signal.Signals = signal.SIGTERM) -> int:
        process.send_signal(number)
        self.running.remove(process)
        return await asyncio.to_thread(process.wait, 60)


@asynccontextmanager
async def workers(settings: Settings) -> AsyncIterator[Workers]:
    """Workers, all of which are gone at the end."""
    found = Workers(settings)
    try:
        yield found
    finally:
        for process in list(found.running):
            await found.end(process, signal.SIGKILL)


async def audit(settings: Settings, path: Path, made: Sequence[Delivery], killed: int) -> None:
    """Nothing is lost, nothing is accepted twice but what was in flight, and each lane's first tries are in order."""
    given = Counter(line["id"] for line in seen(path))
    accepted = Counter(a.delivery for a in await attempts(settings) if a.outcome == "accepted")
    assert set(given) == {delivery.id for delivery in made}
    assert set(accepted) == set(given)
    assert sum(given.values()) - len(given) <= killed
    assert max(accepted.values()) <= 2
    lane_of = {delivery.id: delivery.lane for delivery in made}
    first: dict[str, list[str]] = {}
    for line in seen(path):
        order = first.setdefault(lane_of[line["id"]], [])
        if line["id"] not in order:
            order.append(line["id"])
    for lane, order in first.items():
        assert order == [delivery.id for delivery in made if delivery.lane == lane]


async def all_accepted(settings: Settings, made: Sequence[Delivery]) -> bool:
    accepted = {a.delivery for a in await attempts(settings) if a.outcome == "accepted"}
    return accepted >= {delivery.id for delivery in made}


@pytest.mark.slow
async def test_nothing_is_lost_when_a_worker_is_killed(settings: Settings) -> None:
    path = await define_sink(settings, partitions=4, otherwise="slow 0.02")
    made = [make(str(n), lane=f"lane-{n % 8}", number=n) for n in range(400)]
    async with workers(settings) as group:
        first = group.start()
        group.start()
        await send(settings, made[:200])
        await saw(path, random.randint(20, 120))
        await group.end(first, signal.SIGKILL)
        await send(settings, made[200:])
        group.start()
        await wait_until(lambda: all_accepted(settings, made), timeout_s=60)
    await audit(settings, path, made, killed=8)


@pytest.mark.slow
async def test_an_orderly_stop_repeats_nothing(settings: Settings) -> None:
    path = await define_sink(settings, partitions=4, otherwise="slow 0.02")
    made = [make(str(n), lane=f"lane-{n % 8}", number=n) for n in range(300)]
    async with workers(settings) as group:
        first = group.start()
        await send(settings, made[:150])
        await saw(path, 20)
        second = group.start()
        await saw(path, 60)
        assert await group.end(first) == 0
        await send(settings, made[150:])
        await wait_until(lambda: all_accepted(settings, made), timeout_s=60)
        assert await group.end(second) == 0
    await audit(settings, path, made, killed=0)
    assert len(seen(path)) == len(made)


@pytest.mark.slow
async def test_what_was_accepted_and_not_recorded_is_sent_again_under_the_same_id(settings: Settings) -> None:
    path = await define_sink(settings, plan={"0": ["hang", "accept"]}, timeout_s=60)
    await send(settings, [make("0")])
    async with workers(settings) as group:
        worker = group.start()
        await saw(path, 1)  # the service has it; the worker dies before it can say so
        await group.end(worker, signal.SIGKILL)
        await define(settings, "sink", {"type": "sink", "parameters": {"path": str(path)}}, revision=2)
        group.start()
        await wait_until(lambda: all_accepted(settings, [make("0")]), timeout_s=60)
    assert [line["id"] for line in seen(path)] == [make("0").id] * 2
