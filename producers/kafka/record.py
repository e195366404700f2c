"""Record: what the value and the headers of a record of Kafka say, as a payload. No I/O.

What cannot be read raises InvalidRecord or RecordTooLarge, and costs itself.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import msgspec

from notifier.errors import InvalidRecord, RecordTooLarge
from notifier.message import MAX_BYTES

Format = Literal["auto", "json", "text", "cloudevents", "avro", "json_schema"]

_MAX_HEADERS = 200
_MAX_HEADER = 8192  # characters
_EVENT = "ce_"  # how the names of headers begin that are attributes of a CloudEvent
_MARK = b"\0"  # the first byte of Confluent's wire format; four bytes of the schema's id follow


@dataclass(frozen=True, kw_only=True, slots=True)
class Read:
    """A record as a payload."""

    payload: object  # parsed JSON, or a text
    headers: Mapping[str, str]  # names in lower case
    is_event: bool = False  # a CloudEvent, or a batch of them


def read_headers(headers: Iterable[tuple[str, bytes | None]]) -> dict[str, str]:
    """The headers of a record with their names in lower case; the last of one name counts, and some are enough."""
    found: dict[str, str] = {}
    for name, value in headers:
        if len(found) < _MAX_HEADERS or name.lower() in found:
            found[name.lower()] = (value or b"")[: _MAX_HEADER * 4].decode(errors="replace")[:_MAX_HEADER]
    return found


def read_value(value: bytes | None, headers: Mapping[str, str], format_: Format) -> Read:
    """Reads a record without a schema. Raises InvalidRecord and RecordTooLarge."""
    if value is not None and len(value) > MAX_BYTES:
        raise RecordTooLarge(f"has {len(value)} bytes; a message has at most {MAX_BYTES}", value)
    binary = any(name.startswith(_EVENT) for name in headers)
    media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    structured = media_type.startswith("application/cloudevents")
    if format_ in ("auto", "cloudevents") and binary and not structured:
        return Read(payload=_any(value, headers), headers=headers, is_event=True)
    if value is None:
        raise InvalidRecord("has no value: it is a tombstone, and says nothing")
    if format_ == "text":
        return Read(payload=_text(value), headers=headers)
    if format_ == "json":
        return Read(payload=parse_json(value), headers=headers)
    if format_ == "cloudevents":
        payload = parse_json(value)
        if not structured and not _is_event(payload):
            raise InvalidRecord(
                "is no CloudEvent: there is neither a header ce_specversion nor a field specversion", value
            )
        return Read(payload=payload, headers=headers, is_event=True)
    payload = _any(value, headers)
    return Read(payload=payload, headers=headers, is_event=structured or _is_event(payload))


def schema_id(value: bytes | None) -> int | None:
    """The schema's id of a value in Confluent's wire format; None where it cannot be in it."""
    if value is None or len(value) < 5 or value[:1] != _MARK or len(value) > MAX_BYTES:
        return None
    return int.from_bytes(value[1:5], "big")


def parse_json(data: bytes) -> object:
    """Parses JSON as it is written, lone surrogates and NaN included. Raises InvalidRecord."""
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass  # msgspec is strict
    try:
        return json.loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise InvalidRecord(f"is not UTF-8 at byte {error.start}", data) from None
    except RecursionError:
        raise InvalidRecord("is JSON that is nested too deeply", data) from None
    except ValueError as error:
        raise InvalidRecord(f"is not JSON: {error}", data) from None


def _any(value: bytes | None, headers: Mapping[str, str]) -> object:
    """JSON where it is JSON, else text. Raises InvalidRecord."""
    if value is None:
        return None
    try:
        return parse_json(value)
    except InvalidRecord:
        if "json" in headers.get("content-type", "").lower():
            raise
        return _text(value)


def _text(value: bytes) -> str:
    try:
        text = value.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidRecord(f"is not UTF-8 text at byte {error.start}", value) from None
    if not text.strip():
        raise InvalidRecord("is empty", value)
    if "\0" in text:
        raise InvalidRecord("is no text: there are NUL characters in it", value)
    return text


def _is_event(payload: object) -> bool:
    event = payload[0] if isinstance(payload, list) and payload else payload
    return isinstance(event, dict) and isinstance(event.get("specversion"), str)
