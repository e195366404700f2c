"""Discord: messages to a channel by its webhook (discord.com/developers/docs/resources/webhook#execute-webhook).

The text is Markdown. What a message says is kept from being markup, and `allowed_mentions` from calling anybody. A text of more
than ten messages is one message with its beginning, and a file with the whole.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, ClassVar

import aiohttp
import msgspec
from pydantic import Field, StringConstraints
from yarl import URL

from consumers.text.text import utf16_units
from consumers.webhook.answers import Answer
from consumers.webhook.incoming import Incoming, IncomingParameters, Message
from consumers.webhook.markdown import Markdown
from consumers.webhook.webhook import JSON
from notifier import Context, Delivery, JsonObject, Limit, Marked, Result
from notifier.outcome import Reason
from notifier.record import now
from notifier.retry_after import retry_after_s

_MARKDOWN = Markdown("\\*_~`|>#[]<-")
_FILE = "message.txt"
_NO_PREVIEW = 4  # flag SUPPRESS_EMBEDS: links unfold to nothing


class DiscordParameters(IncomingParameters):
    """Parameters of a Discord webhook."""

    thread_id: Annotated[str, StringConstraints(pattern="^[0-9]{1,20}$")] | None = Field(
        None, description="Number of the thread within the channel."
    )
    per_second: float = Field(2.5, gt=0, le=100, description="Messages that go to it in a second at most.")


class Discord(Incoming[DiscordParameters]):
    """Sends messages to a Discord channel by its webhook."""

    type = "discord"
    Parameters = DiscordParameters
    service = "Discord"
    limit = 2000  # characters of `content`
    most_parts = 10
    words: ClassVar[Mapping[str, Reason]] = {
        '"code":10015': "unauthorized",
        '"code":50027': "unauthorized",
        '"code":10003': "not_found",
    }
    statuses: ClassVar[Mapping[int, Reason]] = {401: "unauthorized", 404: "unauthorized"}

    def write(self, part: Marked) -> JsonObject:
        """The text as Markdown; nobody is called, and links unfold to nothing."""
        return {"content": self.measured(part), "allowed_mentions": {"parse": []}, "flags": _NO_PREVIEW}

    def messages(self, text: Marked) -> Sequence[Message]:
        """Several messages, or one with a file."""
        if self.parts_of(text) is not None:
            return super().messages(text)
        (head,) = self.cut_parts_of(text, parts=1)
        form = aiohttp.FormData()
        form.add_field("payload_json", msgspec.json.encode(self.write(head)).decode(), content_type=JSON)
        form.add_field("files[0]", text.plain().encode(), filename=_FILE, content_type="text/plain; charset=utf-8")
        return [form]

    def measured(self, part: Marked) -> str:
        """The text as Markdown, which is what counts."""
        return _MARKDOWN.write(part)

    def size(self, text: str) -> int:
        """UTF-16 units: never fewer than characters."""
        return utf16_units(text)

    def target(self) -> URL:
        """The address; Discord then answers once the message is stored."""
        query = {"wait": "true"} | ({"thread_id": self.parameters.thread_id} if self.parameters.thread_id else {})
        return self._url.update_query(query)

    def limits(self, delivery: Delivery) -> Sequence[Limit]:
        """The parameter `per_second`, and 30 a minute, which a channel takes of webhooks."""
        return [*super().limits(delivery), Limit(count=30, seconds=60.0)]

    def meaning(self, answer: Answer) -> Result:
        """As of every form; a wait may be told in the body too, to a fraction of a second."""
        result = super().meaning(answer)
        if answer.status != 429:
            return result
        told = [wait for wait in (_told_s(answer.text), result.retry_after_s) if wait is not None]
        return replace(result, retry_after_s=max(told, default=None))

    async def check(self, context: Context) -> None:
        """Asks Discord for the webhook. Raises Permanent or Retryable."""
        await self._try(context, "GET", right=200)


class _Limited(msgspec.Struct):
    retry_after: float


def _told_s(text: str) -> float | None:
    try:
        return retry_after_s(msgspec.json.decode(text, type=_Limited).retry_after, now())
    except (msgspec.DecodeError, RecursionError):
        return None
