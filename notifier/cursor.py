"""Cursor: what a pull producer has already told in a configuration."""

from typing import Any

from notifier.bounds import Word
from notifier.record import Record, Time


class Cursor(Record, frozen=True, kw_only=True):
    """Written on `cursors` by the runner, keyed `<configuration>/<producer>`, once the messages that it speaks of are written."""

    configuration: Word
    producer: Word
    state: dict[str, Any]  # the producer's own; at most `MAX_STATE_BYTES` of JSON
    at: Time

    @property
    def key(self) -> str:
        """The key of its record."""
        return f"{self.configuration}/{self.producer}"


MAX_STATE_BYTES = 900_000  # of JSON; a record may have 1 MiB
