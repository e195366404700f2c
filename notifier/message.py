"""Message: something to tell people. Frozen; never changed after it is produced."""

from typing import Annotated, Self

import msgspec

from notifier.bounds import GO_ZERO
from notifier.errors import InvalidRecord, RecordError, RecordTooLarge
from notifier.outcome import Severity
from notifier.record import JsonObject, Record, Time

# Of an encoded message: the broker's limit of 1 MiB counts the batch envelope and our Delivery around it.
MAX_BYTES = 900_000

_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=512)]


class Message(Record, frozen=True, kw_only=True, gc=False):  # the garbage collector need not look: no cycles
    """Something to tell people, as the record on `messages`, keyed by receiver.

    `{"producer": "ci", "receiver": "alice", "content": "build failed", "severity": "error", "labels": {"team": "infra"}}`

    Identity is (producer, id). A field that need not be there may be null, and an empty text where it cannot be one: see
    `without_absent`. Fields not listed here are kept on the topic and passed on to consumers.
    """

    producer: _Name  # name of the producer that made it
    content: str  # the text
    id: _Name | None = None  # unique within its producer; None on the topic: see `topic_id`
    sender: _Name | None = None  # who caused it, a name in the producer's world
    receiver: _Name | None = None  # a name in the producer's world; None: everyone in the configuration
    title: str | None = None  # a short line above the content
    url: str | None = None  # where to read more
    severity: Severity | None = None  # how bad it is
    labels: dict[str, str] = msgspec.field(default_factory=dict)  # for filters, for instance {"team": "infra"}
    occurred_at: Time | None = None  # when it happened, if not when it was written
    not_before: Time | None = None  # do not deliver earlier
    expires_at: Time | None = None  # do not deliver then or later
    configuration: Annotated[str, msgspec.Meta(min_length=1)] | None = None  # only this configuration considers it

    def checked(self) -> Self:
        """As of every record; a time that is Go's zero is absent, since Go writes an absent time so."""
        if not self.has_times:
            return self
        zero = {name: None for name in _TIMES if getattr(self, name) == GO_ZERO}
        return Record.checked(msgspec.structs.replace(self, **zero) if zero else self)

    @property
    def has_times(self) -> bool:
        """Whether there are times in it, which have bounds (see `checked`)."""
        return not (self.occurred_at is None and self.not_before is None and self.expires_at is None)


# Of these an empty text is no value. Go writes an absent field so, unless it is told otherwise.
_TIMES = ("occurred_at", "not_before", "expires_at")
_NOT_EMPTY = frozenset({"id", "sender", "receiver", "severity", "configuration", *_TIMES})
_OPTIONAL = _NOT_EMPTY | {"v", "title", "url", "labels"}
_raw_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])


def without_absent(data: bytes) -> bytes | None:
    """The JSON of a message without the fields that are written as absent, all others as they are.

    None where there are no such fields, and for what is no JSON object. Readers ask for it when the JSON is refused as it is,
    so that an ordinary message costs nothing more.
    """
    try:
        fields = _raw_fields.decode(data)
        present = {name: raw for name, raw in fields.items() if not _is_absent(name, raw)}
        labels = _raw_fields.decode(present.get("labels", b"{}"))
        kept = {name: raw for name, raw in labels.items() if bytes(raw).strip() != b"null"}
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if len(kept) < len(labels):
        present["labels"] = msgspec.Raw(msgspec.json.encode(kept))
    elif len(present) == len(fields):
        return None
    return msgspec.json.encode(present)


def _is_absent(name: str, raw: msgspec.Raw) -> bool:
    text = bytes(raw).strip() if name in _OPTIONAL else b""
    return text == b"null" or (text == b'""' and name in _NOT_EMPTY)


def check_value(value: bytes | None) -> bytes:
    """The value of a record of `messages`, which a message may be read of. Raises RecordError, and RecordTooLarge."""
    if value is None:
        raise RecordError("the record has no value; write a message as a JSON object")
    if len(value) > MAX_BYTES:
        raise RecordTooLarge(f"a message has at most {MAX_BYTES} bytes; this one has {len(value)}")
    return value


def read_message(data: bytes) -> tuple[Message, bytes]:
    """A message and its JSON, both without the fields that are written as absent. Raises as `Message.decode` does."""
    try:
        return Message.decode(data), data
    except RecordError:
        present = without_absent(data)
        if present is None:
            raise
    return Message.decode(present), present


def topic_id(partition: int, offset: int, timestamp_ms: int) -> str:
    """The id of a message that came on the topic without one; the same for every reader of that record."""
    return f"{partition}-{offset}-{timestamp_ms}"


def check_message_object(value: object) -> JsonObject:
    """Checks a message given as parsed JSON and returns the object itself, unknown fields included.

    Called by all that write messages: REST, hooks and the runner. Raises InvalidRecord or UnsupportedVersion.
    """
    if not isinstance(value, dict):
        raise InvalidRecord("a message is a JSON object")
    Message.from_object(value)
    try:
        msgspec.json.encode(value)
    except (UnicodeEncodeError, TypeError, ValueError, RecursionError, OverflowError) as error:
        raise InvalidRecord(f"a field that is passed on cannot be written as JSON: {error}") from None
    return value
