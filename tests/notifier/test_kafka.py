"""Kafka clients that are stopped by someone who is cancelled himself leave nothing behind."""

import asyncio

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import ProducerClosed

from notifier.kafka import kafka_consumer, kafka_producer
from notifier.settings import Settings
from tests.rigs.kafka_tools import produce, wait_until

STEPS = [0, 3, 20]  # how many turns of the event loop the stopping is given before it is cancelled


async def _cut_short(
    client: AIOKafkaConsumer | AIOKafkaProducer, steps: int, before: set[asyncio.Task[object]]
) -> None:
    stopping = asyncio.create_task(client.stop())
    for _ in range(steps + 1):
        await asyncio.sleep(0)
    done = stopping.done()
    stopping.cancel()
    await asyncio.wait({stopping})
    assert stopping.cancelled() or done or stopping.exception() is None
    connections = (client._client if isinstance(client, AIOKafkaConsumer) else client.client)._conns
    assert connections
    assert [connection for connection in connections.values() if connection.connected()] == []

    async def left() -> bool:
        return not {task for task in asyncio.all_tasks() - before if task is not asyncio.current_task()}

    await wait_until(left, otherwise="something still works in the background")


@pytest.mark.parametrize("steps", STEPS)
async def test_a_consumer_whose_stop_is_cut_short_leaves_nothing_behind(settings: Settings, steps: int) -> None:
    await produce(settings, "attempts", [b"{}"])
    before = asyncio.all_tasks()
    consumer = kafka_consumer(settings, settings.topic_prefix + "attempts", group_id=settings.topic_prefix + "cut")
    await consumer.start()
    await consumer.getone()
    await _cut_short(consumer, steps, before)


@pytest.mark.parametrize("steps", STEPS)
async def test_a_producer_whose_stop_is_cut_short_leaves_nothing_behind(settings: Settings, steps: int) -> None:
    await produce(settings, "attempts", [b"{}"])
    before = asyncio.all_tasks()
    producer = kafka_producer(settings, linger_ms=1_000)
    await producer.start()
    await producer.send_and_wait(settings.topic_prefix + "attempts", b"{}")
    sent = await producer.send(settings.topic_prefix + "attempts", b"{}")
    await _cut_short(producer, steps, before)
    with pytest.raises((ProducerClosed, asyncio.CancelledError)):  # whoever waits for it is told
        await asyncio.wait_for(sent, 120)
