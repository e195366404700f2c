"""Parking on a real broker: what is parked waits for its time, its topic and the next worker."""

import asyncio
from datetime import timedelta

import msgspec
import pytest

from notifier.delivery import Delivery
from notifier.kafka import ensure_topics, kafka_producer
from notifier.record import now
from notifier.settings import Settings
from notifier.topics import PARKED, deliveries
from streams.delivery import parking
from tests.rigs.delivery_rig import (
    buried,
    dead_letters,
    define,
    define_sink,
    make,
    park,
    parked,
    saw,
    seen,
    send,
    wait_for_attempts,
    with_,
    working,
)
from tests.rigs.kafka_tools import read_all, wait_until


async def test_a_delivery_that_is_not_due_is_parked_until_then(settings: Settings) -> None:
    path = await define_sink(settings)
    async with working(settings):
        await send(settings, [make("1", number=1)])
        await saw(path, 1)  # it works now, however long that took
        due = now() + timedelta(seconds=6)
        await send(settings, [make("0", not_before=due)])
        lines = await saw(path, 2)
        await wait_for_attempts(settings, 2, outcome="accepted")
    assert [line["content"] for line in lines] == ["1", "0"]
    assert lines[1]["at"] >= due.timestamp()
    first = Delivery.decode((await read_all(settings, "parked"))[0].value)
    assert (first.why, first.attempt, first.not_before) == ("delayed", 1, due)


async def test_a_parked_delivery_outlives_its_worker(settings: Settings) -> None:
    settings = with_(settings, retry_schedule_s=(8.0,), lane_wait_s=0.0)  # longer than a busy machine needs to stop it
    path = await define_sink(settings, plan={"0": ["fail", "accept"]})
    await send(settings, [make("0")])
    async with working(settings):
        await wait_for_attempts(settings, 1, outcome="deferred")
    assert [d.why for d in (await parked(settings)).values()] == ["retry"]
    async with working(settings):
        await wait_for_attempts(settings, 1, outcome="accepted")
    assert [line["attempt"] for line in seen(path)] == [1, 2]


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
    found = Delivery.decode(record.value)
    assert found.routed_at is not None
    assert found.routed_at.timestamp() * 1000 == pytest.approx((await read_all(settings, "parked"))[0].timestamp, abs=1)
    assert (record.key, msgspec.structs.replace(found, routed_at=None)) == (b"a", make("0", attempt=3))


async def test_a_parked_record_that_cannot_be_read_is_a_dead_letter(settings: Settings) -> None:
    await ensure_topics(settings, [PARKED])
    async with kafka_producer(settings) as producer:
        await producer.send_and_wait(settings.topic_prefix + "parked", b'{"id": 1}', key=b"x")
    async with working(settings):
        await wait_until(lambda: buried(settings, 1))
        await wait_until(lambda: _nothing_parked(settings))
    (letter,) = await dead_letters(settings)
    assert (letter.reason, letter.topic, letter.key) == ("invalid", settings.topic_prefix + "parked", "x")


async def _nothing_parked(settings: Settings) -> bool:
    return (await read_all(settings, "parked"))[-1].value is None
