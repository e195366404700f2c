"""A Faust app of one agent on the tests' broker, with our transport or with Faust's own, to see a fault with the one and not
with the other. The agent keeps what it saw and works as long as the test lets it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import faust
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from faust.app.base import BootStrategy
from faust.transport.drivers import aiokafka as stock
from faust.types import TP

from notifier.kafka import kafka_consumer
from notifier.settings import Settings
from streams.inputs.batch import Batch
from streams.inputs.transport import BatchConsumer, BatchTransport, broker_urls


class Watched:
    """Says when the Kafka consumer waits for records, so that a test can stop the flow at that very moment."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.fetching = asyncio.Event()
        self.wait_s = 0.0  # at least so long a fetch waits for records
        super().__init__(*args, **kwargs)

    async def _getmany(self, active_partitions: Any, timeout: float) -> Any:
        self.fetching.set()
        try:
            return await super()._getmany(active_partitions, max(timeout, self.wait_s))  # type: ignore[misc]  # of the class mixed in
        finally:
            self.fetching.clear()


class WatchedStockConsumer(Watched, stock.Consumer):  # type: ignore[misc]  # Faust has no usable types
    """Faust's own consumer."""


class WatchedBatchConsumer(Watched, BatchConsumer):
    """Ours."""


class StockTransport(stock.Transport):  # type: ignore[misc]  # Faust has no usable types
    """Faust's own transport: what the tests show the faults with."""

    Consumer = WatchedStockConsumer

    def __init__(self, app: faust.App, settings: Settings, batch_records: int = 0) -> None:
        super().__init__(broker_urls(settings), app)


class OurTransport(BatchTransport):
    """The transport of the agents."""

    Consumer = WatchedBatchConsumer


class _Boot(BootStrategy):  # type: ignore[misc]  # Faust has no usable types
    enable_web = False


class Rig:
    """An app with an agent that notes (partition, offset) of all it is given, in order."""

    def __init__(
        self, settings: Settings, topic: str, transport: type[Any], *, batch_records: int = 500, **options: Any
    ) -> None:
        self.settings = settings
        self.topic = settings.topic_prefix + topic
        self.group = settings.topic_prefix + "rig"
        self.begun: list[tuple[int, int]] = []
        self.seen: list[tuple[int, int]] = []  # finished
        self.batches: list[int] = []  # sizes
        self.hold: dict[tuple[int, int], asyncio.Event] = {}  # (partition, offset) → what its work waits for

        class App(faust.App):  # type: ignore[misc]  # Faust has no usable types
            BootStrategy = _Boot

            def _create_directories(self) -> None: ...

        self.app = App(
            self.group,
            broker=broker_urls(settings),
            topic_allow_declare=False,
            topic_disable_leader=True,
            table_standby_replicas=0,
            stream_buffer_maxsize=16,
            broker_session_timeout=10.0,
            broker_heartbeat_interval=1.0,
            broker_rebalance_timeout=20.0,
            broker_request_timeout=30.0,
            **{"broker_commit_interval": 0.5, **options},
        )
        self.app.transport = transport(self.app, settings, batch_records)

        async def watch(events: Any) -> None:
            async for event in events.events():
                records = event.value.records if isinstance(event.value, Batch) else [event.message]
                self.batches.append(len(records))
                for record in records:
                    place = (event.message.partition, record.offset)
                    self.begun.append(place)
                    if place in self.hold:
                        await self.hold[place].wait()
                    self.seen.append(place)

        self.app.agent(
            self.app.topic(self.topic, value_type=bytes, key_serializer="raw", value_serializer="raw"),
            concurrency=2 if batch_records == 1 else 1,
            name="watch",
        )(watch)

    @property
    def consumer(self) -> Any:
        return self.app.consumer

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Rig"]:
        await self.app.start()
        try:
            yield self
        finally:
            for event in self.hold.values():
                event.set()
            await self.app.stop()

    async def committed(self, partition: int = 0) -> int | None:
        """What the group has committed, as the broker knows it."""
        async with kafka_consumer(self.settings, group_id=self.group) as consumer:
            offset: int | None = await consumer.committed(TopicPartition(self.topic, partition))
            return offset

    async def committed_is(self, offset: int, partition: int = 0) -> bool:
        """Whether that is what the group has committed."""
        return await self.committed(partition) == offset

    @asynccontextmanager
    async def member(self) -> AsyncIterator[AIOKafkaConsumer]:
        """Another member of the group, an ordinary Kafka consumer, which makes it rebalance; still joining when given."""
        consumer = kafka_consumer(
            self.settings,
            self.topic,
            group_id=self.group,
            partition_assignment_strategy=[RoundRobinPartitionAssignor],
            session_timeout_ms=10_000,
            heartbeat_interval_ms=500,
        )
        joining = asyncio.create_task(consumer.start())
        try:
            yield consumer
            await joining
        finally:
            await asyncio.gather(joining, return_exceptions=True)
            await consumer.stop()


def places(records: list[ConsumerRecord]) -> list[tuple[int, int]]:
    """(partition, offset) of records."""
    return [(record.partition, record.offset) for record in records]


__all__ = ["TP", "OurTransport", "Rig", "StockTransport", "places"]
