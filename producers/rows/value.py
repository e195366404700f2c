"""Value: what a database or a service gives in a column, as JSON or as a text. No I/O."""

from collections.abc import Mapping
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

import msgspec

from notifier import JsonObject

MAX_CHARACTERS = 200_000  # of one value; a message takes no more
_MAX_HEX = 1000  # bytes that are shown of what is no text
_MAX_EXPONENT = 40  # a decimal beyond that is written with one
_encoder = msgspec.json.Encoder(enc_hook=str)


def plain(value: object) -> object:
    """The value as JSON has it: None, a text, a number, a list or an object. A text is cut, and says so."""
    match value:
        case None:
            return None
        case bool():
            return "true" if value else "false"
        case str():
            return _cut(value)
        case int():
            return value if abs(value) < 2**63 else _whole(value)
        case float():
            return value if value == value and abs(value) != float("inf") else str(value)
        case bytes() | bytearray() | memoryview():
            return _cut(_bytes(bytes(value)))
        case list() | tuple() | set() | frozenset() | Mapping():
            return _nested(value)
        case _:
            return _cut(text(value))


def text(value: object) -> str:
    """The value as people read it; empty: there is none."""
    match value:
        case None:
            return ""
        case Decimal():
            if value.is_finite() and abs(value.adjusted()) <= _MAX_EXPONENT:
                return format(value, "f")
            return str(value)
        case datetime():
            return value.isoformat(sep=" ")
        case date() | time():
            return value.isoformat()
        case bool() | str() | bytes() | bytearray() | memoryview() | float():
            return str(plain(value))
        case int():
            return _whole(value)
        case list() | tuple() | set() | frozenset() | Mapping():
            return _cut(_json(plain(value)))
        case _:
            return str(value)


def moment_of(value: object) -> object:
    """The value as one that says a moment with its zone, where it is a time. One without a zone is of UTC."""
    if isinstance(value, str) and 8 <= len(value) <= 40:
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return value
    if isinstance(value, datetime):
        return (value if value.tzinfo is not None else value.replace(tzinfo=UTC)).isoformat()
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day, tzinfo=UTC).isoformat()
    if isinstance(value, Decimal):
        return float(value) if value.is_finite() else None
    return plain(value)


def labels_of(value: object) -> JsonObject:
    """An object, or a text that is one as JSON; empty: it is none."""
    found: Any = plain(value)
    if isinstance(found, str) and found.lstrip().startswith("{"):
        try:
            found = msgspec.json.decode(found)
        except (msgspec.DecodeError, RecursionError):
            return {}
    return found if isinstance(found, dict) else {}


def _whole(value: int) -> str:
    # Python refuses to write very long numbers, since that takes long.
    return str(value) if value.bit_length() <= 10_000 else "(a number of more than 3,000 digits)"


def _bytes(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        shown = value[:_MAX_HEX].hex()
        return f"0x{shown}" + ("" if len(value) <= _MAX_HEX else f"… ({len(value)} bytes)")


def _nested(value: Any) -> object:
    try:
        return msgspec.json.decode(_encoder.encode(value))
    except (msgspec.DecodeError, UnicodeEncodeError, TypeError, ValueError, OverflowError, RecursionError):
        return _cut(str(type(value).__name__))


def _json(value: object) -> str:
    return value if isinstance(value, str) else _encoder.encode(value).decode()


def _cut(whole: str) -> str:
    if len(whole) <= MAX_CHARACTERS:
        return whole
    return f"{whole[:MAX_CHARACTERS]}… (cut: {MAX_CHARACTERS} of {len(whole)} characters)"
