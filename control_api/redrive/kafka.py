"""Kafka: sends letters again in transactions, and knows which batch was committed last.

    begin ─► records ─► offset of the group `redrive`, whose metadata is the batch's id ─► commit

The `transactional.id` is one and fixed, so a process that begins aborts what its predecessor left open, and fences it. The
offset is part of the transaction: it names a batch if and only if its records are there. Tried and worse: a marker on
`dead_letters` for each letter. Every reader of that topic, ours and others', would take it for another dead letter, and finding
the markers of one batch means reading a topic of thirty days.
"""

import asyncio
from collections.abc import Sequence

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.structs import OffsetAndMetadata

from control_api.redrive.sending_back import Back
from notifier.kafka import end_kafka_producer, ensure_topics, kafka_admin, kafka_producer
from notifier.settings import Settings
from notifier.topics import DEAD_LETTERS, Topic

NAME = "redrive"  # after the prefix, of the group and of the transactions
_KAFKA_S = 30.0  # for one exchange with Kafka
_TRANSACTION_MS = 30_000  # then the broker aborts what a dead process left open; until then it holds up the readers


class RedriveKafka:
    """One transactional Kafka producer. `open` before anything else; `close` after any error."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._group = settings.topic_prefix + NAME
        self._place = TopicPartition(settings.topic_prefix + DEAD_LETTERS.name, 0)
        self._producer: AIOKafkaProducer | None = None
        self._there: set[str] = set()  # topics that were looked for

    @property
    def is_open(self) -> bool:
        """Whether it can send."""
        return self._producer is not None

    async def open(self) -> None:
        """Fences every earlier producer of this installation. Raises BrokerError, KafkaError, OSError and TimeoutError."""
        async with asyncio.timeout(_KAFKA_S):
            await ensure_topics(self._settings, [DEAD_LETTERS])
            self._producer = kafka_producer(
                self._settings,
                transactional_id=self._settings.topic_prefix + NAME,
                transaction_timeout_ms=_TRANSACTION_MS,
            )
            await self._producer.start()

    async def close(self) -> None:
        """Ends the producer; a transaction that is open now is aborted by the next one."""
        producer, self._producer = self._producer, None
        self._there.clear()
        if producer is not None:
            await end_kafka_producer(producer)

    async def committed(self) -> str | None:
        """The id of the batch that was committed last. Exact once `open` has returned."""
        async with asyncio.timeout(_KAFKA_S), kafka_admin(self._settings) as admin:
            found = await admin.list_consumer_group_offsets(self._group, partitions=[self._place])
        metadata = found[self._place].metadata if self._place in found else None
        return metadata or None

    async def send(self, batch: str, records: Sequence[Back], topics: Sequence[Topic]) -> None:
        """Sends a batch as one transaction; returns when it is committed. `topics`, those of consumers, are made if need be."""
        assert self._producer is not None
        async with asyncio.timeout(_KAFKA_S):
            missing = [topic for topic in topics if topic.name not in self._there]
            await ensure_topics(self._settings, missing)
            self._there.update(topic.name for topic in missing)
        async with asyncio.timeout(_KAFKA_S):
            await self._producer.begin_transaction()
            sent = [
                await self._producer.send(
                    self._settings.topic_prefix + record.topic.name,
                    record.value,
                    key=record.key,
                    headers=record.headers,
                )
                for record in records
            ]
            answers = await asyncio.gather(*sent, return_exceptions=True)  # one that fails takes the others with it
            for answer in answers:
                if isinstance(answer, BaseException):
                    raise answer
            offsets = {self._place: OffsetAndMetadata(0, batch)}
            await self._producer.send_offsets_to_transaction(offsets, self._group)
            await self._producer.commit_transaction()
