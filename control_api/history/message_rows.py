"""Rows of messages: what of a record on `messages` is kept to be found and shown.

Title and content are found by their words (`control_api.history.words`); of a longer text the beginning alone is kept and
found. Labels are kept to be shown. What is no message, and yet has a producer and an id, is kept by its place alone.
"""

from datetime import datetime
from typing import Any

import msgspec
from aiokafka import ConsumerRecord

from control_api.history.digest import digest
from control_api.history.words import words_of
from control_api.models.record_fields import without_nul
from notifier.errors import RecordError
from notifier.message import Message, read_message, topic_id
from notifier.record import kafka_time

MAX_TEXT = 4_000  # characters of title, content and url each, and of all labels together

Row = dict[str, Any]  # column → value


class _Identity(msgspec.Struct, gc=False):
    producer: str
    id: str | None = None


_identity = msgspec.json.Decoder(_Identity).decode


def message_row(record: ConsumerRecord, latest: datetime) -> Row | None:
    """The row of a record, without its generation; None where nothing can be found of it."""
    try:
        message, _ = read_message(record.value or b"")
    except RecordError:
        return _place_row(record, latest)
    id_ = message.id or topic_id(record.partition, record.offset, record.timestamp)
    labels = _kept_labels(message.labels)
    texts = {name: _kept(getattr(message, name)) for name in ("title", "content", "url")}
    title, content = texts["title"], texts["content"]
    return {
        **_place(record, latest, message.producer, id_),
        "producer": without_nul(message.producer),
        "message": without_nul(id_),
        "sender": _kept(message.sender),
        "receiver": _kept(message.receiver),
        **texts,
        "severity": message.severity,
        "labels": labels,
        "cut": _is_cut(message) or (labels is None and bool(message.labels)),
        "words": " ".join(words_of(f"{title}\n{content}" if title else content or "")),
    }


def _place_row(record: ConsumerRecord, latest: datetime) -> Row | None:
    try:
        identity = _identity(record.value or b"")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if not identity.id:
        return None
    return {**dict.fromkeys(_COLUMNS), **_place(record, latest, identity.producer, identity.id)}


_COLUMNS = (
    "producer", "message", "sender", "receiver", "title", "content", "url", "severity", "labels", "cut", "words",
)  # fmt: skip


def _place(record: ConsumerRecord, latest: datetime, producer: str, id_: str) -> Row:
    return {
        "partition": record.partition,
        "offset": record.offset,
        "digest": digest(producer, id_),
        # A client may write any time; one in the future would never be pruned.
        "at": min(latest, kafka_time(record.timestamp) or latest),
    }


def _kept(text: str | None) -> str | None:
    return None if text is None else without_nul(text[:MAX_TEXT])


def _is_cut(message: Message) -> bool:
    return any(len(text or "") > MAX_TEXT for text in (message.title, message.content, message.url))


def _kept_labels(labels: dict[str, str]) -> dict[str, str] | None:
    """Labels as they are shown, None where there are none or too many."""
    if not labels or sum(len(name) + len(value) for name, value in labels.items()) > MAX_TEXT:
        return None
    return {without_nul(name): without_nul(value) for name, value in labels.items()}
