"""The ledger on a real broker: what was done is known to the next worker and not done again."""

import time

import pytest
from aiokafka import TopicPartition

from notifier.kafka import kafka_consumer, kafka_producer
from notifier.settings import Settings
from tests.rigs.delivery_rig import (
    attempts,
    dead_letters,
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


async def test_a_record_with_a_time_to_come_hides_no_attempts(settings: Settings) -> None:
    path = await define_sink(settings)
    topic = TopicPartition(f"{settings.topic_prefix}deliveries.sink", 0)
    soon = int(time.time() * 1000) + 50 * 60 * 1000  # the broker takes an hour at most
    async with kafka_producer(settings) as producer:
        await producer.send_and_wait(topic.topic, make("0").encode(), key=b"a", timestamp_ms=soon)
    await send(settings, [make("1", number=1)])
    async with working(settings):
        await wait_for_attempts(settings, 2, outcome="accepted")
    async with kafka_consumer(settings, group_id=settings.topic_prefix + "delivery") as kafka:
        kafka.assign([topic])
        await kafka.commit({topic: 0})  # as if the worker had died before its commit
    await send(settings, [make("2", number=2)])
    async with working(settings):
        await wait_for_attempts(settings, 3, outcome="accepted")
    assert [line["content"] for line in seen(path)] == ["0", "1", "2"]
