"""Delivery: one message to one recipient by one consumer; the unit of retry."""

from typing import Literal
from urllib.parse import quote

import msgspec

from notifier.bounds import Count, DeliveryId, Large, Number, Word
from notifier.message import Message
from notifier.record import Record, Time, always

Why = Literal["retry", "held", "delayed", "digest"]  # why a delivery is parked

# In place of a configuration's name, of what the operators are told (`streams.delivery.notices`). No definition can have it.
OPERATORS = "notifier:operators"
SEND_TEST = "notifier:test"  # of what tries a consumer, see `control_api.send_test`
OWN = frozenset({OPERATORS, SEND_TEST})


class Delivery(Record, frozen=True, kw_only=True):
    """The record on `deliveries.<consumer>`, keyed by lane, and on `parked`, keyed by id.

    `message` is the JSON of the message as it was received, spliced in, so that unknown fields arrive too.
    `sender` and `receiver` are the names in the consumer's world, as the router resolved them.
    """

    id: DeliveryId  # `delivery_id(...)`: every attempt carries the same
    configuration: Word
    configuration_version: Large  # revision of the configuration that judged it
    consumer: Word
    lane: str  # deliveries of equal lanes keep their order
    message: msgspec.Raw  # JSON object
    message_id: Word  # also where the message itself came without an id
    recipient: Word | None = None  # username; none: everyone in `recipients`
    recipients: tuple[str, ...] | None = None  # usernames, perhaps nobody, for a message without receiver
    address: str | None = None  # how the consumer reaches the recipient; none where its parameters say it
    sender: str | None = None  # name in the consumer's world, or the plain text that the producer gave
    receiver: str | None = None  # name in the consumer's world
    attempt: Number = always(1)  # number of the next try
    spared: Count = 0  # tries so far that did not spend the retry schedule (the service was at its limit)
    not_before: Time | None = None
    expires_at: Time | None = None  # it is not sent then or later
    why: Why | None = None  # only on `parked`: why it cannot go now
    redriven_at: Time | None = None  # when it was put back from the dead letters
    routed_at: Time | None = None  # once it was parked: when it was first on its topic
    fallback_of: DeliveryId | None = None  # the delivery in whose place it is
    given_up_by: tuple[Word, ...] = ()  # the consumers that did not take the message, in order, where it is a fallback

    def read_message(self) -> Message:
        """The message itself; raises as `Message.decode` does."""
        return Message.decode(bytes(self.message))


def delivery_id(producer: str, message_id: str, configuration: str, consumer: str, recipient: str | None) -> str:
    """`<producer>/<message id>/<configuration>/<consumer>/<recipient>`, each part percent-encoded; `*` for no recipient."""
    parts = (producer, message_id, configuration, consumer)
    return (
        "/".join(quote(part, safe="") for part in parts)
        + "/"
        + ("*" if recipient is None else quote(recipient, safe=""))
    )
