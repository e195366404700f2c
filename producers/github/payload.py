"""Payload: texts and links at a place of JSON that GitHub sent, where there may be anything. No I/O."""

from collections.abc import Mapping
from typing import Any

from notifier import JsonObject


def text_at(value: object, *path: str) -> str | None:
    """The text at a path of parsed JSON; None where there is no text, or only white space."""
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value if isinstance(value, str) and not value.isspace() and value else None


def web_link(value: object, *path: str) -> str | None:
    """The web link at a path of parsed JSON; None where there is none."""
    link = text_at(value, *path)
    return link if link is not None and link.startswith(("https://", "http://")) else None


def kind_of(value: Any) -> str:
    """What a value is, in words of JSON."""
    match value:
        case None:
            return "null"
        case bool():
            return "true or false"
        case str():
            return "a text"
        case int() | float():
            return "a number"
        case list():
            return "a list"
        case _:
            return "an object"


def utf8_only(message: JsonObject) -> JsonObject:
    """The message with lone surrogates replaced: Python's JSON reads them, and no record can hold them."""
    return {name: utf8_only(part) if isinstance(part, dict) else _utf8(part) for name, part in message.items()}


def _utf8(text: str) -> str:
    return text.encode(errors="replace").decode()
