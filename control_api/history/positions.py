"""Positions: where the follower goes on in each of its partitions. The database says so, not Kafka's committed offsets."""

from collections.abc import Iterable

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.abc import ConsumerRebalanceListener
from aiokafka.errors import IllegalStateError, KafkaError
from sqlalchemy import select

from control_api.models import HistoryOffsetRow
from notifier.database import Database
from notifier.errors import DatabaseError


class Positions(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka has no types
    """The offsets of the partitions that the consumer has, sought whenever it is given some."""

    def __init__(self, database: Database, consumer: AIOKafkaConsumer) -> None:
        self._database = database
        self._consumer = consumer
        self._generations: dict[TopicPartition, int] = {}
        self._next: dict[TopicPartition, int] = {}
        self.failed: Exception | None = None

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Called by aiokafka before others are given our partitions."""
        self._generations.clear()
        self._next.clear()

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Called by aiokafka before it fetches. aiokafka would only log an error, so `failed` keeps it."""
        try:
            partitions = list(assigned)
            ends = await self._consumer.end_offsets(partitions) if partitions else {}
            async with self._database.read() as session:
                known = {(row.topic, row.partition): row for row in await session.scalars(select(HistoryOffsetRow))}
            for partition in partitions:
                row = known.get((partition.topic, partition.partition))
                generation, offset = (row.generation, row.offset) if row is not None else (0, 0)
                # A new topic of the same name, perhaps on a new broker: offsets begin at 0 again.
                if offset > ends[partition]:
                    generation, offset = generation + 1, 0
                self._generations[partition] = generation
                self._next[partition] = offset
                # Where the topic no longer holds that offset, the consumer goes on with the oldest one it holds.
                self._consumer.seek(partition, offset)
        except (KafkaError, DatabaseError, OSError) as error:
            self.failed = error

    def has(self, record: ConsumerRecord) -> bool:
        """Whether the partition of the record is ours and the record not stored yet."""
        start = self._next.get(TopicPartition(record.topic, record.partition))
        return start is not None and int(record.offset) >= start

    def generations(self) -> dict[TopicPartition, int]:
        """How often the topic of each of our partitions has begun anew."""
        return dict(self._generations)

    def advance(self, record: ConsumerRecord) -> None:
        """Notes that the record is stored."""
        partition = TopicPartition(record.topic, record.partition)
        if partition in self._next:
            self._next[partition] = record.offset + 1


async def lag_of(consumer: AIOKafkaConsumer) -> int:
    """How many records the consumer has still to read, by the last fetches; a partition without a fetch counts as read."""
    lag = 0
    try:
        for partition in consumer.assignment():
            end = consumer.highwater(partition)
            if end is not None:
                lag += max(0, end - await consumer.position(partition))
    except IllegalStateError:
        pass  # a rebalance has taken the partition away
    return lag
