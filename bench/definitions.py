"""Puts definitions onto their topic as the control API does: one Kafka transaction, the consumers' topics before it."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any, cast

from aiokafka import AIOKafkaProducer

from notifier.definition import Definition
from notifier.kafka import ensure_topics, kafka_producer
from notifier.outcome import Kind
from notifier.settings import Settings
from notifier.topics import DEFINITIONS
from streams.definitions import LAST


class Publisher:
    """Publishes, one revision after another."""

    def __init__(self, settings: Settings, producer: AIOKafkaProducer) -> None:
        self._topic = settings.topic_prefix + DEFINITIONS.name
        self._producer = producer
        self._revision = 0

    async def publish(self, specs: Iterable[tuple[str, dict[str, Any]]]) -> None:
        """Writes one change: specs by `<kind>/<name>`."""
        self._revision += 1
        changes = list(specs)
        async with self._producer.transaction():
            for number, (key, spec) in enumerate(changes, start=1):
                kind, _, name = key.partition("/")
                definition = Definition(kind=cast("Kind", kind), name=name, revision=self._revision, spec=spec)
                headers = [("revision", str(self._revision).encode())]
                if number == len(changes):
                    headers.append((LAST, b"1"))
                await self._producer.send(self._topic, definition.encode(), key=key.encode(), headers=headers)


@asynccontextmanager
async def publisher(settings: Settings) -> AsyncIterator[Publisher]:
    """A publisher, with the topic there."""
    await ensure_topics(settings, [DEFINITIONS])
    async with kafka_producer(settings, transactional_id=f"{settings.topic_prefix}outbox") as producer:
        yield Publisher(settings, producer)
