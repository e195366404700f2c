"""Outputs: what a batch gave rise to, written to its topics before the batch is acknowledged.

Every record is acknowledged by all replicas before `send` returns; what fails is tried again for as long as it takes, in
order within an output partition. So a record may be written twice (after a failure whose outcome nobody knows), never lost.
A topic of the table that is missing is created. A `deliveries.` topic that is missing for `missing_wait_s` has its deliveries
parked (`retry`, due in 30 s) and stops nothing else; the batch that meets it first waits that long, later ones do not wait.
"""

import asyncio
import contextlib
import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from time import monotonic

import msgspec
from aiokafka import AIOKafkaProducer
from aiokafka.errors import (
    KafkaError,
    MessageSizeTooLargeError,
    ProducerClosed,
    RecordListTooLargeError,
    UnknownTopicOrPartitionError,
)
from aiokafka.partitioner import murmur2

from notifier.dead_letter import DeadLetter
from notifier.delivery import Delivery
from notifier.errors import BrokerError
from notifier.kafka import ensure_topics, kafka_producer
from notifier.record import now
from notifier.settings import Settings
from notifier.topics import DEAD_LETTERS, DELIVERIES, PARKED, TOPICS

logger = logging.getLogger(__name__)

MISSING_WAIT_S = 30.0
PARKED_FOR_S = 30.0
# What a record may have, so that with key, headers and envelope it stays below the broker's limit of 1 MiB for a batch.
MAX_RECORD_BYTES = 1_000_000

_BATCH_BYTES = 64 * 1024
_BACKOFF_S = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
_POLL_S = 0.25
_CLOSE_S = 5.0
_TOO_LARGE = (MessageSizeTooLargeError, RecordListTooLargeError)

Output = tuple[bytes, bytes]  # key and value


@dataclass
class Outbox:
    """Records to be sent, in order, by topic (without the prefix)."""

    topics: dict[str, list[Output]] = field(default_factory=dict)

    def add(self, topic: str, key: bytes, value: bytes) -> None:
        """Appends one."""
        records = self.topics.get(topic)
        if records is None:
            records = self.topics[topic] = []
        records.append((key, value))

    def __len__(self) -> int:
        return sum(len(records) for records in self.topics.values())


class Outputs:
    """The way out of an agent. Not started until the first `send`."""

    def __init__(self, settings: Settings, missing_wait_s: float | None = None) -> None:
        self._settings = settings
        self._prefix = settings.topic_prefix
        self._missing_wait_s = MISSING_WAIT_S if missing_wait_s is None else missing_wait_s
        self._missing: dict[str, float] = {}  # topic → since when, on the monotonic clock
        self._producer: AIOKafkaProducer | None = None
        self._starting = asyncio.Lock()
        self._closing: set[asyncio.Task[None]] = set()
        self._partitions: dict[tuple[bytes, int], int] = {}  # (key, number of partitions) → partition

    async def send(self, outbox: Outbox) -> None:
        """Writes all of it, or parks what has no topic; returns when all of that is acknowledged. Does not raise."""
        topics = outbox.topics
        if len(topics) == 1:
            ((topic, records),) = topics.items()
            await self._send_topic(topic, records)
        elif topics:
            await asyncio.gather(*(self._send_topic(topic, records) for topic, records in topics.items()))

    async def stop(self) -> None:
        """Closes the Kafka producer. What `send` is still at is given up."""
        producer = self._producer
        if producer is not None:
            self._replace(producer)
        if self._closing:
            await asyncio.gather(*self._closing, return_exceptions=True)

    # --- one topic ---

    async def _send_topic(self, topic: str, records: list[Output]) -> None:
        name = self._prefix + topic
        failures = 0
        largest = _BATCH_BYTES
        while records:
            try:
                producer = await self._ready_producer()
                partitions = await self._count_partitions(producer, topic)
                if not partitions:
                    if not topic.startswith(DELIVERIES):
                        await ensure_topics(self._settings, [row for row in TOPICS if row.name == topic])
                    elif monotonic() - self._missing[topic] >= self._missing_wait_s:
                        await self._park(topic, records)
                        return
                    await asyncio.sleep(_POLL_S)
                    continue
                records, error = await self._send_records(producer, topic, partitions, records, largest)
            except (KafkaError, BrokerError, OSError) as failed:
                error = failed
            if error is None:
                continue
            if isinstance(error, UnknownTopicOrPartitionError):
                await asyncio.sleep(_BACKOFF_S[0])  # the topic went while it was written to; the next look says so
                continue
            if isinstance(error, _TOO_LARGE):
                if largest == 0:
                    records = await self._refuse(topic, records, error)
                largest = 0  # one record in each batch, so that it is known which one the broker refuses
                continue
            logger.warning(
                "Records for %s cannot be written now and will be tried again: %s",
                name,
                repr(error),
                extra={"action": "send", "topic": name},
            )
            await asyncio.sleep(_BACKOFF_S[min(failures, len(_BACKOFF_S) - 1)])
            failures += 1

    async def _send_records(
        self, producer: AIOKafkaProducer, topic: str, partitions: int, records: list[Output], largest: int
    ) -> tuple[list[Output], Exception | None]:
        """Sends in rounds of one batch for each partition. Answers what is not acknowledged, in order, and why."""
        name = self._prefix + topic
        waiting: dict[int, list[Output]] = {}
        cache = self._partitions
        for record in records:
            key = record[0], partitions
            partition = cache.get(key)
            if partition is None:
                if len(cache) > 100_000:
                    cache.clear()
                partition = cache[key] = (murmur2(record[0]) & 0x7FFFFFFF) % partitions
            queue = waiting.get(partition)
            if queue is None:
                queue = waiting[partition] = []
            queue.append(record)
        while waiting:
            round_: dict[asyncio.Future[object], tuple[int, int]] = {}
            error: Exception | None = None
            for partition, queue in waiting.items():
                batch = producer.create_batch()
                size = 0
                for key_bytes, value in queue:
                    if size and not largest:
                        break
                    if batch.append(key=key_bytes, value=value, timestamp=None) is None:
                        break
                    size += 1
                try:
                    future = await producer.send_batch(batch, name, partition=partition)
                except KafkaError as failed:
                    error = failed
                    break
                round_[future] = partition, size
            error = await self._settle(producer, topic, set(round_)) or error
            for future, (partition, size) in round_.items():
                if future.done() and not future.cancelled() and future.exception() is None:
                    del waiting[partition][:size]
                    if not waiting[partition]:
                        del waiting[partition]
            if error is not None:
                if not isinstance(error, UnknownTopicOrPartitionError):
                    self._replace(producer)
                return [record for queue in waiting.values() for record in queue], error
        return [], None

    async def _settle(
        self, producer: AIOKafkaProducer, topic: str, futures: set["asyncio.Future[object]"]
    ) -> Exception | None:
        """Waits until the broker has answered, or the topic has been missing for too long. The first error, if any."""
        pending = futures
        while pending:
            _, pending = await asyncio.wait(pending, timeout=1.0)
            try:
                if not pending or await self._count_partitions(producer, topic):
                    continue
            except KafkaError:  # the broker is away; aiokafka goes on trying, and so do we
                continue
            if monotonic() - self._missing[topic] >= self._missing_wait_s:
                for future in pending:  # aiokafka fails them later; nobody waits for that any more
                    future.add_done_callback(_forget)
                # It still holds those records, and would write them should the topic come back.
                self._replace(producer)
                missing: Exception = UnknownTopicOrPartitionError(topic)
                return missing
        errors = [future.exception() for future in futures]
        return next((error for error in errors if isinstance(error, Exception)), None)

    async def _count_partitions(self, producer: AIOKafkaProducer, topic: str) -> int:
        """How many partitions the topic has; 0 when there is no such topic, since `self._missing[topic]`."""
        name = self._prefix + topic
        known = producer.client.cluster.partitions_for_topic(name)
        if known:
            self._missing.pop(topic, None)
            return len(known)
        await producer.client.add_topic(name)
        if not await producer.client.force_metadata_update():
            raise KafkaError("the broker does not answer")  # then nobody knows whether the topic is there
        known = producer.client.cluster.partitions_for_topic(name)
        if known:
            self._missing.pop(topic, None)
            return len(known)
        if topic not in self._missing:
            self._missing[topic] = monotonic()
            logger.warning(
                "The topic %s is missing; in %.0f s its records are parked.",
                name,
                self._missing_wait_s,
                extra={"action": "send", "topic": name},
            )
        return 0

    async def _park(self, topic: str, records: Iterable[Output]) -> None:
        due = now() + timedelta(seconds=PARKED_FOR_S)
        outbox = Outbox()
        for _, value in records:
            delivery = Delivery.decode(value)
            not_before = max(due, delivery.not_before) if delivery.not_before else due
            parked = msgspec.structs.replace(delivery, why="retry", not_before=not_before)
            outbox.add(PARKED.name, delivery.id.encode(), parked.encode())
        logger.warning(
            "%s deliveries are parked because the topic %s is missing.",
            len(outbox),
            self._prefix + topic,
            extra={"action": "park", "topic": self._prefix + topic},
        )
        await self.send(outbox)

    async def _refuse(self, topic: str, records: list[Output], error: Exception) -> list[Output]:
        """Makes a dead letter of the largest record, which is the one that the broker refused; answers the others."""
        worst = max(range(len(records)), key=lambda index: len(records[index][1]))
        key, value = records[worst]
        name = key.decode(errors="replace")
        if topic.startswith(DELIVERIES):
            name = Delivery.decode(value).id
        letter = DeadLetter(
            id=name,
            stage="route",
            reason="too_large",
            error=f"the broker refuses a record of {len(value)} bytes on {self._prefix + topic}: {error}",
            topic=self._prefix + topic,
            at=now(),
            delivery=name if topic.startswith((DELIVERIES, PARKED.name)) else None,
        )
        outbox = Outbox()
        outbox.add(DEAD_LETTERS.name, name.encode(), letter.encode())
        await self.send(outbox)
        return records[:worst] + records[worst + 1 :]

    # --- the Kafka producer ---

    async def _ready_producer(self) -> AIOKafkaProducer:
        async with self._starting:
            if self._producer is None:
                producer = kafka_producer(self._settings, linger_ms=0, max_batch_size=_BATCH_BYTES)
                try:
                    await producer.start()
                except BaseException:
                    await producer.stop()
                    raise
                self._producer = producer
            return self._producer

    def _replace(self, producer: AIOKafkaProducer) -> None:
        """Takes another Kafka producer from now on: after a failed batch the broker expects a sequence that never comes."""
        if self._producer is producer:
            self._producer = None
            task = asyncio.create_task(self._close(producer), name="close Kafka producer")
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    async def _close(self, producer: AIOKafkaProducer) -> None:
        # `stop` waits for every batch, also for those of a topic that is gone; and aiokafka would go on trying behind us.
        producer._message_accumulator.fail_all(ProducerClosed())
        with contextlib.suppress(KafkaError, asyncio.TimeoutError):
            await asyncio.wait_for(producer.stop(), _CLOSE_S)


def _forget(future: "asyncio.Future[object]") -> None:
    if not future.cancelled():
        future.exception()  # or the event loop complains that nobody asked
