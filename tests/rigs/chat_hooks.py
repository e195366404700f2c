"""The incoming webhooks of chats as their documentation has them: what a message must look like, and how long it may be.

Each refuses what does not fit as its service does, and says what people would see of what does.
"""

import json
import re
from collections.abc import Callable
from email import message_from_bytes
from email.policy import HTTP
from html.parser import HTMLParser
from typing import Any

from aiohttp import web

from tests.rigs.hook_server import Sent


class Refused(Exception):
    """The service refuses a message in these words."""


def slack(sent: Sent) -> str:
    body = sent.json()
    if not body:
        raise Refused("no_text")
    (block,) = body["blocks"]
    if block["type"] != "rich_text" or body["mrkdwn"] is not False or re.search("[<>]", body["text"]):
        raise Refused("invalid_payload")
    seen = []
    for element in block["elements"]:
        if element["type"] not in ("rich_text_section", "rich_text_preformatted") or not element["elements"]:
            raise Refused("invalid_blocks")
        for piece in element["elements"]:
            if piece["type"] not in ("text", "link") or not piece["text"]:
                raise Refused("invalid_blocks")
            seen.append(piece["text"])
        seen.append("\n")
    text = "".join(seen)
    if len(text) > 4100:
        raise Refused("invalid_blocks")
    return text


def mattermost(sent: Sent) -> str:
    body = sent.json()
    if not body.get("text"):
        raise Refused(
            '{"id": "web.incoming_webhook.text.app_error", "message": "No text specified", "status_code": 400}'
        )
    if len(body["text"]) > 16_383:
        raise Refused('{"id": "api.post.create_post.too_long.app_error"}')
    return _unmarked(body["text"])


def form_of(sent: Sent) -> dict[str, bytes]:
    """The fields of a form that may hold files."""
    head = f"Content-Type: {sent.headers['Content-Type']}\r\n\r\n".encode()
    parts = message_from_bytes(head + sent.body, policy=HTTP).iter_parts()
    return {str(part["Content-Disposition"].params["name"]): _bytes(part) for part in parts}


def _bytes(part: Any) -> bytes:
    return bytes(part.get_payload(decode=True))


def discord(sent: Sent) -> str:
    whole = sent.headers["Content-Type"].startswith("multipart/")
    body = json.loads(form_of(sent)["payload_json"]) if whole else sent.json()
    content = body.get("content")
    if not content:
        raise Refused('{"message": "Cannot send an empty message", "code": 50006}')
    if len(content.encode("utf-16-le")) // 2 > 2000:
        raise Refused('{"message": "Invalid Form Body", "code": 50035}')
    assert body["allowed_mentions"] == {"parse": []}
    assert "wait=true" in sent.target
    return _unmarked(content)


def teams(sent: Sent) -> str:
    if len(sent.body) > 28 * 1024:
        raise Refused("RequestEntityTooLarge")
    (attachment,) = sent.json()["attachments"]
    assert attachment["contentType"] == "application/vnd.microsoft.card.adaptive"
    card = attachment["content"]
    assert card["type"] == "AdaptiveCard"
    lines = []
    for block in card["body"]:
        assert block["type"] == "RichTextBlock"
        assert block["inlines"]
        assert all(inline["type"] == "TextRun" and inline["text"] for inline in block["inlines"])
        lines.append("".join(inline["text"] for inline in block["inlines"]))
    return "\n".join(lines)


def google_chat(sent: Sent) -> str:
    if len(sent.body) > 32_000:
        raise Refused('{"error": {"code": 400, "status": "INVALID_ARGUMENT"}}')
    body = sent.json()
    if not body:
        raise Refused('{"error": {"code": 400, "message": "Message cannot be empty", "status": "INVALID_ARGUMENT"}}')
    (card,) = body["cardsV2"]
    (section,) = card["card"]["sections"]
    (widget,) = section["widgets"]
    page = _Page()
    page.feed(widget["textParagraph"]["text"])
    page.close()
    return "".join(page.seen)


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.seen: list[str] = []

    def handle_data(self, data: str) -> None:
        self.seen.append(data)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        assert tag in ("b", "i", "a", "br")
        if tag == "br":
            self.seen.append("\n")


def _unmarked(text: str) -> str:
    """Markdown without what this product puts in. Backslashes of the text itself come with one in front."""
    return re.sub(r"\\([^A-Za-z0-9\s])", r"\1", text.replace("\u200b", "").replace("\u00a0", " "))


def enforcing(read: Callable[[Sent], str], seen: list[str]) -> Callable[[Sent], web.StreamResponse | None]:
    """A service's rules for a `HookServer`; what people would see is put into `seen`."""

    def limit(sent: Sent) -> web.StreamResponse | None:
        try:
            seen.append(read(sent))
        except Refused as refused:
            return web.Response(status=400, text=str(refused))
        return None

    return limit
