"""Mattermost: messages to a channel by an incoming webhook (developers.mattermost.com/integrate/webhooks/incoming).

The text is Markdown. What a message says is kept from being markup, and from calling everybody by an @.
"""

from collections.abc import Mapping
from typing import ClassVar

from pydantic import Field

from consumers.webhook.incoming import Incoming, IncomingParameters
from consumers.webhook.markdown import Markdown
from notifier import JsonObject, Marked
from notifier.outcome import Reason

_MARKDOWN = Markdown("\\*_~`|>#[]+-", indents=True)


class MattermostParameters(IncomingParameters):
    """Parameters of a Mattermost webhook."""

    per_second: float = Field(10.0, gt=0, le=100, description="Messages that go to it in a second at most.")


class Mattermost(Incoming[MattermostParameters]):
    """Sends messages to a Mattermost channel by its incoming webhook."""

    type = "mattermost"
    Parameters = MattermostParameters
    service = "Mattermost"
    limit = 16_000  # characters; a post has 16,383 since version 5.0
    words: ClassVar[Mapping[str, Reason]] = {
        "incoming_webhook.invalid": "unauthorized",
        "incoming_webhook.disabled": "unauthorized",
        "incoming_webhook.channel_locked": "forbidden",  # before the next, which it begins with
        "incoming_webhook.channel": "not_found",
        "incoming_webhook.user": "not_found",
        "incoming_webhook.permissions": "forbidden",
    }
    statuses: ClassVar[Mapping[int, Reason]] = {404: "unauthorized"}

    def write(self, part: Marked) -> JsonObject:
        """The text as Markdown."""
        return {"text": self.measured(part)}

    def measured(self, part: Marked) -> str:
        """The text as Markdown, which is what counts."""
        return _MARKDOWN.write(part)
