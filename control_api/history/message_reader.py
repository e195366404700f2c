"""MessageReader: one record of `messages`, by its place on the topic."""

import asyncio

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from control_api.history.message_index import Place
from notifier.errors import BrokerError
from notifier.kafka import ensure_topics, kafka_consumer
from notifier.settings import Settings
from notifier.topics import MESSAGES

_CONNECT_S = 10.0
_READ_S = 5.0
_POLL_MS = 200


class MessageReader:
    """Reads single records, one at a time. Connects when it is first asked, and anew after a fault."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._topic = settings.topic_prefix + MESSAGES.name
        self._consumer: AIOKafkaConsumer | None = None
        self._reading = asyncio.Lock()

    async def read(self, place: Place) -> ConsumerRecord | None:
        """The record there; None where the topic holds none, or none any more. Raises BrokerError."""
        async with self._reading:
            try:
                return await self._read(TopicPartition(self._topic, place.partition), place.offset)
            except (KafkaError, OSError, TimeoutError) as error:
                await self._disconnect()
                text = f"the topic {self._topic} cannot be read now: {str(error) or type(error).__name__}"
                raise BrokerError(text) from None
            except BaseException:
                await self._disconnect()
                raise

    async def close(self) -> None:
        """Closes the connection."""
        async with self._reading:
            await self._disconnect()

    async def _read(self, partition: TopicPartition, offset: int) -> ConsumerRecord | None:
        consumer = self._consumer or await self._connect()
        if partition.partition not in (consumer.partitions_for_topic(self._topic) or range(MESSAGES.partitions)):
            return None
        async with asyncio.timeout(_READ_S):
            consumer.assign([partition])
            begin = (await consumer.beginning_offsets([partition]))[partition]
            end = (await consumer.end_offsets([partition]))[partition]
            if not begin <= offset < end:
                return None
            consumer.seek(partition, offset)
            record: ConsumerRecord | None = None
            while record is None and await consumer.position(partition) < end:
                found = await consumer.getmany(partition, timeout_ms=_POLL_MS, max_records=1)
                record = next(iter(found.get(partition, [])), None)
            consumer._subscription.unsubscribe()  # and fetches no more; its own `unsubscribe` asks for all topics
        return record if record is not None and record.offset == offset else None

    async def _connect(self) -> AIOKafkaConsumer:
        async with asyncio.timeout(_CONNECT_S):
            await ensure_topics(self._settings, [MESSAGES])
            consumer = kafka_consumer(self._settings)
            try:
                await consumer.start()
            except BaseException:
                await consumer.stop()
                raise
        self._consumer = consumer
        return consumer

    async def _disconnect(self) -> None:
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            await consumer.stop()
