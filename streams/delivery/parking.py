"""Parking: deliveries that cannot go now, until they can.

The topic `parked` is compacted and has no time limit: the newest record of an id is what waits, a tombstone says that it was
released. The owner of a partition reads it from the start, keeps what waits on a shelf (`streams.delivery.shelf`) and releases
what is due (`streams.delivery.releasing`).
"""

import asyncio
import logging
import math
import time
from collections.abc import Iterable
from contextlib import AsyncExitStack

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from notifier.cancelling import KEY_ERRORS, Request
from notifier.dead_letter import Source
from notifier.delivery import Delivery
from notifier.errors import InvalidRecord
from notifier.kafka import kafka_consumer
from notifier.record import kafka_time
from notifier.settings import Settings
from notifier.topics import DELIVERIES, PARKED
from streams.delivery.consumers import Consumers
from streams.delivery.group import POLL_MS, OnRebalance, group_consumer
from streams.delivery.releasing import Releasing
from streams.delivery.review import Ended
from streams.delivery.shelf import Shelf, Waiting

logger = logging.getLogger(__name__)

GROUP = "delivery-parked"
RELEASED_AT_ONCE = 200  # deliveries of one transaction
KEPT_BYTES = 64 * 1024 * 1024  # of parked deliveries held in memory; the others are read again when they are due
_MIN_POLL_MS = 20
_LOOK_AGAIN_S = 2.0  # until a delivery that is due and cannot go is looked at again
_RETRY_S = 1.0


class Parking:
    """Releases the parked deliveries of the partitions that this process owns."""

    def __init__(self, settings: Settings, consumers: Consumers) -> None:
        self._settings = settings
        self._consumers = consumers
        self._topic = settings.topic_prefix + PARKED.name
        self._shelves: dict[TopicPartition, Shelf] = {}
        self._releasing = Releasing(settings)
        self._lock = asyncio.Lock()  # held during a transaction: partitions go only between two
        self._kafka: AIOKafkaConsumer | None = None
        self._topics: frozenset[str] = frozenset()  # of the broker
        self._topics_at = 0.0  # when they were asked for; `time.monotonic()`

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

    def follow(self, consumers: frozenset[str], users: frozenset[str]) -> None:
        """Looks again at what waits for its next try, where a change of these consumers and users may have mended or ended it."""
        is_off = self._consumers.review.is_off
        for shelf in self._shelves.values():
            keys = [
                key
                for key, waiting in shelf.retries()
                if waiting.consumer in consumers or waiting.recipient in users or is_off(waiting.configuration)
            ]
            shelf.look_again(keys, time.time())

    async def _follow(self) -> None:
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self._let_go)
            kafka = group_consumer(self._settings, GROUP)
            stack.push_async_callback(kafka.stop)
            kafka.subscribe([self._topic], listener=OnRebalance(take=self._take, let_go=self._let_go))
            await kafka.start()
            self._kafka = kafka
            while True:
                for partition, records in (await kafka.getmany(timeout_ms=self._pause_ms())).items():
                    shelf = self._shelves.get(partition)
                    if shelf is not None:
                        self._take_in(shelf, records)
                await self._catch_up(kafka)
                async with self._lock:
                    for partition in [partition for partition, shelf in self._shelves.items() if _has_due(shelf)]:
                        await self._release(partition)

    def _pause_ms(self) -> int:
        # Until the next delivery is due, so that a retry is not late by a poll.
        at = time.time()
        waits_s = [due - at for shelf in self._shelves.values() if (due := shelf.next_due()) is not None]
        return max(_MIN_POLL_MS, min(POLL_MS, int(min(waits_s, default=1.0) * 1000)))

    # --- the group ---

    async def _take(self, partitions: Iterable[TopicPartition]) -> None:
        """The partitions are ours now. Nothing is ever committed in the group, so each is read from its start."""
        self._shelves = {partition: Shelf() for partition in partitions}

    async def _let_go(self) -> None:
        """No partition is ours any more; waits for the release that is under way."""
        async with self._lock:
            self._shelves = {}
            await self._releasing.close()

    async def _catch_up(self, kafka: AIOKafkaConsumer) -> None:
        """Marks the shelves whose partition is read up to its end."""
        unread = [partition for partition, shelf in self._shelves.items() if not shelf.read]
        if not unread or not kafka.assignment().issuperset(unread):
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

    # --- reading ---

    def _take_in(self, shelf: Shelf, records: list[ConsumerRecord]) -> None:
        for record in records:
            # Kafka takes no record without a key here; one that came without could not be read, and stands alone.
            raw_key = b"unreadable-%d" % record.offset if record.key is None else record.key
            key = raw_key.decode(errors=KEY_ERRORS)
            if record.value is None:
                request = Request.of(record, dict(record.headers))
                if request is None:
                    shelf.drop(key)
                else:
                    shelf.cancel(request, time.time())
                continue
            try:
                delivery: Delivery | None = Delivery.decode(record.value)
            except InvalidRecord:
                delivery = None  # due at once, to be given up; a tombstone that follows says that it was already
            keep = sum(other.kept for other in self._shelves.values()) + len(record.value) <= KEPT_BYTES
            shelf.put(
                key,
                Waiting(
                    offset=record.offset,
                    timestamp=record.timestamp,
                    due=0.0 if delivery is None else self._due(delivery, record.timestamp),
                    consumer=None if delivery is None else delivery.consumer,
                    configuration="" if delivery is None else delivery.configuration,
                    recipient=None if delivery is None else delivery.recipient,
                    retry=delivery is not None and delivery.why == "retry",
                    size=len(record.value),
                    value=record.value if keep else None,
                    expires=math.inf if delivery is None else self._expires(delivery, record.timestamp),
                ),
            )
            if delivery is not None and self._is_behind(delivery, record.timestamp):
                shelf.look_again([key], time.time())

    def _is_behind(self, delivery: Delivery, parked_at_ms: int) -> bool:
        """Whether a change that `follow` would look at it for came between its parking and this moment."""
        parked_at = kafka_time(parked_at_ms)
        if delivery.why != "retry" or parked_at is None:
            return False
        changed = self._consumers.changes.user_seen_since(delivery.recipient or "", parked_at)
        return changed or self._consumers.review.is_off(delivery.configuration)

    def _due(self, delivery: Delivery, parked_at_ms: int) -> float:
        """When a delivery may go, in seconds since 1970."""
        parked_at = kafka_time(parked_at_ms)
        if delivery.not_before is None:
            return 0.0
        if delivery.why == "retry" and parked_at and self._consumers.changes.since(delivery.consumer, parked_at):
            return 0.0
        return delivery.not_before.timestamp()

    def _expires(self, delivery: Delivery, parked_at_ms: int) -> float:
        """When a delivery expires, in seconds since 1970; infinite where it does not."""
        expires_at = self._consumers.review.expiry(delivery, parked_at_ms)
        return math.inf if expires_at is None else expires_at.timestamp()

    async def _values(self, partition: TopicPartition, shelf: Shelf, keys: Iterable[str]) -> dict[str, bytes]:
        """The records of these ids; those not in memory are read from the topic, without those that compaction removed."""
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

    # --- releasing ---

    async def _release(self, partition: TopicPartition) -> None:
        shelf = self._shelves[partition]
        at = time.time()
        back: list[str] = []
        stay: list[str] = []
        late: list[str] = []  # that have expired, and can go no more than the others that stay
        gone: list[str] = []
        cancelled: dict[str, Request] = {}
        for key in shelf.take_due(at, RELEASED_AT_ONCE):
            consumer, request = shelf.waiting[key].consumer, shelf.waiting[key].cancel
            if consumer is not None and request is not None:
                cancelled[key] = request
                continue
            standing = "deleted" if consumer is None else self._consumers.standings.of(consumer)
            if consumer is None or standing == "deleted":
                gone.append(key)
            elif standing in ("usable", "disabled") and await self._has_topic(consumer):
                back.append(key)
            elif shelf.waiting[key].expires <= at:
                late.append(key)
            else:
                stay.append(key)
        shelf.look_again(stay, at + _LOOK_AGAIN_S)
        if not back and not late and not gone and not cancelled:
            return
        # An id without a value was compacted away: a newer record of it is about to be read.
        values = await self._values(partition, shelf, [*back, *late, *gone, *cancelled])
        sources = {key: _source(partition, shelf.waiting[key], key, value) for key, value in values.items()}
        released: list[tuple[Source, Delivery]] = []
        requests = {key: request for key, request in cancelled.items() if key in sources}
        ended = [(sources[key], Delivery.decode(values[key]), _cancelled(one)) for key, one in requests.items()]
        for key in [key for key in (*back, *late) if key in sources]:
            delivery = Delivery.decode(values[key])
            waiting = shelf.waiting[key]
            found = self._consumers.review.of(delivery, waited=True, timestamp_ms=waiting.timestamp)
            if isinstance(found, Ended):
                ended.append((sources[key], delivery, found))
            elif found is None or key in late:
                del sources[key]
                shelf.look_again([key], at + _LOOK_AGAIN_S)
            elif self._is_due(waiting, at) or found.address != delivery.address:
                released.append((sources[key], found))
            else:  # a change made it look, and did not concern it
                del sources[key]
                shelf.look_again([key], waiting.due)
        given_up = [sources[key] for key in gone if key in sources]
        if not sources:
            return
        answers = {sources[key].key: request for key, request in requests.items()}
        await self._releasing.release(partition, released, ended, given_up, answers)
        for key in sources:
            shelf.drop(key)
        logger.info(
            "Released %d parked deliveries, gave %d up.",
            len(released),
            len(ended) + len(given_up),
            extra={"action": "release"},
        )

    def _is_due(self, waiting: Waiting, at: float) -> bool:
        parked_at = kafka_time(waiting.timestamp)
        if waiting.due <= at:
            return True
        return bool(parked_at and waiting.consumer and self._consumers.changes.since(waiting.consumer, parked_at))

    async def _has_topic(self, consumer: str) -> bool:
        """Whether the topic of a consumer exists. Kafka is asked once a second at most."""
        name = f"{self._settings.topic_prefix}{DELIVERIES}{consumer}"
        fresh = time.monotonic() - self._topics_at < _LOOK_AGAIN_S / 2
        if not fresh:
            assert self._kafka is not None
            self._topics = frozenset(await self._kafka.topics())
            self._topics_at = time.monotonic()
        return name in self._topics


def _cancelled(request: Request) -> Ended:
    return Ended(reason="cancelled", detail=f"cancelled by {request.by}")


def _source(partition: TopicPartition, waiting: Waiting, key: str, value: bytes) -> Source:
    name = key.encode(errors=KEY_ERRORS)
    return Source(partition.topic, partition.partition, waiting.offset, waiting.timestamp, name, value)


def _has_due(shelf: Shelf) -> bool:
    due = shelf.next_due()
    return shelf.read and due is not None and due <= time.time()
