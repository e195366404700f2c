"""How a Kafka producer is ended: in bounded time, with or without what is under way."""

import asyncio
import time

import pytest
from aiokafka.errors import ProducerClosed

from notifier.kafka import end_kafka_producer, kafka_producer
from notifier.settings import Settings
from tests.rigs.kafka_tools import WAIT_S, produce

LINGER_MS = 600_000  # much longer than an end may take, also on a busy machine


async def test_an_ended_kafka_producer_writes_nothing_more(settings: Settings) -> None:
    await produce(settings, "attempts", [b"{}"])
    producer = kafka_producer(settings, linger_ms=LINGER_MS)
    await producer.start()
    sent = await producer.send(settings.topic_prefix + "attempts", b"{}")
    started = time.monotonic()
    await end_kafka_producer(producer)
    await end_kafka_producer(producer)  # twice does no harm
    assert time.monotonic() - started < LINGER_MS / 2000
    with pytest.raises(ProducerClosed):
        await sent
    with pytest.raises(ProducerClosed):
        await producer.send(settings.topic_prefix + "attempts", b"{}")


async def test_it_waits_for_what_is_under_way_no_longer_than_told(settings: Settings) -> None:
    await produce(settings, "attempts", [b"{}"])
    quick, slow = kafka_producer(settings, linger_ms=200), kafka_producer(settings, linger_ms=LINGER_MS)
    for producer in (quick, slow):
        await producer.start()
    written = await quick.send(settings.topic_prefix + "attempts", b"{}")
    left = await slow.send(settings.topic_prefix + "attempts", b"{}")
    started = time.monotonic()
    await asyncio.gather(end_kafka_producer(quick, flush_s=WAIT_S), end_kafka_producer(slow, flush_s=0.5))
    assert time.monotonic() - started < LINGER_MS / 2000
    assert (await written).offset >= 0
    with pytest.raises(ProducerClosed):
        await left


async def test_one_that_was_never_started_can_be_ended(settings: Settings) -> None:
    await end_kafka_producer(kafka_producer(settings))
