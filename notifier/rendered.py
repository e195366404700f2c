"""Rendered: what one delivery says, for a consumer to send."""

from dataclasses import dataclass

from notifier.delivery import Delivery
from notifier.language import USUAL_LANGUAGE, Language
from notifier.marked import Marked
from notifier.one_line import one_line
from notifier.plain_text import plain_text

MAX_SUBJECT = 250  # characters


@dataclass(frozen=True, kw_only=True, slots=True)
class Rendered:
    """What one delivery says. Both parts are plain: without terminal sequences, controls, turns of direction and lone surrogates.

    Neither is cut, and the body may be blank: what a service takes is the consumer's to know.
    """

    subject: str  # one line; empty where neither a template nor the message has one
    body: Marked
    templated: bool = False  # a template made the body; else it is the default text
    language: Language = USUAL_LANGUAGE  # of the recipient, for the words that a consumer adds


def subject_line(text: str) -> str:
    """The text as a subject: one plain line of at most `MAX_SUBJECT` characters."""
    return one_line(text, MAX_SUBJECT)


async def content_of(delivery: Delivery) -> Rendered:
    """The title and the content of a delivery's message. Raises RecordError where it cannot be read."""
    message = delivery.read_message()
    return Rendered(subject=subject_line(message.title or ""), body=Marked(plain_text(message.content)))
