"""Finding: the message that a question is about, given or as a record of `messages`, and how it is shown."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
import orjson
from aiokafka import ConsumerRecord

from control_api.access.teams import Hidden
from control_api.explain.ways import Told
from filters.decision import Problem
from notifier.errors import FieldError, InputError, RecordError, RecordTooLarge, UnsupportedVersion
from notifier.message import Message, check_value, read_message, topic_id, without_absent
from notifier.one_line import one_line
from notifier.pointer import pointer
from notifier.record import JsonObject, kafka_time, now, rfc3339
from notifier.record_words import finding, findings

_NEW = "new"  # the id of a message that is not on the topic and has none
_AROUND = 10  # levels of an answer around a field of its message

_raw_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class _Identity(msgspec.Struct, gc=False):
    producer: str
    id: str | None = None


_identity = msgspec.json.Decoder(_Identity).decode


@dataclass(frozen=True, kw_only=True)
class Found:
    """A message, and where it lies on the topic, if it does."""

    told: Told
    at: datetime  # when it came
    origin: JsonObject | None = None
    problem: Problem | None = None  # why the router takes no such record


def given(value: JsonObject) -> Found:
    """A message as it was given. Raises InputError that names the field."""
    try:
        raw = check_value(orjson.dumps(value))
    except TypeError as error:  # a number that no JSON of ours holds
        raise InputError(FieldError("/message", f"cannot be written as JSON: {error}")) from None
    except RecordTooLarge as error:
        raise InputError(FieldError("/message", f"is too large: {error}")) from None
    try:
        message, raw = read_message(raw)
    except UnsupportedVersion as error:
        raise InputError(FieldError("/message/v", str(error))) from None
    except RecordError as error:
        present = without_absent(raw)
        places_ = findings(Message, value if present is None else orjson.loads(present)) or [finding(str(error))]
        raise InputError([FieldError(pointer(place, "/message"), words) for place, words in places_]) from None
    return Found(told=Told(message=message, value=raw, id=message.id or _NEW), at=now())


def on_topic(record: ConsumerRecord, producer: str, id_: str, hidden: Hidden) -> Found | None:
    """The message in a record, if it is that one. Raises InputError where that record is no message."""
    own = topic_id(record.partition, record.offset, record.timestamp)
    value, problem = record.value or b"", None
    try:
        check_value(record.value)
    except RecordTooLarge as error:
        problem = Problem(reason=error.reason, text=str(error))
    except RecordError:
        pass  # nothing is said of it below either
    try:
        message, value = read_message(value)
    except RecordError as error:
        if not _is_meant(value, own, producer, id_, hidden):
            return None
        place = f"{record.topic}/{record.partition}/{record.offset}"
        raise InputError(FieldError("/id", f"the record {place} is no message: {one_line(error)}")) from None
    if (message.producer, message.id or own) != (producer, id_):
        return None
    written_at = kafka_time(record.timestamp)
    at = written_at or now()
    origin = {"topic": record.topic, "partition": record.partition, "offset": record.offset, "at": rfc3339(at)}
    return Found(
        told=Told(message=message, value=value, id=id_, written_at=written_at), at=at, origin=origin, problem=problem
    )


def _is_meant(value: bytes, own: str, producer: str, id_: str, hidden: Hidden) -> bool:
    """Whether a record that is no message is asked about. Whose it is, nobody knows where it names no producer."""
    try:
        identity = _identity(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return id_ == own and not hidden.of("producer")
    return (identity.producer, identity.id or own) == (producer, id_)


def shown(told: Told) -> JsonObject:
    """The message as JSON. Any client may add a field that our answers cannot hold; why it is not shown stands in its place."""
    try:
        return {**_writable(told.value), "id": told.id}
    except (TypeError, ValueError):
        return {**{name: _shown_field(raw) for name, raw in _raw_fields(told.value).items()}, "id": told.id}


def _shown_field(raw: msgspec.Raw) -> Any:
    try:
        return _writable(bytes(raw))
    except (TypeError, ValueError) as error:
        return f"cannot be shown: {one_line(error)}"


def _writable(data: bytes) -> Any:
    """The value of a JSON text. Raises ValueError, or TypeError where it cannot be written again within an answer."""
    value = around = orjson.loads(data)
    for _ in range(_AROUND):
        around = [around]
    orjson.dumps(around)
    return value
