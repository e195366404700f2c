"""CloudEvents: structured, binary and batches, by HTTP (`ce-id`) and by Kafka (`ce_id`).

https://github.com/cloudevents/spec/blob/main/cloudevents/bindings/http-protocol-binding.md
"""

import base64
import binascii
from collections.abc import Mapping
from urllib.parse import unquote

from producers.payload_mapping.ready.at import at, first, joined, lines, text
from producers.payload_mapping.ready.part import Part, Parts

_PREFIXES = ("ce-", "ce_")
_NO_LABELS = frozenset(
    {"specversion", "id", "time", "data", "data_base64", "datacontenttype", "dataschema", "traceparent", "tracestate"}
)
_TEXTS = ("message", "content", "text", "summary", "description", "title")


def cloudevents(payload: object, headers: Mapping[str, str]) -> Parts:
    """One message an event: `data` as its text, `type` and `subject` as its title; the attributes are labels.

    Expressions look into the event with its `data`, however it came.
    """
    attributes = {
        name[3:]: unquote(value, errors="replace") for name, value in headers.items() if name.startswith(_PREFIXES)
    }
    if "id" in attributes or "specversion" in attributes:
        yield _event({**attributes, "data": payload})
    else:
        for event in payload if isinstance(payload, list) else [payload]:
            if event is not None:
                yield _event(event)


def _event(event: object) -> Part:
    if not isinstance(event, dict):
        return Part(event)
    if "data" not in event and isinstance(packed := event.get("data_base64"), str):
        event = {**event, "data": _unpacked(packed)}
    data = at(event, "data")
    number, source = text(event, "id"), text(event, "source")
    found = {
        "title": joined([text(event, "type"), text(event, "subject")], ": "),
        "content": first(*(lines(data, place) for place in _TEXTS)) or data,
        "severity": first(text(event, "severitytext"), text(event, "severity"), text(data, "severity")),
        "url": first(text(data, "url"), text(data, "html_url")),
        "id": f"{source}#{number}" if source and number else None,  # unique for its source alone
        "occurred_at": text(event, "time"),
    }
    labels = {
        name: value for name, value in event.items() if name not in _NO_LABELS and not isinstance(value, dict | list)
    }
    return Part(event, found, labels)


def _unpacked(packed: str) -> str:
    """Bytes that are text as text, others as they came."""
    try:
        return base64.b64decode(packed, validate=True).decode()
    except (binascii.Error, ValueError):
        return packed
