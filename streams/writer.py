"""Writer: writes records so that they are on the topic when the call returns, however long the broker is away."""

import asyncio
import logging
from collections.abc import Sequence

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, MessageSizeTooLargeError

from notifier.errors import RecordTooLarge
from notifier.kafka import kafka_producer
from notifier.settings import Settings

logger = logging.getLogger(__name__)

_RETRY_S = 1.0

Headers = Sequence[tuple[str, bytes]]


class Writer:
    """One Kafka producer (acks=all, idempotent) that does not give up. Topics are named without the prefix."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._producer: AIOKafkaProducer | None = None  # started
        self._making = asyncio.Lock()

    async def write(self, topic: str, key: str | None, value: bytes | None, headers: Headers = ()) -> None:
        """Writes a record, or a tombstone, and returns when every in-sync replica has it; tries until it is there.

        Raises RecordTooLarge. A write that was tried again may be there twice after a broken connection.
        """
        name = self._settings.topic_prefix + topic
        raw_key = None if key is None else key.encode()
        while True:
            producer = None
            try:
                producer = await self._started()
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

    async def close(self) -> None:
        """Writes out what is under way and closes the Kafka producer."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await _stop(producer)

    async def _started(self) -> AIOKafkaProducer:
        async with self._making:
            if self._producer is None:
                fresh = kafka_producer(self._settings, linger_ms=0)  # every write is waited for
                try:
                    await fresh.start()
                except BaseException:
                    await fresh.stop()
                    raise
                self._producer = fresh
            return self._producer

    async def _drop(self, producer: AIOKafkaProducer) -> None:
        # An idempotent producer that met a fatal error answers it for ever.
        if producer is self._producer:
            self._producer = None
            await _stop(producer)


async def _stop(producer: AIOKafkaProducer) -> None:
    await producer.stop()
