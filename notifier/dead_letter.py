"""DeadLetter: a record or a delivery given up, kept with its reason."""

from base64 import b64encode
from typing import Literal, NamedTuple, Protocol, Self

import msgspec

from notifier.bounds import Count, Large
from notifier.grapheme import shortened
from notifier.outcome import Reason
from notifier.record import Record, Time, always, kafka_time, now
from notifier.topics import LARGE_BYTES

Stage = Literal["route", "run", "deliver"]


class KafkaRecord(Protocol):
    """A record with its place, as aiokafka's `ConsumerRecord` and `Source` have it."""

    @property
    def topic(self) -> str:
        """With the prefix."""

    @property
    def partition(self) -> int:
        """The topic's shard."""

    @property
    def offset(self) -> int:
        """The place in the partition."""

    @property
    def timestamp(self) -> int | None:
        """When it was written, in milliseconds since 1970."""

    @property
    def key(self) -> bytes | None:
        """Decides the partition."""

    @property
    def value(self) -> bytes | None:
        """The content; None is a tombstone."""


class Source(NamedTuple):
    """The record that a dead letter is made of, where the Kafka consumer's own object is not at hand."""

    topic: str
    partition: int
    offset: int
    timestamp: int | None  # milliseconds since 1970
    key: bytes | None
    value: bytes | None


class DeadLetter(Record, frozen=True, kw_only=True):
    """A record or delivery given up, on `dead_letters`, keyed by `id`.

    The value of the record is in `value`, or in `value_base64` where it is not UTF-8 or JSON's escapes would make it too long.
    A value that is too large for a record is in neither.
    """

    id: str  # the delivery's id, the message's, or `<topic>/<partition>/<offset>` of an unreadable record
    stage: Stage
    reason: Reason
    error: str  # for people
    topic: str
    at: Time
    partition: Count | None = None
    offset: Large | None = None
    timestamp: Time | None = None  # the record's own
    key: str | None = None
    value: str | None = None
    value_base64: str | None = None
    delivery: str | None = None  # the delivery's id
    producer: str | None = None  # of the message, where that could be read
    message: str | None = None  # the message's id, where it could be read and is not in `delivery`
    attempts: Count = always(0)  # how many were made
    redriven_at: Time | None = None

    @classmethod
    def of_record(
        cls,
        record: KafkaRecord,
        *,
        stage: Stage,
        reason: Reason,
        error: str,
        delivery: str | None = None,
        attempts: int = 0,
    ) -> Self:
        """A dead letter of a record. Its id is the delivery's, or else the record's topic, partition and offset."""
        text, encoded = kept_value(record.value)
        key = record.key
        return cls(
            id=delivery or f"{record.topic}/{record.partition}/{record.offset}",
            stage=stage,
            reason=reason,
            error=shortened(error, _ERROR_CHARACTERS),
            topic=record.topic,
            at=now(),
            partition=record.partition,
            offset=record.offset,
            timestamp=kafka_time(record.timestamp),
            key=None if key is None or len(key) > _KEY_BYTES else key.decode(errors="replace"),
            value=text,
            value_base64=encoded,
            delivery=delivery,
            attempts=attempts,
        )

    def encode(self) -> bytes:
        """The dead letter as JSON that fits into a record. A dead letter too large for one loses its value and a long key."""
        data = super().encode()
        if len(data) <= LETTER_BYTES:
            return data
        return Record.encode(
            msgspec.structs.replace(
                self, key=None if len(self.key or "") > _KEY_BYTES else self.key, value=None, value_base64=None
            )
        )


# The topic takes records of 4 MiB, so that every accepted record can be kept and redriven. Base64 makes 4 bytes of 3. JSON
# doubles a quotation mark and makes 6 bytes of a control character, so a text full of those is kept as base64.
LETTER_BYTES = LARGE_BYTES - 64 * 1024  # of a dead letter as JSON; its key comes on top
_VALUE_BYTES = LARGE_BYTES - 256 * 1024  # of its value, spelt as JSON; the rest is for the error and the names
_KEY_BYTES = 4096  # our own keys are shorter
_ERROR_CHARACTERS = 10_000


def kept_value(value: bytes | None) -> tuple[str | None, str | None]:
    """The fields `value` and `value_base64` of the dead letter of a record with this value."""
    if value is None:
        return None, None
    if len(value) <= _VALUE_BYTES:
        try:
            text = value.decode()
        except UnicodeDecodeError:
            pass
        else:
            if len(msgspec.json.encode(text)) <= _VALUE_BYTES:
                return text, None
    if len(value) <= _VALUE_BYTES // 4 * 3:
        return None, b64encode(value).decode()
    return None, None
