"""Writer: each call returns when its records are on the topic, however long the broker is away."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, MessageSizeTooLargeError
from aiokafka.partitioner import DefaultPartitioner

from notifier.errors import RecordTooLarge
from notifier.kafka import end_kafka_producer, kafka_producer
from notifier.settings import Settings

logger = logging.getLogger(__name__)

_RETRY_S = 1.0
_CHUNK = 500  # records of `write_all` in flight
_FLUSH_S = 5.0  # that `close` waits for what is under way

Headers = Sequence[tuple[str, bytes]]


class Writer:
    """One Kafka producer (acks=all, idempotent) that retries without end. Topics are named without the prefix.

    `hashed` is a quicker way to the same hash of a key that aiokafka takes.
    """

    def __init__(self, settings: Settings, hashed: Callable[[bytes], int] | None = None) -> None:
        self._settings = settings
        self._options: dict[str, Any] = {} if hashed is None else {"partitioner": _partitioner(hashed)}
        self._producer: AIOKafkaProducer | None = None  # started
        self._making = asyncio.Lock()

    async def write(self, topic: str, key: str | None, value: bytes | None, headers: Headers = ()) -> None:
        """Writes a record, or a tombstone, and returns when every in-sync replica has it.

        Raises RecordTooLarge. At least once: a retry after a broken connection may leave the record twice.
        """
        name = self._settings.topic_prefix + topic
        raw_key = None if key is None else key.encode()
        while True:
            producer = None
            try:
                producer = self._producer or await self._started()
                await producer.send_and_wait(name, value, key=raw_key, headers=list(headers))
            except MessageSizeTooLargeError as error:
                raise RecordTooLarge(f"{len(value or b'')} bytes are too many for {name}: {error}", value) from None
            except KafkaError as error:
                logger.warning(
                    "A record cannot be written to %s now and will be tried again: %s: %s",
                    name,
                    type(error).__name__,
                    error,
                    extra={"action": "write_record"},
                )
                if producer is not None and not error.retriable:
                    await self._drop(producer)
                await asyncio.sleep(_RETRY_S)
            else:
                return

    async def write_all(self, topic: str, records: Sequence[tuple[str | None, bytes]]) -> None:
        """Writes (key, value) pairs, 500 at a time; pairs of one key keep their order. Raises as `write` does."""

        async def in_order(key: str | None, values: Sequence[bytes]) -> None:
            for value in values:
                await self.write(topic, key, value)

        for start in range(0, len(records), _CHUNK):
            by_key: dict[object, tuple[str | None, list[bytes]]] = {}
            for number, (key, value) in enumerate(records[start : start + _CHUNK]):
                by_key.setdefault(number if key is None else key, (key, []))[1].append(value)
            async with asyncio.TaskGroup() as group:
                for key, values in by_key.values():
                    group.create_task(in_order(key, values))

    async def close(self) -> None:
        """Waits some seconds for what is under way and closes the Kafka producer."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await end_kafka_producer(producer, flush_s=_FLUSH_S)

    async def _started(self) -> AIOKafkaProducer:
        async with self._making:
            if self._producer is None:
                fresh = kafka_producer(self._settings, linger_ms=0, **self._options)  # every write is waited for
                try:
                    await fresh.start()
                except BaseException:
                    await end_kafka_producer(fresh)
                    raise
                self._producer = fresh
            return self._producer

    async def _drop(self, producer: AIOKafkaProducer) -> None:
        # An idempotent Kafka producer answers a fatal error for ever after.
        if producer is self._producer:
            self._producer = None
            await end_kafka_producer(producer)


def _partitioner(hashed: Callable[[bytes], int]) -> Callable[[bytes | None, Sequence[int], Sequence[int]], int]:
    default = DefaultPartitioner()

    def partition(key: bytes | None, known: Sequence[int], available: Sequence[int]) -> int:
        return default(None, known, available) if key is None else known[hashed(key) % len(known)]

    return partition
