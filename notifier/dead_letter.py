"""DeadLetter: a record or a delivery given up, kept with its reason."""

from base64 import b64encode
from typing import Literal, Self

import msgspec

from notifier.outcome import Reason
from notifier.record import Record, Time, now
from notifier.topics import LARGE_BYTES

Stage = Literal["route", "run", "deliver"]


class DeadLetter(Record, frozen=True, kw_only=True):
    """What lies on `dead_letters`, keyed by the id of the delivery or message (or, where there is none, by its origin).

    The record it came from is in `value`, or in `value_base64` where it is not UTF-8 (or JSON would blow it up), unless it
    was too large to be kept.
    """

    id: str  # the delivery's id, the message's, or `<topic>/<partition>/<offset>` of a record that could not be read
    stage: Stage
    reason: Reason
    error: str  # for people
    topic: str
    at: Time
    partition: int | None = None
    offset: int | None = None
    timestamp: Time | None = None  # the record's own
    key: str | None = None
    value: str | None = None
    value_base64: str | None = None
    delivery: str | None = None  # the delivery's id
    producer: str | None = None  # of the message, where that could be read
    message: str | None = None  # the message's id, where it could be read and is not in `delivery`
    attempts: int = msgspec.field(default_factory=int)  # how many were made; written always, for whoever reads along
    redriven_at: Time | None = None

    @classmethod
    def of_record(
        cls,
        *,
        stage: Stage,
        reason: Reason,
        error: str,
        topic: str,
        partition: int,
        offset: int,
        timestamp: Time | None,
        key: bytes | None,
        value: bytes | None,
        id: str | None = None,  # noqa: A002 - the field's name
        delivery: str | None = None,
        attempts: int = 0,
    ) -> Self:
        """A dead letter of a record as it lies on a topic."""
        text, encoded = _text(value)
        return cls(
            id=id or f"{topic}/{partition}/{offset}",
            stage=stage,
            reason=reason,
            error=error if len(error) <= _ERROR_CHARACTERS else error[: _ERROR_CHARACTERS - 1] + "…",
            topic=topic,
            at=now(),
            partition=partition,
            offset=offset,
            timestamp=timestamp,
            key=None if key is None or len(key) > _KEY_BYTES else key.decode(errors="replace"),
            value=text,
            value_base64=encoded,
            delivery=delivery,
            attempts=attempts,
        )


# What would not fit into one record is named by its origin. Base64 makes 4 bytes of 3; JSON doubles a quotation mark and
# makes 6 bytes of a control character, so a text that is mostly those is kept as base64 although it is UTF-8.
# The topic takes records of 4 MiB, so that whatever was accepted can be kept, and put back.
LETTER_BYTES = LARGE_BYTES - 64 * 1024  # of a dead letter as JSON; its key comes on top
_VALUE_BYTES = LARGE_BYTES - 256 * 1024  # of its value, spelt as JSON; the rest is for the error and the names
_KEY_BYTES = 4096  # our own keys are shorter
_ERROR_CHARACTERS = 10_000


def _text(value: bytes | None) -> tuple[str | None, str | None]:
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
