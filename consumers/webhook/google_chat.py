"""Google Chat: messages to a space by its webhook (developers.google.com/workspace/chat/quickstart/webhooks).

The text is a card: there, HTML says how each piece looks, and has a way to write what is no markup; the text of a message itself
has none (developers.google.com/workspace/chat/format-messages).
"""

from collections.abc import Mapping
from html import escape
from typing import ClassVar

import msgspec

from consumers.webhook.incoming import Incoming, IncomingParameters
from consumers.webhook.runs import Run, runs_of
from notifier import JsonObject, Marked
from notifier.outcome import Reason

_SHOWN = 150  # characters for devices that show no card


class GoogleChatParameters(IncomingParameters):
    """Parameters of a Google Chat webhook."""


class GoogleChat(Incoming[GoogleChatParameters]):
    """Sends messages to a Google Chat space by its webhook."""

    type = "google_chat"
    Parameters = GoogleChatParameters
    service = "Google Chat"
    limit = 30_000  # bytes of the whole; a message has 32,000
    statuses: ClassVar[Mapping[int, Reason]] = {401: "unauthorized", 403: "unauthorized", 404: "unauthorized"}

    def write(self, part: Marked) -> JsonObject:
        """A card of one paragraph, and its beginning for devices that show no card."""
        paragraph = {"textParagraph": {"text": "".join(map(_html, runs_of(part)))}}
        card = {"sections": [{"widgets": [paragraph]}]}
        return {"cardsV2": [{"cardId": "text", "card": card}], "fallbackText": " ".join(part.text.split())[:_SHOWN]}

    def measured(self, part: Marked) -> str:
        """The whole, as it is sent."""
        return msgspec.json.encode(self.write(part)).decode()

    def size(self, text: str) -> int:
        """Bytes."""
        return len(text.encode())


def _html(run: Run) -> str:
    text = escape(run.text).replace("\n", "<br>")
    if run.link:
        text = f'<a href="{escape(run.link)}">{text}</a>'
    if run.italic:
        text = f"<i>{text}</i>"
    return f"<b>{text}</b>" if run.bold else text
