"""Waiting: what lies on `parked` now, followed into memory from its start, without the messages.

Each API process follows all of it. A table in the database was thought of and is worse: each retry would cost two writes there,
and an API that was away for more than a day may never see a tombstone, which compaction removes, so that what it had stored
would be listed for ever.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime

import msgspec
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from notifier.cancelling import CANCELLED, KEY_ERRORS, Request
from notifier.delivery import Delivery
from notifier.ending import end
from notifier.errors import BrokerError, NotifierError, RecordError
from notifier.kafka import ensure_topics, kafka_consumer
from notifier.record import JsonObject, kafka_time, rfc3339
from notifier.settings import Settings
from notifier.topics import PARKED

logger = logging.getLogger(__name__)

MOST = 1_000_000  # that are listed; some 600 bytes each
_RETRY_S = 1.0
_LOAD_S = 10.0  # that a request waits for what is still being read


class Parked(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A parked delivery, as a list shows it."""

    id: str
    partition: int
    offset: int
    timestamp: int  # when it was parked, in milliseconds since 1970
    not_before: datetime | None  # none: it is due at once
    configuration: str
    consumer: str
    recipient: str | None
    why: str | None
    attempt: int
    again: bool  # it was sent again from the dead letters
    order: tuple[float, int, int]  # when it is due, in seconds since 1970, and its place: the order of the list

    def answer(self) -> JsonObject:
        """As the API shows it."""
        at = kafka_time(self.timestamp)
        return {
            "id": self.id,
            "state": "parked",
            "configuration": self.configuration,
            "consumer": self.consumer,
            "recipient": self.recipient,
            "why": self.why,
            "attempt": self.attempt,
            "not_before": None if self.not_before is None else rfc3339(self.not_before),
            "parked_at": None if at is None else rfc3339(at),
            "redriven": self.again,
        }


class Watch:
    """How the wait of one parked delivery ends."""

    def __init__(self, watched: Parked) -> None:
        self.offset = watched.offset
        self.ended = asyncio.Event()
        self.cancelled = False  # else it was released, or is parked anew


class WaitingDeliveries:
    """Follows `parked`. While the broker is away, what was read stays."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._topic = settings.topic_prefix + PARKED.name
        self._known: dict[str, Parked] = {}  # by id
        self._watches: defaultdict[str, list[Watch]] = defaultdict(list)
        self._task: asyncio.Task[None] | None = None
        self._loaded = asyncio.Event()  # set once what was there at the start is read

    async def start(self) -> None:
        """Begins to follow; returns at once, whether the broker is there or not."""
        if self._task is None:
            self._task = asyncio.create_task(self._follow(), name="parked")

    async def stop(self) -> None:
        """Ends the following."""
        task, self._task = self._task, None
        if task is not None:
            await end(task)

    async def all(self) -> dict[str, Parked]:
        """What waits now, by id; not to be changed. Raises BrokerError while it is not known."""
        try:
            async with asyncio.timeout(_LOAD_S):
                await self._loaded.wait()
        except TimeoutError:
            raise BrokerError("the parked deliveries are not read yet: try again in some seconds") from None
        return self._known

    @contextmanager
    def watched(self, one: Parked) -> Iterator[Watch]:
        """Watches a delivery that waits now."""
        watch = Watch(one)
        self._watches[one.id].append(watch)
        try:
            yield watch
        finally:
            self._watches[one.id].remove(watch)
            if not self._watches[one.id]:
                del self._watches[one.id]

    # --- following ---

    async def _follow(self) -> None:
        while True:
            consumer: AIOKafkaConsumer | None = None
            try:
                await ensure_topics(self._settings, [PARKED])
                consumer = kafka_consumer(self._settings)
                await consumer.start()
                await self._read(consumer)
            except (KafkaError, NotifierError, OSError) as error:
                logger.debug("The parked deliveries cannot be read now: %s", error)
            except Exception:  # the supervisor of this loop
                logger.exception("The parked deliveries are read anew.", extra={"action": "follow_parked"})
            finally:
                if consumer is not None:
                    with suppress(KafkaError, OSError):
                        await consumer.stop()
            await asyncio.sleep(_RETRY_S)

    async def _read(self, consumer: AIOKafkaConsumer) -> None:
        numbers = consumer.partitions_for_topic(self._topic) or range(PARKED.partitions)
        partitions = [TopicPartition(self._topic, number) for number in sorted(numbers)]
        consumer.assign(partitions)
        await consumer.seek_to_beginning(*partitions)
        ends = await consumer.end_offsets(partitions)
        known: dict[str, Parked] = {}  # takes the place of what was known, once it is read up to now
        is_read = False
        while True:
            if not is_read and all([await consumer.position(one) >= ends[one] for one in partitions]):
                self._known, is_read = known, True
                self._loaded.set()
            for records in (await consumer.getmany(timeout_ms=500, max_records=500)).values():
                for record in records:
                    self._take(known, record)

    def _take(self, known: dict[str, Parked], record: ConsumerRecord) -> None:
        headers = dict(record.headers)
        if Request.of(record, headers) is not None:
            return
        id_ = (record.key or b"").decode(errors=KEY_ERRORS)
        known.pop(id_, None)
        found = _parked(record)
        if found is not None and len(known) < MOST:
            known[found.id] = found
        for watch in self._watches.get(id_, ()):
            if record.offset > watch.offset and not watch.ended.is_set():  # else it is read again
                watch.cancelled = record.value is None and CANCELLED in headers
                watch.ended.set()


def _parked(record: ConsumerRecord) -> Parked | None:
    """None for a tombstone, and for what holds no delivery, which delivery gives up at once."""
    try:
        delivery = Delivery.decode(record.value or b"")
    except RecordError:
        return None
    if delivery.id.encode() != record.key:
        return None
    return Parked(
        id=delivery.id,
        partition=record.partition,
        offset=record.offset,
        timestamp=record.timestamp,
        not_before=delivery.not_before,
        configuration=delivery.configuration,
        consumer=delivery.consumer,
        recipient=delivery.recipient,
        why=delivery.why,
        attempt=delivery.attempt,
        again=delivery.redriven_at is not None,
        order=(
            0.0 if delivery.not_before is None else delivery.not_before.timestamp(),
            record.partition,
            record.offset,
        ),
    )
