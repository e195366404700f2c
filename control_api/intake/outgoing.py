"""Outgoing: a record to be written."""

from dataclasses import dataclass

from notifier.topics import Topic


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A record to be written. `key` decides the partition; records of a request without key share one, in order."""

    topic: Topic
    value: bytes | None  # none: a tombstone, which needs a key
    key: bytes | None = None
