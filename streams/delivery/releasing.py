"""Releasing: the transactions that take deliveries out of `parked`.

What replaces a parked record and its tombstone are one Kafka transaction. First the delivery and then the tombstone, each by
itself, was worse: the delivery fails at once, is parked again under the same id, and then the late tombstone removes the new
record. What is due is decided in `streams.delivery.parking`.
"""

from collections.abc import Mapping

import msgspec
from aiokafka import AIOKafkaProducer, ConsumerRecord, TopicPartition

from notifier.attempt import Origin
from notifier.dead_letter import DeadLetter, Source
from notifier.delivery import Delivery
from notifier.errors import InvalidRecord
from notifier.kafka import end_kafka_producer, kafka_producer
from notifier.settings import Settings
from notifier.topics import ATTEMPTS, DEAD_LETTERS, DELIVERIES, PARKED
from streams.delivery.recording import Try, attempt_of


class Releasing:
    """One transactional Kafka producer for each partition of `parked` that something was released from."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._topic = settings.topic_prefix + PARKED.name
        self._producers: dict[TopicPartition, AIOKafkaProducer] = {}

    async def release(
        self, partition: TopicPartition, back: Mapping[str, bytes], given_up: Mapping[str, Source]
    ) -> None:
        """Puts deliveries back on their topics and gives others up, all by id, in one transaction.

        Raises KafkaError or OSError; `close` then, before another call.
        """
        producer = await self._producer(partition)
        async with producer.transaction():
            for value in back.values():
                await self._send_back(producer, value)
            for source in given_up.values():
                await self._give_up(producer, source)
            for key in [*back, *given_up]:
                await self._send_tombstone(producer, partition, key.encode())

    async def reject(self, partition: TopicPartition, record: ConsumerRecord, error: InvalidRecord) -> None:
        """Makes a parked record that cannot be read a dead letter. Raises as `release` does."""
        letter = DeadLetter.of_record(record, stage="deliver", reason="invalid", error=str(error))
        producer = await self._producer(partition)
        async with producer.transaction():
            await self._send_dead_letter(producer, letter)
            await self._send_tombstone(producer, partition, record.key)

    async def close(self) -> None:
        """Closes the Kafka producers; later calls make new ones."""
        producers, self._producers = list(self._producers.values()), {}
        for producer in producers:
            await end_kafka_producer(producer)

    async def _send_back(self, producer: AIOKafkaProducer, value: bytes) -> None:
        delivery = msgspec.structs.replace(Delivery.decode(value), why=None, not_before=None)
        await producer.send(
            f"{self._settings.topic_prefix}{DELIVERIES}{delivery.consumer}",
            delivery.encode(),
            key=delivery.lane.encode(),
        )

    async def _give_up(self, producer: AIOKafkaProducer, source: Source) -> None:
        delivery = Delivery.decode(source.value or b"")
        error = f"the consumer {delivery.consumer} was deleted while the delivery was parked"
        letter = DeadLetter.of_record(
            source,
            stage="deliver",
            reason="consumer_deleted",
            error=error,
            delivery=delivery.id,
            attempts=delivery.attempt - 1,
        )
        attempt = attempt_of(
            delivery,
            Try(outcome="refused", reason="consumer_deleted", number=delivery.attempt, detail=error),
            Origin(topic=source.topic, partition=source.partition, offset=source.offset),
        )
        await self._send_dead_letter(producer, letter)
        await producer.send(self._settings.topic_prefix + ATTEMPTS.name, attempt.encode(), key=delivery.id.encode())

    async def _send_dead_letter(self, producer: AIOKafkaProducer, letter: DeadLetter) -> None:
        await producer.send(self._settings.topic_prefix + DEAD_LETTERS.name, letter.encode(), key=letter.id.encode())

    async def _send_tombstone(self, producer: AIOKafkaProducer, partition: TopicPartition, key: bytes | None) -> None:
        await producer.send(self._topic, None, key=key, partition=partition.partition)

    async def _producer(self, partition: TopicPartition) -> AIOKafkaProducer:
        producer = self._producers.get(partition)
        if producer is None:
            # One transactional id for each partition: a new owner aborts the transaction that the old one left open, and
            # fences it.
            producer = kafka_producer(
                self._settings,
                transactional_id=f"{self._topic}-{partition.partition}",
                transaction_timeout_ms=10_000,
                linger_ms=0,
            )
            try:
                await producer.start()
            except BaseException:
                await end_kafka_producer(producer)
                raise
            self._producers[partition] = producer
        return producer
