"""Batch: the records of one partition that were fetched at once. An agent is given batches."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from aiokafka import ConsumerRecord


class Record(Protocol):
    """A Kafka record as aiokafka's parser makes it. Its batch has topic and partition."""

    @property
    def offset(self) -> int:
        """The place in the partition."""

    @property
    def timestamp(self) -> int:
        """When it was written, in milliseconds since 1970."""

    @property
    def key(self) -> bytes | None:
        """Decides the partition."""

    @property
    def value(self) -> bytes | None:
        """The content; None is a tombstone."""

    @property
    def headers(self) -> Sequence[tuple[str, bytes | None]]:
        """Names and values."""


@dataclass(frozen=True, slots=True)
class PlainRecord:
    """A record of our own making: one that was read, with another value."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """Records of one partition, in order."""

    topic: str  # with the prefix
    partition: int
    records: Sequence[Record]

    def __len__(self) -> int:
        return len(self.records)

    def consumer_records(self) -> list[ConsumerRecord]:
        """The records as aiokafka's consumer gives them, each with its place; slow, for agents that get few records."""
        return [
            ConsumerRecord(
                self.topic,
                self.partition,
                record.offset,
                record.timestamp,
                0,
                record.key,
                record.value,
                None,
                -1 if record.key is None else len(record.key),
                -1 if record.value is None else len(record.value),
                tuple(record.headers),
            )
            for record in self.records
        ]
