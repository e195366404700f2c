"""Parking: deliveries that cannot go now, until they can.

The topic `parked` is compacted and has no time limit: the newest record of an id is what waits, a tombstone says that it was
released. Whoever owns one of its partitions reads it from the start, keeps what waits in order of `not_before`, and puts
what is due back on `deliveries.<consumer>`.

Release and tombstone are one Kafka transaction. First the delivery and then the tombstone, each by itself, was worse: the
delivery fails at once, is parked again under the same id, and then the late tombstone buries the new record.
"""

import asyncio
import heapq
import logging
import time
from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack
from typing import Literal

import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from notifier.attempt import Origin
from notifier.dead_letter import DeadLetter, Source
from notifier.delivery import Delivery
from notifier.errors import InvalidRecord
from notifier.kafka import kafka_consumer, kafka_producer
from notifier.settings import Settings
from notifier.topics import ATTEMPTS, DEAD_LETTERS, DELIVERIES, PARKED
from streams.delivery.recording import attempt_of

logger = logging.getLogger(__name__)

GROUP = "delivery-parked"
RELEASED_AT_ONCE = 200  # deliveries of one transaction
KEPT_BYTES = 64 * 1024 * 1024  # of parked deliveries held in memory; beyond that only where they lie
_POLL_MS = 200
_MIN_POLL_MS = 20
_LOOK_AGAIN_S = 2.0  # until a delivery that is due and cannot go is looked at again
_RETRY_S = 1.0

# What is known of a consumer: it can be used, it cannot be used now, it is deleted, or it may be known in a moment.
Standing = Literal["usable", "broken", "deleted", "unknown"]


class _Waiting(msgspec.Struct):
    """One parked delivery. `value` None: it lies on the topic only."""

    offset: int
    timestamp: int  # when it was parked, in milliseconds since 1970
    due: float  # seconds since the epoch
    consumer: str
    size: int
    value: bytes | None


class _Shelf:
    """What waits in one partition."""

    def __init__(self) -> None:
        self.waiting: dict[str, _Waiting] = {}
        self.order: list[tuple[float, int, str]] = []  # due, offset, id; holds stale entries too
        self.end: int | None = None  # nothing is released before everything up to here is read
        self.read = False
        self.kept = 0  # bytes

    def put(self, key: str, waiting: _Waiting) -> None:
        self.drop(key)
        self.waiting[key] = waiting
        if waiting.value is not None:
            self.kept += waiting.size
        heapq.heappush(self.order, (waiting.due, waiting.offset, key))

    def drop(self, key: str) -> None:
        gone = self.waiting.pop(key, None)
        if gone is not None and gone.value is not None:
            self.kept -= gone.size

    def due(self, at: float, limit: int) -> list[str]:
        """The ids that are due, at most `limit`; they are taken out of the order, not out of what waits."""
        found: list[str] = []
        while self.order and self.order[0][0] <= at and len(found) < limit:
            _, offset, key = heapq.heappop(self.order)
            waiting = self.waiting.get(key)
            if waiting is not None and waiting.offset == offset:
                found.append(key)
        return found

    def look_again(self, keys: Iterable[str], at: float) -> None:
        """Puts ids that could not go back into the order."""
        for key in keys:
            waiting = self.waiting.get(key)
            if waiting is not None:
                heapq.heappush(self.order, (at, waiting.offset, key))


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka has no types
    def __init__(self, parking: "Parking") -> None:
        self._parking = parking

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        await self._parking.leave()

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        self._parking.take(assigned)


class Parking:
    """Releases the parked deliveries of the partitions that this process owns."""

    def __init__(self, settings: Settings, standing: Callable[[str], Standing]) -> None:
        self._settings = settings
        self._standing = standing
        self._topic = settings.topic_prefix + PARKED.name
        self._shelves: dict[TopicPartition, _Shelf] = {}
        self._producers: dict[TopicPartition, AIOKafkaProducer] = {}
        self._releasing = asyncio.Lock()
        self._kafka: AIOKafkaConsumer | None = None
        self._topics: frozenset[str] = frozenset()
        self._topics_at = 0.0

    async def run(self) -> None:
        """Works until it is cancelled. Raises UnsupportedVersion for a parked delivery that is newer than this program."""
        while True:
            try:
                await self._follow()
            except (KafkaError, OSError) as error:
                logger.warning(
                    "Parked deliveries cannot be read or released now; trying again: %s: %s",
                    type(error).__name__,
                    error,
                    extra={"action": "release"},
                )
                await asyncio.sleep(_RETRY_S)

    async def _follow(self) -> None:
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self.leave)
            kafka = kafka_consumer(
                self._settings,
                group_id=self._settings.topic_prefix + GROUP,
                session_timeout_ms=10_000,
                heartbeat_interval_ms=1_000,
                rebalance_timeout_ms=20_000,
                fetch_max_wait_ms=_POLL_MS,
            )
            stack.push_async_callback(kafka.stop)
            kafka.subscribe([self._topic], listener=_Listener(self))
            await kafka.start()
            self._kafka = kafka
            while True:
                for partition, records in (await kafka.getmany(timeout_ms=self._pause_ms())).items():
                    shelf = self._shelves.get(partition)
                    if shelf is not None:
                        await self._take_in(partition, shelf, records)
                await self._catch_up(kafka)
                async with self._releasing:
                    due = [partition for partition, shelf in self._shelves.items() if shelf.read and _any_due(shelf)]
                    for partition in due:
                        await self._release(partition)

    def _pause_ms(self) -> int:
        # Woken for what is due next, so that a retry is not late by a poll.
        at = time.time()
        waits = [shelf.order[0][0] - at for shelf in self._shelves.values() if shelf.order]
        return max(_MIN_POLL_MS, min(_POLL_MS, int(min(waits, default=1.0) * 1000)))

    def take(self, partitions: Iterable[TopicPartition]) -> None:
        """The partitions are ours now. Nothing is ever committed in the group, so each is read from its start."""
        self._shelves = {partition: _Shelf() for partition in partitions}

    async def leave(self) -> None:
        """No partition is ours any more; waits for the release that is under way."""
        async with self._releasing:
            self._shelves = {}
            producers, self._producers = list(self._producers.values()), {}
            for producer in producers:
                await _stop(producer)

    async def _catch_up(self, kafka: AIOKafkaConsumer) -> None:
        unread = [partition for partition, shelf in self._shelves.items() if not shelf.read]
        if not unread or not all(kafka.assignment() >= {partition} for partition in unread):
            return
        missing = [partition for partition in unread if self._shelves[partition].end is None]
        if missing:
            ends = await kafka.end_offsets(missing)
            for partition, end in ends.items():
                if partition in self._shelves:
                    self._shelves[partition].end = end
        for partition in unread:
            shelf = self._shelves.get(partition)
            if shelf is not None and shelf.end is not None and await kafka.position(partition) >= shelf.end:
                shelf.read = True

    async def _take_in(self, partition: TopicPartition, shelf: _Shelf, records: list[ConsumerRecord]) -> None:
        for record in records:
            key = (record.key or b"").decode(errors="replace")
            if record.value is None:
                shelf.drop(key)
                continue
            try:
                delivery = Delivery.decode(record.value)
            except InvalidRecord as error:
                await self._bury(partition, record, error)
                continue
            due = delivery.not_before.timestamp() if delivery.not_before else 0.0
            keep = sum(other.kept for other in self._shelves.values()) + len(record.value) <= KEPT_BYTES
            shelf.put(
                key,
                _Waiting(
                    offset=record.offset,
                    timestamp=record.timestamp,
                    due=due,
                    consumer=delivery.consumer,
                    size=len(record.value),
                    value=record.value if keep else None,
                ),
            )

    async def _bury(self, partition: TopicPartition, record: ConsumerRecord, error: InvalidRecord) -> None:
        """A parked record that cannot be read becomes a dead letter; its tombstone keeps it from being read again."""
        letter = DeadLetter.of_record(record, stage="deliver", reason="invalid", error=str(error))
        async with self._releasing:
            producer = await self._producer(partition)
            async with producer.transaction():
                await producer.send(
                    self._settings.topic_prefix + DEAD_LETTERS.name, letter.encode(), key=letter.id.encode()
                )
                await producer.send(self._topic, None, key=record.key, partition=record.partition)

    async def _release(self, partition: TopicPartition) -> None:
        shelf = self._shelves[partition]
        at = time.time()
        keys = shelf.due(at, RELEASED_AT_ONCE)
        go: list[str] = []
        stay: list[str] = []
        gone: list[str] = []
        for key in keys:
            consumer = shelf.waiting[key].consumer
            standing = self._standing(consumer)
            if standing == "deleted":
                gone.append(key)
            elif standing == "usable" and await self._exists(consumer):
                go.append(key)
            else:
                stay.append(key)
        shelf.look_again(stay, at + _LOOK_AGAIN_S)
        if not go and not gone:
            return
        try:
            values = await self._values(partition, shelf, [*go, *gone])
            # What is missing was compacted away: a newer record of that id is on its way to us.
            go, gone = [key for key in go if key in values], [key for key in gone if key in values]
            producer = await self._producer(partition)
            async with producer.transaction():
                for key in go:
                    await self._send_back(producer, values[key])
                for key in gone:
                    await self._give_up(producer, partition, shelf.waiting[key], values[key])
                for key in [*go, *gone]:
                    await producer.send(self._topic, None, key=key.encode(), partition=partition.partition)
        except (KafkaError, OSError):
            shelf.look_again([*go, *gone], at + _LOOK_AGAIN_S)
            await self._forget_producer(partition)
            raise
        for key in [*go, *gone]:
            shelf.drop(key)
        logger.info("Released %d parked deliveries, gave %d up.", len(go), len(gone), extra={"action": "release"})

    async def _send_back(self, producer: AIOKafkaProducer, value: bytes) -> None:
        delivery = msgspec.structs.replace(Delivery.decode(value), why=None, not_before=None)
        await producer.send(
            f"{self._settings.topic_prefix}{DELIVERIES}{delivery.consumer}",
            delivery.encode(),
            key=delivery.lane.encode(),
        )

    async def _give_up(
        self, producer: AIOKafkaProducer, partition: TopicPartition, waiting: _Waiting, value: bytes
    ) -> None:
        delivery = Delivery.decode(value)
        error = f"the consumer {delivery.consumer} was deleted while the delivery was parked"
        letter = DeadLetter.of_record(
            Source(
                partition.topic, partition.partition, waiting.offset, waiting.timestamp, delivery.id.encode(), value
            ),
            stage="deliver",
            reason="consumer_deleted",
            error=error,
            delivery=delivery.id,
            attempts=delivery.attempt - 1,
        )
        attempt = attempt_of(
            delivery,
            outcome="refused",
            reason="consumer_deleted",
            detail=error,
            origin=Origin(topic=partition.topic, partition=partition.partition, offset=waiting.offset),
        )
        prefix = self._settings.topic_prefix
        await producer.send(prefix + DEAD_LETTERS.name, letter.encode(), key=letter.id.encode())
        await producer.send(prefix + ATTEMPTS.name, attempt.encode(), key=delivery.id.encode())

    async def _values(self, partition: TopicPartition, shelf: _Shelf, keys: list[str]) -> dict[str, bytes]:
        """The records themselves; those that are not in memory are read from the topic, where compaction kept them."""
        values: dict[str, bytes] = {}
        missing: dict[int, str] = {}
        for key in keys:
            waiting = shelf.waiting[key]
            if waiting.value is None:
                missing[waiting.offset] = key
            else:
                values[key] = waiting.value
        if missing:
            async with kafka_consumer(self._settings) as kafka:
                kafka.assign([partition])
                for offset, key in sorted(missing.items()):
                    kafka.seek(partition, offset)
                    record = await kafka.getone(partition)
                    if record.offset == offset:
                        values[key] = record.value
        return values

    async def _exists(self, consumer: str) -> bool:
        """Whether the topic of a consumer is there; Kafka is asked at most once in a while."""
        name = f"{self._settings.topic_prefix}{DELIVERIES}{consumer}"
        if name not in self._topics and time.monotonic() - self._topics_at < _LOOK_AGAIN_S / 2:
            return False
        if time.monotonic() - self._topics_at >= _LOOK_AGAIN_S / 2:
            assert self._kafka is not None
            self._topics = frozenset(await self._kafka.topics())
            self._topics_at = time.monotonic()
        return name in self._topics

    async def _producer(self, partition: TopicPartition) -> AIOKafkaProducer:
        producer = self._producers.get(partition)
        if producer is None:
            # One transactional id for each partition: a new owner ends what the old one left open, and fences it.
            producer = kafka_producer(
                self._settings,
                transactional_id=f"{self._topic}-{partition.partition}",
                transaction_timeout_ms=10_000,
                linger_ms=0,
            )
            try:
                await producer.start()
            except BaseException:
                await _stop(producer)
                raise
            self._producers[partition] = producer
        return producer

    async def _forget_producer(self, partition: TopicPartition) -> None:
        producer = self._producers.pop(partition, None)
        if producer is not None:
            await _stop(producer)


async def _stop(producer: AIOKafkaProducer) -> None:
    try:
        await producer.stop()
    except KafkaError as error:  # fenced, or the broker is away: it is closed all the same
        logger.info("A Kafka producer of parked deliveries ended: %s", error, extra={"action": "release"})


def _any_due(shelf: _Shelf) -> bool:
    return bool(shelf.order) and shelf.order[0][0] <= time.time()
