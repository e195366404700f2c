"""Sending back: the record that a dead letter is sent again as, or why there is none. Pure.

    stage      record
    deliver    the delivery, onto its consumer's topic: first attempt, `redriven_at`; the id stays
    route      the message, onto `messages`, with the id that it had; a letter of one configuration is for that one alone
    run        the tick, onto `ticks`; an item that was no message, onto `messages`

A record that could not be read goes again as it was.
"""

from base64 import b64decode
from collections.abc import Container
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

import msgspec

from notifier.delivery import Delivery
from notifier.errors import RecordError
from notifier.message import MAX_BYTES
from notifier.record import rfc3339
from notifier.topics import MESSAGES, TICKS, Topic, deliveries

REDRIVEN_AT = "redriven_at"  # header of what is sent again
_ENVELOPE_BYTES = 1024  # of a record on Kafka, and of the batch around it
_raw_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class Letter(Protocol):
    """A dead letter as its row has it."""

    letter: str
    stage: str
    topic: str
    key: str | None
    value: str | None
    value_base64: str | None
    delivery: str | None
    message: str | None
    configuration: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Back:
    """A record to be sent again. `topic` is a row of the table of topics."""

    topic: Topic
    key: bytes | None
    value: bytes
    headers: list[tuple[str, bytes]] = field(default_factory=list)


class NotSent(Exception):
    """The letter cannot be sent again; the text says why."""


def send_back(letter: Letter, at: datetime, topic_prefix: str, consumers: Container[str]) -> Back:
    """The record that a letter is sent again as, at the moment `at`. `consumers` are those that are defined. Raises NotSent."""
    value = _value(letter)
    key = None if letter.key is None else letter.key.encode()
    topic = letter.topic.removeprefix(topic_prefix)
    if letter.stage == "deliver":
        topic_, key, value = _delivery(value, at, consumers)
    elif topic == TICKS.name:
        topic_ = TICKS
    elif topic == MESSAGES.name:
        topic_, value = MESSAGES, _message(letter, value)
    else:
        raise NotSent(f"its topic {letter.topic[:200]} is none that is sent to again")
    if len(value) + len(key or b"") > topic_.max_message_bytes - _ENVELOPE_BYTES:
        raise NotSent(f"its record is too large for the topic {topic_.name}")
    return Back(topic=topic_, key=key, value=value, headers=[(REDRIVEN_AT, rfc3339(at).encode())])


def redriven_before(letter: Letter) -> datetime | None:
    """When the delivery that a letter holds was sent again before it was given up; None where it was not, or holds none."""
    try:
        return Delivery.decode(_value(letter)).redriven_at
    except (NotSent, RecordError):
        return None


def _value(letter: Letter) -> bytes:
    if letter.value is not None:
        return letter.value.encode()
    if letter.value_base64 is None:
        raise NotSent("the dead letter does not have its record, which had no value or was too large to be kept")
    try:
        return b64decode(letter.value_base64, validate=True)
    except ValueError:
        raise NotSent("its `value_base64` cannot be read") from None


def _delivery(value: bytes, at: datetime, consumers: Container[str]) -> tuple[Topic, bytes, bytes]:
    try:
        delivery = Delivery.decode(value)
    except RecordError as error:
        raise NotSent(f"its record holds no delivery: {error}") from None
    if delivery.consumer not in consumers:
        raise NotSent(f"the consumer {delivery.consumer} is not defined any more")
    again = msgspec.structs.replace(delivery, attempt=1, spared=0, not_before=None, why=None, redriven_at=at)
    return deliveries(delivery.consumer), again.lane.encode(), again.encode()


def _message(letter: Letter, value: bytes) -> bytes:
    """The message with its id, which may have been that of its place, and for the one configuration that the letter is of."""
    if letter.stage == "run":
        added = {"id": letter.letter} if len(letter.letter) <= _ID_CHARACTERS else {}
    elif letter.message is None:
        return value  # it could not be read
    else:
        added = {"id": letter.message}
        if letter.configuration is not None:
            added["configuration"] = letter.configuration
    try:
        fields = _raw_fields(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return value
    if letter.stage != "run" and bytes(fields.get("id", b"null")).strip() not in (b"null", b'""'):
        del added["id"]  # its own
    for name, text in added.items():
        fields[name] = msgspec.Raw(msgspec.json.encode(text))
    again = msgspec.json.encode(fields)
    if len(again) > MAX_BYTES >= len(value):
        raise NotSent(f"with its id it has {len(again)} bytes, and a message has at most {MAX_BYTES}")
    return again


_ID_CHARACTERS = 512  # of a message's id
