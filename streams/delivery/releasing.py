"""Releasing: the transactions that take deliveries out of `parked`.

What replaces a parked record and its tombstone are one Kafka transaction. First the delivery and then the tombstone, each by
itself, was worse: the delivery fails at once, is parked again under the same id, and then the late tombstone removes the new
record. What is due is decided in `streams.delivery.parking`.
"""

from collections.abc import Mapping, Sequence

import msgspec
from aiokafka import AIOKafkaProducer, TopicPartition

from notifier.attempt import Origin
from notifier.cancelling import CANCELLED, Request
from notifier.dead_letter import DeadLetter, Source
from notifier.delivery import Delivery
from notifier.errors import InvalidRecord
from notifier.kafka import end_kafka_producer, kafka_producer
from notifier.outcome import Outcome, Reason
from notifier.record import kafka_time
from notifier.settings import Settings
from notifier.topics import ATTEMPTS, DEAD_LETTERS, PARKED, deliveries
from streams.delivery.recording import Try, attempt_of
from streams.delivery.review import Ended

_ENVELOPE_BYTES = 1024  # of a record on Kafka, and of the batch around it


class Releasing:
    """One transactional Kafka producer for each partition of `parked` that something was released from."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._topic = settings.topic_prefix + PARKED.name
        self._producers: dict[TopicPartition, AIOKafkaProducer] = {}

    async def release(
        self,
        partition: TopicPartition,
        back: Sequence[tuple[Source, Delivery]],
        ended: Sequence[tuple[Source, Delivery, Ended]],
        given_up: Sequence[Source],
        answers: Mapping[bytes | None, Request],
    ) -> None:
        """Puts parked deliveries back on their topics, as they are now, and ends and gives up others, in one transaction.

        `answers` are the requests that ended deliveries, by key.
        Raises KafkaError or OSError; `close` then, before another call.
        """
        producer = await self._producer(partition)
        async with producer.transaction():
            for source, delivery in back:
                await self._send_back(producer, source, delivery)
            for source, delivery, why in ended:
                if why.dead:
                    await self._bury(producer, source, why.reason, why.detail, delivery)
                else:
                    await self._record(producer, source, delivery, "suppressed", why.reason, why.detail)
            for source in given_up:
                await self._give_up(producer, source)
            sources = [source for source, _ in back] + [source for source, _, _ in ended] + list(given_up)
            for source in sources:
                await self._send_tombstone(producer, partition, source.key, answers.get(source.key))

    async def close(self) -> None:
        """Closes the Kafka producers; later calls make new ones."""
        producers, self._producers = list(self._producers.values()), {}
        for producer in producers:
            await end_kafka_producer(producer)

    async def _send_back(self, producer: AIOKafkaProducer, source: Source, delivery: Delivery) -> None:
        routed_at = delivery.routed_at or kafka_time(source.timestamp)
        delivery = msgspec.structs.replace(delivery, why=None, not_before=None, routed_at=routed_at)
        topic = deliveries(delivery.consumer)
        value, key = delivery.encode(), delivery.lane.encode()
        if len(value) + len(key) > topic.max_message_bytes - _ENVELOPE_BYTES:
            error = f"{len(value)} bytes, and {len(key)} of its lane, are too many for {topic.name}"
            await self._bury(producer, source, "too_large", error, delivery)
            return
        await producer.send(self._settings.topic_prefix + topic.name, value, key=key)

    async def _give_up(self, producer: AIOKafkaProducer, source: Source) -> None:
        try:
            delivery = Delivery.decode(source.value or b"")
        except InvalidRecord as problem:
            await self._bury(producer, source, "invalid", str(problem), None)
            return
        error = f"the consumer {delivery.consumer} was deleted while the delivery was parked"
        await self._bury(producer, source, "consumer_deleted", error, delivery)

    async def _bury(
        self, producer: AIOKafkaProducer, source: Source, reason: Reason, error: str, delivery: Delivery | None
    ) -> None:
        """A dead letter, and an attempt of the delivery where the record holds one."""
        letter = DeadLetter.of_record(
            source,
            stage="deliver",
            reason=reason,
            error=error,
            delivery=None if delivery is None else delivery.id,
            attempts=0 if delivery is None else delivery.attempt - 1,
        )
        await producer.send(self._settings.topic_prefix + DEAD_LETTERS.name, letter.encode(), key=letter.id.encode())
        if delivery is not None:
            await self._record(producer, source, delivery, "refused", reason, error)

    async def _record(
        self,
        producer: AIOKafkaProducer,
        source: Source,
        delivery: Delivery,
        outcome: Outcome,
        reason: Reason,
        detail: str,
    ) -> None:
        attempt = attempt_of(
            delivery,
            Try(outcome=outcome, reason=reason, number=delivery.attempt, detail=detail),
            Origin(topic=source.topic, partition=source.partition, offset=source.offset),
        )
        await producer.send(self._settings.topic_prefix + ATTEMPTS.name, attempt.encode(), key=delivery.id.encode())

    async def _send_tombstone(
        self, producer: AIOKafkaProducer, partition: TopicPartition, key: bytes | None, request: Request | None
    ) -> None:
        headers = None if request is None else [(CANCELLED, b"%d" % request.offset)]
        await producer.send(self._topic, None, key=key, partition=partition.partition, headers=headers)

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
