"""What the Bot API refuses, by what it documents: lengths, entities and files. https://core.telegram.org/bots/api"""

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

_TYPES = frozenset({"bold", "italic", "code", "pre", "text_link"})
_MAX_ADDRESSES = 9500  # bytes, see tdlib/telegram-bot-api#165


def wrong_with(method: str, form: Mapping[str, str], files: Mapping[str, bytes]) -> str | None:
    """The `description` of the refusal of a call; None where it is taken."""
    if method == "sendMessage":
        text, entities, limit, long = form.get("text", ""), form.get("entities"), 4096, "message is too long"
        if not text.strip():
            return "Bad Request: message text is empty"
    elif method == "sendDocument":
        text, entities = form.get("caption", ""), form.get("caption_entities")
        limit, long = 1024, "message caption is too long"
        content = files.get(form.get("document", "").removeprefix("attach://"))
        if not content:
            return "Bad Request: file must be non-empty"
        if len(content) > 50 * 1024 * 1024:
            return "Request Entity Too Large"
    else:
        return None
    units = text.encode("utf-16-le")
    if len(units) // 2 > limit:
        return f"Bad Request: {long}"
    options = json.loads(form.get("link_preview_options", "{}"))
    if set(options) - {"is_disabled"}:
        return "Bad Request: can't parse link preview options"
    return None if entities is None else _wrong_entities(units, json.loads(entities))


def _wrong_entities(units: bytes, entities: list[dict[str, Any]]) -> str | None:
    spans: list[tuple[int, int, str]] = []
    for entity in entities:
        start, end = entity["offset"], entity["offset"] + entity["length"]
        if entity["type"] not in _TYPES or not 0 <= start < end <= len(units) // 2:
            return "Bad Request: ENTITY_BOUNDS_INVALID"
        for place in (start, end):
            if units[2 * place : 2 * place + 2] and 0xDC <= units[2 * place + 1] <= 0xDF:
                return "Bad Request: ENTITY_BOUNDS_INVALID"  # within a character
        if entity["type"] == "text_link":
            address = urlsplit(entity["url"])
            if address.scheme not in ("http", "https") or not address.hostname:
                return f"Bad Request: entity URL '{entity['url']}' is invalid: Unsupported URL protocol"
        for other_start, other_end, other in spans:
            if start < other_end and other_start < end:
                nested = (other_start <= start and end <= other_end) or (start <= other_start and other_end <= end)
                if not nested or {other, entity["type"]} & {"code", "pre"} or other == entity["type"]:
                    return "Bad Request: can't parse entities: they cross one another"
        spans.append((start, end, entity["type"]))
    if len(entities) > 100:
        return "Bad Request: more than 100 entities, of which the service ignores the rest"
    if sum(len(entity.get("url", "").encode()) for entity in entities) > _MAX_ADDRESSES:
        return "Bad Request: ENTITIES_TOO_LONG"
    return None
