"""Rendered: what one delivery says, for a consumer to send."""

from dataclasses import dataclass

from notifier.delivery import Delivery
from notifier.marked import Marked


@dataclass(frozen=True, kw_only=True, slots=True)
class Rendered:
    """What one delivery says. Neither part is cleaned or cut: what its service takes is the consumer's to know."""

    subject: str  # one line; empty where neither a template nor the message has one
    body: Marked
    templated: bool = False  # a template made the body; else it is the default text


async def content_of(delivery: Delivery) -> Rendered:
    """The title and the content of a delivery's message. Raises RecordError where it cannot be read."""
    message = delivery.read_message()
    return Rendered(subject=message.title or "", body=Marked(message.content))
