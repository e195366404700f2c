"""Topic log: a topic as each runner follows it, whole and without a consumer group."""

import asyncio
import logging
from collections.abc import Callable

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from notifier.errors import NotifierError, RecordError, UnsupportedVersion
from notifier.kafka import kafka_consumer
from notifier.seldom import Seldom
from notifier.settings import Settings
from notifier.topics import Topic

logger = logging.getLogger(__name__)
_seldom = Seldom(logger)

_RETRY_S = 1.0
_POLL_MS = 200


class TopicLog:
    """Follows one topic from its start on; `read_up` is set once the records of before `follow` were applied."""

    def __init__(self, settings: Settings, topic: Topic, *, uncommitted: bool = False) -> None:
        self.read_up = asyncio.Event()
        self._settings = settings
        self._topic = topic
        self._isolation = "read_uncommitted" if uncommitted else "read_committed"
        self._positions: dict[TopicPartition, int] = {}  # what lies before was applied
        self._partitions: list[TopicPartition] = []
        # Asks for the ends of the topic. On the connection of a fetch, which waits for records, it would wait too.
        self._asking: AIOKafkaConsumer | None = None
        self._round = asyncio.Event()  # replaced after each fetch
        self._waiting = 0  # callers of `catch_up`

    async def follow(self, apply: Callable[[ConsumerRecord], None]) -> None:
        """Calls `apply` once with each record, in order within a partition; goes on where it was after an outage.

        A record for which `apply` raises is passed over. Ends only when cancelled, or by UnsupportedVersion.
        """
        name = self._settings.topic_prefix + self._topic.name
        while True:
            try:
                # No group: every runner reads every partition.
                async with (
                    kafka_consumer(
                        self._settings, name, fetch_max_wait_ms=100, isolation_level=self._isolation
                    ) as consumer,
                    kafka_consumer(self._settings, isolation_level=self._isolation) as asking,
                ):
                    self._asking, self._partitions = asking, list(consumer.assignment())
                    await self._read(consumer, apply)
            except UnsupportedVersion:
                raise
            except (KafkaError, NotifierError, OSError) as error:
                logger.warning(
                    "The %s cannot be followed now and will be tried again: %s",
                    self._topic.name,
                    error,
                    extra={"action": f"follow_{self._topic.name}"},
                )
                await asyncio.sleep(_RETRY_S)
            finally:
                self._asking = None

    async def catch_up(self) -> None:
        """Waits until every record that is on the topic at this moment was applied, however long the broker is away."""
        self._waiting += 1
        try:
            ends = await self._ends()
            while any(self._positions.get(partition, 0) < end for partition, end in ends.items()):
                await self.moved()
        finally:
            self._waiting -= 1

    async def moved(self) -> None:
        """Waits until the topic was looked at once more, which takes a fifth of a second at most while the broker is there."""
        await self._round.wait()

    async def _ends(self) -> dict[TopicPartition, int]:
        while True:
            asking = self._asking
            if asking is None:
                await self.moved()
                continue
            try:
                found: dict[TopicPartition, int] = await asking.end_offsets(self._partitions)
            except (KafkaError, OSError):  # the follower says why
                await asyncio.sleep(_RETRY_S)
            else:
                return found

    async def _read(self, consumer: AIOKafkaConsumer, apply: Callable[[ConsumerRecord], None]) -> None:
        ends = await consumer.end_offsets(list(consumer.assignment()))
        for partition, position in self._positions.items():
            consumer.seek(partition, position)
        while True:
            for partition, records in (await consumer.getmany(timeout_ms=_POLL_MS)).items():
                for record in records:
                    self._positions[partition] = record.offset + 1  # before it is applied: no record is read twice
                    self._apply(record, apply)
            if self._waiting or not self.read_up.is_set():
                for (
                    partition
                ) in consumer.assignment():  # behind the last record there may be the marker of a transaction
                    self._positions[partition] = await consumer.position(partition)
                if all(self._positions[partition] >= end for partition, end in ends.items()):
                    self.read_up.set()
            looked, self._round = self._round, asyncio.Event()
            looked.set()

    def _apply(self, record: ConsumerRecord, apply: Callable[[ConsumerRecord], None]) -> None:
        try:
            apply(record)
        except UnsupportedVersion:
            raise
        except Exception as error:  # what one record does must not end the following of all
            _seldom.log(
                logging.ERROR,
                "Record %d of partition %d of %s cannot be used and is passed over: %s",
                record.offset,
                record.partition,
                record.topic,
                error,
                error=None if isinstance(error, RecordError) else error,
                extra={"action": f"follow_{self._topic.name}"},
            )
