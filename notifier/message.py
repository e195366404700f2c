"""Message: something to tell people. Frozen; never changed after it is produced."""

from typing import Annotated, Self

import msgspec

from notifier.bounds import GO_ZERO
from notifier.errors import InvalidRecord
from notifier.outcome import Severity
from notifier.record import JsonObject, Record, Time

# Of an encoded message: the broker's limit of 1 MiB counts the batch envelope and our Delivery around it.
MAX_BYTES = 900_000

_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=512)]


class Message(Record, frozen=True, kw_only=True, gc=False):  # the garbage collector need not look: no cycles
    """Something to tell people, as the record on `messages`, keyed by receiver.

    `{"producer": "ci", "receiver": "alice", "content": "build failed", "severity": "error", "labels": {"team": "infra"}}`

    Identity is (producer, id). Fields not listed here are kept on the topic and passed on to consumers.
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
    configuration: str | None = None  # only this configuration considers it

    def checked(self) -> Self:
        """As of every record; a time that is Go's zero is absent, since Go writes an absent time so."""
        zero = {name: None for name in ("occurred_at", "not_before") if getattr(self, name) == GO_ZERO}
        return Record.checked(msgspec.structs.replace(self, **zero) if zero else self)


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
