"""Teams: messages to a channel or chat of Microsoft Teams by the webhook of a workflow.

learn.microsoft.com/microsoftteams/platform/webhooks-and-connectors/how-to/add-incoming-webhook. The text is an Adaptive Card, a
RichTextBlock for each line, whose runs say how each piece looks, so that nothing in a text is read as markup. The connectors of
old take the same card, and answer 200 with words where Teams itself refused.
"""

import re  # for our own constant pattern
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, ClassVar

import msgspec
from pydantic import Field

from consumers.webhook.answers import Answer
from consumers.webhook.incoming import Incoming, IncomingParameters
from consumers.webhook.runs import Run, lines_of
from notifier import JsonObject, Marked, Result
from notifier.outcome import Reason

_CARD = "application/vnd.microsoft.card.adaptive"
_INNER = re.compile(r"Microsoft Teams endpoint returned HTTP error ([45][0-9]{2})")


class TeamsParameters(IncomingParameters):
    """Parameters of a Teams webhook."""

    per_second: float = Field(4.0, gt=0, le=100, description="Messages that go to it in a second at most.")


class Teams(Incoming[TeamsParameters]):
    """Sends messages to a channel or chat of Microsoft Teams by the webhook of a workflow."""

    type = "teams"
    Parameters = TeamsParameters
    service = "Teams"
    limit = 25_000  # bytes of the whole; Teams takes 28 KB, and adds something of its own
    words: ClassVar[Mapping[str, Reason]] = {
        "triggerisnotenabled": "unauthorized",
        "workflownotfound": "unauthorized",
        "invalidsignature": "unauthorized",
        "directapiauthorizationrequired": "unauthorized",
    }
    statuses: ClassVar[Mapping[int, Reason]] = {403: "unauthorized", 404: "unauthorized", 410: "unauthorized"}
    empty = None  # a workflow would begin to run

    def write(self, part: Marked) -> JsonObject:
        """A card, a block for each line."""
        card = {"type": "AdaptiveCard", "version": "1.4", "msteams": {"width": "Full"}, "body": list(_blocks(part))}
        return {"type": "message", "attachments": [{"contentType": _CARD, "contentUrl": None, "content": card}]}

    def measured(self, part: Marked) -> str:
        """The whole, as it is sent."""
        return msgspec.json.encode(self.write(part)).decode()

    def size(self, text: str) -> int:
        """Bytes."""
        return len(text.encode())

    def meaning(self, answer: Answer) -> Result:
        """As of every form; what Teams itself answered counts where it is told with the status 200."""
        found = _INNER.search(answer.text) if answer.status == 200 else None
        return super().meaning(answer if found is None else replace(answer, status=int(found[1])))


def _blocks(part: Marked) -> Iterator[JsonObject]:
    spacing = "none"
    for runs in lines_of(part):
        if runs:
            yield {"type": "RichTextBlock", "spacing": spacing, "inlines": [_inline(run) for run in runs]}
        spacing = "none" if runs else "medium"


def _inline(run: Run) -> JsonObject:
    inline: dict[str, Any] = {"type": "TextRun", "text": run.text}
    if run.bold:
        inline["weight"] = "bolder"
    if run.italic:
        inline["italic"] = True
    if run.code or run.pre:
        inline["fontType"] = "monospace"
    if run.link:
        inline["selectAction"] = {"type": "Action.OpenUrl", "url": run.link}
    return inline
