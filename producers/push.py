"""Push: a producer whose messages others write. Taking them in over HTTP is `control_api`'s; any Kafka client may write too."""

import asyncio
from functools import cached_property

import msgspec
from pydantic import Field

from notifier import Context, Hook, HookParameters, JsonObject, Producer, Received, WorldParameters
from notifier.errors import FieldError, InputError
from producers.payload_mapping import NamedMapping, PayloadMapping
from producers.sns_subscription import CONFIRMED, confirmed


class PushParameters(WorldParameters, HookParameters):
    """Parameters of a push producer."""

    mapping: NamedMapping | None = Field(
        None,
        description="Which part of a hook's JSON is which field of a message: the name of a ready mapping, or JMESPath for each"
        " field. None: an object that is a message is one, any other JSON is the content of one.",
        examples=["grafana", {"content": "text", "severity": "level", "id": "concat(id, '-', state)"}],
    )


class Push(Producer[PushParameters]):
    """Messages come by themselves: over REST, by hooks, or from any Kafka client that writes on `messages`.

    It is never asked for messages, so a run passes it over.
    """

    type = "push"
    Parameters = PushParameters
    pull = False
    doors = ("json",)

    async def received(self, hook: Hook, context: Context) -> Received:
        """By the mapping, else as `unmapped`. Raises InputError only without a mapping."""
        mapping = self.parameters.mapping
        if mapping is None:
            return Received(messages=[await asyncio.to_thread(unmapped, hook.payload, context.name)])
        read = await asyncio.to_thread(self._mapping.read, hook.payload, hook.headers)
        subscribed = await confirmed(hook.payload, context) if mapping.ready == "sns" else None
        if subscribed is not None:
            failed = {"title": "Amazon SNS", "content": subscribed, "severity": "warning"}
            return Received(messages=[] if subscribed == CONFIRMED else [failed], detail=subscribed)
        return Received(messages=read.messages, detail=None if read.messages else next(iter(read.problems), None))

    @cached_property
    def _mapping(self) -> PayloadMapping:
        return PayloadMapping(self.parameters.mapping)


class MessageShape(msgspec.Struct):
    """The types of a message's fields. What they must say is `Message`'s."""

    content: str
    producer: str | None = None
    v: int | None = None
    id: str | None = None
    sender: str | None = None
    receiver: str | None = None
    title: str | None = None
    url: str | None = None
    severity: str | None = None
    labels: dict[str, str | None] | None = None
    occurred_at: str | None = None
    not_before: str | None = None
    expires_at: str | None = None
    configuration: str | None = None


def unmapped(payload: object, producer: str) -> JsonObject:
    """The message that a payload is, not yet checked, or whose content it is. Raises InputError where it names another producer.

    An object with a text as `content`, and of whose other fields those that a message has are of a message's types too, is a
    message, and is refused where it does not fit. Any other JSON becomes the content itself, without its white space.
    """
    try:
        named = msgspec.convert(payload, MessageShape).producer
    except (msgspec.ValidationError, RecursionError):
        return PayloadMapping().messages(payload, {})[0]
    if named not in (None, producer):
        raise InputError(FieldError("/producer", f"is {producer!r} by the address; leave it out"))
    assert isinstance(payload, dict)
    return {name: value for name, value in payload.items() if name != "producer"}
