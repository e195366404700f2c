"""Reading: the committed records of `messages` that lie in a span of time, batch by batch, and how far it has come.

A partition is read from the first record that is as new as `since` up to the first that is as new as `until`, or to its end as
it is at the start. Of records that another client has written with times in no order, those count whose own time lies in
the span. What the topic has let go meanwhile is passed over.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from time import monotonic

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from notifier.errors import BrokerError
from notifier.kafka import ensure_topics, kafka_admin, kafka_consumer
from notifier.settings import Settings
from notifier.topics import MESSAGES

BATCH = 2_000  # records at once
STALL_S = 60.0  # without a record, after which the broker counts as away
_WAIT_MS = 500


@dataclass(frozen=True, kw_only=True)
class Span:
    """A span of time [since, until)."""

    since: datetime
    until: datetime

    def milliseconds(self) -> tuple[int, int]:
        """The same in milliseconds since 1970."""
        return round(self.since.timestamp() * 1000), round(self.until.timestamp() * 1000)


class Reading:
    """Records of a span. `progress` is the part that was read, 0 to 1."""

    def __init__(self, consumer: AIOKafkaConsumer, span: Span, ends: dict[TopicPartition, int], size: int) -> None:
        self._consumer = consumer
        self._first_ms, self._end_ms = span.milliseconds()
        self._ends = ends  # of partitions that are not read yet
        self._left = self._size = size
        self._moved = monotonic()

    @property
    def progress(self) -> float:
        """The part that was read."""
        return 1.0 if not self._ends or not self._size else 1.0 - self._left / self._size

    async def batches(self) -> AsyncGenerator[Sequence[ConsumerRecord], None]:
        """The records. Raises BrokerError when none come any more."""
        while self._ends:
            for partition, records in (await self._consumer.getmany(timeout_ms=_WAIT_MS, max_records=BATCH)).items():
                end = self._ends.get(partition, 0)
                yield [
                    record
                    for record in records
                    if record.offset < end and self._first_ms <= record.timestamp < self._end_ms
                ]
            await self._look()

    async def _look(self) -> None:
        """Finds how far it has come. A position moves past what is not committed and what is gone, too."""
        left = 0
        for partition, end in list(self._ends.items()):
            behind = end - await self._consumer.position(partition)
            if behind <= 0:
                del self._ends[partition]
                self._consumer.pause(partition)  # or what comes meanwhile would be read, too
            left += max(0, behind)
        if left != self._left:
            self._moved = monotonic()
        elif monotonic() - self._moved > STALL_S:
            raise BrokerError(f"the broker gives no records since {STALL_S:.0f} s; {left} are left to read")
        self._left = left


@asynccontextmanager
async def reading(settings: Settings, span: Span) -> AsyncIterator[Reading]:
    """Opens the topic. Raises BrokerError."""
    try:
        await ensure_topics(settings, [MESSAGES])
        topic = settings.topic_prefix + MESSAGES.name
        async with kafka_admin(settings) as admin:
            (described,) = await admin.describe_topics([topic])
        partitions = [TopicPartition(topic, each["partition"]) for each in described["partitions"]]
        async with kafka_consumer(settings) as consumer:
            yield await _place(consumer, partitions, span)
    except KafkaError as error:
        raise BrokerError(f"the broker cannot be read from: {type(error).__name__}: {error}") from error


async def _place(consumer: AIOKafkaConsumer, partitions: Sequence[TopicPartition], span: Span) -> Reading:
    """Goes to the first record of each partition."""
    first_ms, end_ms = span.milliseconds()
    starts = await consumer.offsets_for_times(dict.fromkeys(partitions, first_ms))
    stops = await consumer.offsets_for_times(dict.fromkeys(partitions, end_ms))
    committed = await consumer.end_offsets(partitions)
    ends: dict[TopicPartition, int] = {}
    size = 0
    consumer.assign(partitions)  # now, and not before: without a place it would begin to read at the topic's start
    for partition in partitions:
        start, stop = starts[partition], stops[partition]
        end = committed[partition] if stop is None else min(stop.offset, committed[partition])
        if start is None or start.offset >= end:
            consumer.seek(partition, committed[partition])
            consumer.pause(partition)
            continue
        consumer.seek(partition, start.offset)
        ends[partition] = end
        size += end - start.offset
    return Reading(consumer, span, ends, size)
