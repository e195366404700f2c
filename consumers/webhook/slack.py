"""Slack: messages to a channel by an incoming webhook (docs.slack.dev/messaging/sending-messages-using-incoming-webhooks).

The text is a block of `rich_text`, whose elements say how each piece looks, so that nothing in a text is read as markup or calls
somebody. Errors are words of plain text.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, ClassVar

from consumers.webhook.incoming import Incoming, IncomingParameters
from consumers.webhook.runs import Run, runs_of
from notifier import JsonObject, Marked
from notifier.outcome import Reason

_SHOWN = 150  # characters of the line that a device shows; Slack reads markup there, so it has none


class SlackParameters(IncomingParameters):
    """Parameters of a Slack webhook."""


class Slack(Incoming[SlackParameters]):
    """Sends messages to a Slack channel by its incoming webhook."""

    type = "slack"
    Parameters = SlackParameters
    service = "Slack"
    limit = 4000  # characters; beyond, Slack advises against it, and a block may be refused
    words: ClassVar[Mapping[str, Reason]] = {
        "channel_is_archived": "not_found",
        "channel_not_found": "not_found",
        "user_not_found": "not_found",
        "action_prohibited": "forbidden",
        "posting_to_general_channel_denied": "forbidden",
        "invalid_token": "unauthorized",
        "no_active_hooks": "unauthorized",
        "no_service": "unauthorized",
        "no_team": "unauthorized",
        "team_disabled": "unauthorized",
    }
    statuses: ClassVar[Mapping[int, Reason]] = {403: "unauthorized", 404: "unauthorized", 410: "unauthorized"}

    def write(self, part: Marked) -> JsonObject:
        """A block of rich text, and its beginning for the line that a device shows."""
        line = " ".join(part.text.split())[:_SHOWN]
        for character, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
            line = line.replace(character, entity)
        return {"text": line, "mrkdwn": False, "blocks": [{"type": "rich_text", "elements": list(_elements(part))}]}


def _elements(part: Marked) -> Iterator[JsonObject]:
    section: list[JsonObject] = []
    after_block = False
    for run in runs_of(part):
        if run.pre:
            if section:
                yield {"type": "rich_text_section", "elements": section}
                section = []
            text = run.text.strip("\n")
            if text:
                yield {"type": "rich_text_preformatted", "elements": [{"type": "text", "text": text}]}
            after_block = True
            continue
        if after_block:  # the block ends the line
            after_block, run = False, _without_line_end(run)
        if run.text:
            section.append(_element(run))
    if section:
        yield {"type": "rich_text_section", "elements": section}


def _without_line_end(run: Run) -> Run:
    return replace(run, text=run.text.removeprefix("\n"))


def _element(run: Run) -> JsonObject:
    style = {name: True for name in ("bold", "italic", "code") if getattr(run, name)}
    element: dict[str, Any] = {"type": "text", "text": run.text}
    if run.link:
        element = {"type": "link", "url": run.link, "text": run.text}
    return {**element, "style": style} if style else element
