"""Follower: follows topics into the database. History: `attempts`, `dead_letters`, `runs` and `answers`.

The position in each partition is written in the transaction that stores what was read, so each record is in the database
once, whenever a process, the broker or the database dies. Several API processes share the partitions, in one group for each
follower; one that does not know yet that it lost a partition stores nothing twice, since a record's place is unique. A record of
a version that this program does not know ends the history: the API is then not ready.

`control_api.history.storing` writes the history, `control_api.history.message_index` follows `messages`,
`control_api.history.records` answers, `control_api.retention` deletes.
"""

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from time import monotonic
from typing import ClassVar

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from control_api.history.positions import Positions, lag_of
from control_api.history.storing import Generations, Skipped, store
from notifier.database import Database
from notifier.ending import end
from notifier.errors import BrokerError, DatabaseError, UnsupportedVersion
from notifier.kafka import ensure_topics, kafka_consumer
from notifier.settings import Settings
from notifier.topics import ANSWERS, ATTEMPTS, DEAD_LETTERS, RUNS, Topic

logger = logging.getLogger(__name__)

_RETRY_S = 1.0
_CONNECT_S = 10.0
_WAIT_MS = 500
STALL_S = 30.0  # in which no position moves, after which the broker counts as away


class Follower(ABC):
    """Follows some topics for one API process.

    `lag` is how many records of its partitions it has still to read, None while it follows none or the broker is away;
    `skipped` how many it could not store since its start; `failed` says why following ended for good.
    """

    topics: ClassVar[tuple[Topic, ...]]
    title: ClassVar[str]  # for people
    group: ClassVar[str]  # after the prefix
    batch: ClassVar[int]  # records in one transaction

    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings = settings
        self._database = database
        self._task: asyncio.Task[None] | None = None
        self.lag: int | None = None
        self.skipped = 0
        self.failed: UnsupportedVersion | None = None

    async def start(self) -> None:
        """Begins to follow; returns at once, whether the broker is there or not."""
        if self._task is None:
            self._task = asyncio.create_task(self._follow(), name=self.group)

    async def stop(self) -> None:
        """Ends the following, after the batch at hand."""
        task, self._task = self._task, None
        if task is not None:
            await end(task)

    async def catch_up(self) -> None:
        """Reads what is still to be read and ends, for a command that may find no API at work.

        Beside one that follows, it stores nothing twice. Raises UnsupportedVersion, BrokerError, DatabaseError, KafkaError
        and TimeoutError.
        """
        await ensure_topics(self._settings, self.topics)
        async with kafka_consumer(self._settings) as consumer:
            partitions = [
                TopicPartition(self._settings.topic_prefix + topic.name, number)
                for topic in self.topics
                for number in consumer.partitions_for_topic(self._settings.topic_prefix + topic.name)
                or range(topic.partitions)
            ]
            consumer.assign(partitions)
            ends = await consumer.end_offsets(partitions)
            positions = Positions(self._database, consumer)
            await positions.on_partitions_assigned(partitions)
            if positions.failed is not None:
                raise positions.failed
            left, moved = -1, monotonic()
            while (still := await _left(consumer, ends)) > 0:
                if still != left:
                    left, moved = still, monotonic()
                elif monotonic() - moved > STALL_S:  # aiokafka waits for a broker for ever, without an error
                    raise BrokerError(f"the broker gives no records since {STALL_S:.0f} s; {left} are left to read")
                found = await consumer.getmany(timeout_ms=_WAIT_MS, max_records=self.batch)
                records = [record for batch in found.values() for record in batch]
                if records:
                    await self.store(records, positions.generations())

    @abstractmethod
    async def store(self, records: Sequence[ConsumerRecord], generations: Generations) -> list[Skipped]:
        """Stores the records and the offsets behind them, in one transaction. Answers those that cannot be stored."""

    async def _follow(self) -> None:
        quiet = False  # whether an outage was logged already
        while True:
            consumer: AIOKafkaConsumer | None = None
            try:
                async with asyncio.timeout(_CONNECT_S):
                    await ensure_topics(self._settings, self.topics)
                consumer = kafka_consumer(
                    self._settings,
                    group_id=self._settings.topic_prefix + self.group,
                    session_timeout_ms=10_000,
                    heartbeat_interval_ms=1_000,
                )
                async with asyncio.timeout(_CONNECT_S):
                    await consumer.start()
                quiet = False
                await self._read(consumer)
            except UnsupportedVersion as error:
                self.failed = error
                logger.critical(
                    "The %s ends here, because a record is newer than this program: %s. Update it.",
                    self.title,
                    error,
                    extra={"action": "follow"},
                )
                return
            except (KafkaError, BrokerError, DatabaseError, OSError, TimeoutError) as error:
                if not quiet:
                    logger.warning(
                        "The %s cannot go on now and will be tried again: %s",
                        self.title,
                        str(error) or type(error).__name__,
                        extra={"action": "follow"},
                    )
                quiet = True
            except Exception:  # the supervisor of this loop: without it the history would end in silence
                logger.exception("The %s failed and starts anew.", self.title, extra={"action": "follow"})
            finally:
                self.lag = None
                if consumer is not None:
                    await consumer.stop()
            await asyncio.sleep(_RETRY_S)

    async def _read(self, consumer: AIOKafkaConsumer) -> None:
        positions = Positions(self._database, consumer)
        consumer.subscribe([self._settings.topic_prefix + topic.name for topic in self.topics], listener=positions)
        while True:
            found = await consumer.getmany(timeout_ms=_WAIT_MS, max_records=self.batch)
            if positions.failed is not None:
                raise positions.failed
            records = [record for batch in found.values() for record in batch]
            # A partition that went to another process while we waited is that process's to read.
            records = [record for record in records if positions.has(record)]
            if records:
                generations = positions.generations()  # a copy: a rebalance may empty the positions while we store
                skipped = await self.store(records, generations)
                self.skipped += len(skipped)
                for record, why in skipped:
                    place = {"topic": record.topic, "partition": record.partition, "offset": record.offset}
                    logger.error("A record is skipped: %s", why, extra={"action": "skip_record", **place})
                for record in records:
                    positions.advance(record)
            self.lag = await lag_of(consumer)


async def _left(consumer: AIOKafkaConsumer, ends: Mapping[TopicPartition, int]) -> int:
    """How many offsets lie before the ends. A position moves past what is not committed and what is gone, too."""
    async with asyncio.timeout(STALL_S):  # a position that the broker is asked for, as the one sought is gone
        return sum([max(0, end - await consumer.position(partition)) for partition, end in ends.items()])


class History(Follower):
    """The follower of what became of messages, runs and deliveries."""

    topics = (ATTEMPTS, DEAD_LETTERS, RUNS, ANSWERS)
    title = "history"
    group = "history"
    batch = 1000

    async def store(self, records: Sequence[ConsumerRecord], generations: Generations) -> list[Skipped]:
        """As of `control_api.history.storing`."""
        return await store(self._database, records, generations, self._settings.topic_prefix)
