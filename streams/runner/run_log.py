"""The run log: `runs` as one runner writes and follows it. What a record changes for a lease is `streams.runner.leases`'."""

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime, timedelta

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from notifier.errors import NotifierError, RecordError, UnsupportedVersion
from notifier.kafka import kafka_consumer
from notifier.record import now
from notifier.run import Run
from notifier.seldom import Seldom
from notifier.settings import Settings
from notifier.topics import RUNS
from streams.runner.leases import OWNER
from streams.writer import Writer

logger = logging.getLogger(__name__)
_seldom = Seldom(logger)

_RETRY_S = 1.0


class RunLog:
    """The log of all runs; what is written is written in the name of `owner`."""

    def __init__(self, settings: Settings, writer: Writer, *, owner: str, lease_s: float) -> None:
        self.owner = owner
        self.lease_s = lease_s  # how long a lease is valid after it was written
        self.read_up = asyncio.Event()  # set once the records of before `follow` are read
        self._settings = settings
        self._writer = writer

    def lease_until(self) -> datetime:
        """When a lease that is written now ends."""
        return now() + timedelta(seconds=self.lease_s)

    async def write(self, id_: str, run: Run, *headers: tuple[str, bytes]) -> None:
        """Writes a state of a run; returns when Kafka has it."""
        await self._writer.write(RUNS.name, id_, run.encode(), ((OWNER, self.owner.encode()), *headers))

    async def follow(self, apply: Callable[[ConsumerRecord], None]) -> None:
        """Calls `apply` once with each record, in order within a partition; goes on where it was after an outage.

        A record for which `apply` raises is passed over. Ends only when cancelled, or by UnsupportedVersion.
        """
        positions: dict[TopicPartition, int] = {}
        while True:
            consumer: AIOKafkaConsumer | None = None
            try:
                # No group: every runner reads every partition.
                consumer = kafka_consumer(
                    self._settings, self._settings.topic_prefix + RUNS.name, fetch_max_wait_ms=100
                )
                await consumer.start()
                await self._read(consumer, positions, apply)
            except UnsupportedVersion:
                raise
            except (KafkaError, NotifierError, OSError) as error:
                logger.warning(
                    "The runs cannot be followed now and will be tried again: %s",
                    error,
                    extra={"action": "follow_runs"},
                )
                await asyncio.sleep(_RETRY_S)
            finally:
                if consumer is not None:
                    await consumer.stop()

    async def _read(
        self,
        consumer: AIOKafkaConsumer,
        positions: dict[TopicPartition, int],
        apply: Callable[[ConsumerRecord], None],
    ) -> None:
        partitions = list(consumer.assignment())
        ends = await consumer.end_offsets(partitions)
        for partition, position in positions.items():
            consumer.seek(partition, position)
        while True:
            for partition, records in (await consumer.getmany(timeout_ms=200)).items():
                for record in records:
                    positions[partition] = record.offset + 1  # before it is applied: no record is read twice
                    _apply(record, apply)
            if not self.read_up.is_set():
                reached = [await consumer.position(partition) >= end for partition, end in ends.items()]
                if all(reached):
                    self.read_up.set()


def _apply(record: ConsumerRecord, apply: Callable[[ConsumerRecord], None]) -> None:
    try:
        apply(record)
    except UnsupportedVersion:
        raise
    except Exception as error:  # what one record does must not end the following of all
        _seldom.log(
            logging.ERROR,
            "Record %d of partition %d of %s is no run and is passed over: %s",
            record.offset,
            record.partition,
            record.topic,
            error,
            error=None if isinstance(error, RecordError) else error,
            extra={"action": "follow_runs"},
        )
