"""A batch producer writes each batch once and in order, whatever becomes of requests and answers. On a real broker."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiokafka.errors import KafkaConnectionError, MessageSizeTooLargeError, ProducerClosed, UnknownTopicOrPartitionError

from notifier.kafka import ensure_topics
from notifier.settings import Settings
from notifier.topics import deliveries
from streams.outputs.batch_producer import BatchProducer
from streams.outputs.records import Records
from tests.rigs.kafka_tools import delete_topics, read_all, wait_until

TOPIC = "deliveries.room"


@asynccontextmanager
async def sending(settings: Settings, partitions: int = 1) -> AsyncIterator[BatchProducer]:
    await ensure_topics(settings, [deliveries("room", partitions=partitions)])
    producer = BatchProducer(settings)
    await producer.start()
    await producer.client.set_topics([settings.topic_prefix + TOPIC])
    try:
        yield producer
    finally:
        await producer.stop()


def batch(*values: bytes, compression: int = 0) -> Records:
    return Records([b"key"] * len(values), values, compression)


class Landing:
    """Sends batches and keeps what becomes of them."""

    def __init__(self, producer: BatchProducer, settings: Settings) -> None:
        self._producer = producer
        self._topic = settings.topic_prefix + TOPIC
        self.errors: list[BaseException | None] = []

    def send(self, *values: bytes, partition: int = 0) -> None:
        self._producer.send(self._topic, partition, batch(*values), self.errors.append)

    async def all(self, count: int) -> list[BaseException | None]:
        await wait_until(lambda: len(self.errors) == count)
        return self.errors


async def values(settings: Settings) -> list[bytes]:
    return [record.value for record in await read_all(settings, TOPIC)]


async def test_batches_of_one_partition_are_written_one_behind_the_other(settings: Settings) -> None:
    async with sending(settings, partitions=3) as producer:
        landing = Landing(producer, settings)
        for number in range(50):
            landing.send(b"%d" % number, b"and" * number)
            landing.send(b"other", partition=1 + number % 2)
        assert await landing.all(100) == [None] * 100
    found = await values(settings)
    assert [value for value in found if value.isdigit()] == [b"%d" % number for number in range(50)]
    assert found.count(b"other") == 50


async def test_a_batch_whose_answer_was_lost_is_written_once(settings: Settings) -> None:
    async with sending(settings) as producer:
        landing = Landing(producer, settings)
        landing.send(b"0")
        await landing.all(1)
        lost = 0
        ask = producer.client.send

        async def lose(node: int, request: object) -> object:
            nonlocal lost
            answer = await ask(node, request)
            if lost < 2:
                lost += 1
                raise KafkaConnectionError("the answer is lost")
            return answer

        producer.client.send = lose
        landing.send(b"1", b"2")
        landing.send(b"3")
        assert await landing.all(3) == [None] * 3
        assert lost == 2
    assert await values(settings) == [b"0", b"1", b"2", b"3"]


async def test_a_connection_that_breaks_under_a_request_loses_and_doubles_nothing(settings: Settings) -> None:
    async with sending(settings) as producer:
        landing = Landing(producer, settings)
        for number in range(200):
            landing.send(b"%d" % number)
            if number % 20 == 10:
                for connection in producer.client._conns.values():
                    connection.close()
            await asyncio.sleep(0.002)
        assert await landing.all(200) == [None] * 200
    assert await values(settings) == [b"%d" % number for number in range(200)]


async def test_what_the_broker_refuses_takes_no_number(settings: Settings) -> None:
    async with sending(settings) as producer:
        landing = Landing(producer, settings)
        landing.send(b"0")
        landing.send(b"x" * 2_000_000)
        landing.send(b"1")
        first, second, third = await landing.all(3)
        assert (first, type(second), third) == (None, MessageSizeTooLargeError, None)
    assert await values(settings) == [b"0", b"1"]


async def test_a_topic_that_went_gives_its_batch_back_and_one_of_its_name_takes_it(settings: Settings) -> None:
    async with sending(settings) as producer:
        landing = Landing(producer, settings)
        landing.send(b"0", b"1", b"2")
        assert await landing.all(1) == [None]
        await delete_topics(settings)
        landing.send(b"3")
        _, error = await landing.all(2)
        assert isinstance(error, UnknownTopicOrPartitionError)
        await ensure_topics(settings, [deliveries("room", partitions=1)])
        await producer.client.force_metadata_update()
        await wait_until(lambda: producer.leads(settings.topic_prefix + TOPIC, 0))
        landing.send(b"3")
        assert (await landing.all(3))[2] is None
    assert await values(settings) == [b"3"]


async def test_what_has_not_landed_does_so_when_the_sender_stops(settings: Settings) -> None:
    async with sending(settings) as producer:
        landing = Landing(producer, settings)
        landing.send(b"0")
        landing.send(b"1")
        await producer.stop()
        assert [type(error) for error in landing.errors] == [ProducerClosed] * 2
        with pytest.raises(ProducerClosed):
            landing.send(b"2")


async def test_compressed_batches_are_read_by_others(settings: Settings) -> None:
    async with sending(settings) as producer:
        landed: list[BaseException | None] = []
        for compression in range(5):
            made = batch(
                *[b"%d/%d " % (compression, number) + b"x" * 500 for number in range(10)], compression=compression
            )
            producer.send(settings.topic_prefix + TOPIC, 0, made, landed.append)
        await wait_until(lambda: landed == [None] * 5)
    assert [value.split()[0] for value in await values(settings)] == [
        b"%d/%d" % (c, n) for c in range(5) for n in range(10)
    ]
