"""Alert: one alert as Alertmanager's webhook and the APIs of Alertmanager and Prometheus write it, read leniently. No I/O.

What is null, missing or of another type is left out; what is too long for a message is cut, and `…` says so.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, TypeAlias

import msgspec

from notifier.bounds import in_range
from notifier.grapheme import shortened
from notifier.record import rfc3339
from notifier.web_address import is_web_address

Status: TypeAlias = Literal["firing", "resolved"]

# A message may have 900,000 bytes of JSON, and one character may take six of them.
MAX_LABELS = 100
_NAME_CHARACTERS = 200
_LABEL_CHARACTERS = 1_000
_ANNOTATION_CHARACTERS = 5_000
# 64-bit FNV-1a, which is what Prometheus and Alertmanager name sets of labels by (prometheus/common, model/signature.go).
_FNV_START, _FNV_PRIME, _BITS = 14695981039346656037, 1099511628211, 2**64 - 1
_SEPARATOR = b"\xff"


@dataclass(frozen=True, kw_only=True, slots=True)
class Alert:
    """An alert. Texts hold no NUL and no lone surrogates."""

    fingerprint: str  # of its labels, 16 hexadecimal digits unless its source says otherwise
    status: Status
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    starts_at: str | None = None  # as `notifier.record.rfc3339` writes times
    ends_at: str | None = None
    url: str | None = None  # a web address

    @property
    def at(self) -> str | None:
        """When it came to its status; the start of one whose end nobody knows."""
        return self.starts_at if self.status == "firing" else self.ends_at or self.starts_at

    @property
    def id(self) -> str:
        """The same for the same alert in the same status: `<fingerprint>-firing-2026-11-29T09:00:00Z`."""
        return "-".join(filter(None, (self.fingerprint, self.status, self.at)))


def read_alert(value: object, default: Status = "firing") -> Alert | None:
    """An alert of parsed JSON; None where it is no object. `default`: its status where it says none."""
    if not isinstance(value, dict):
        return None
    labels = texts_of(value.get("labels"), _LABEL_CHARACTERS)
    given = text_of(value.get("fingerprint"), 64)
    status = value.get("status")
    return Alert(
        fingerprint=given or fingerprint_of(labels),
        status=read_status(status if isinstance(status, str) else None, default),
        labels=labels,
        annotations=texts_of(value.get("annotations"), _ANNOTATION_CHARACTERS),
        # Prometheus calls it `activeAt`.
        starts_at=moment_of(value.get("startsAt")) or moment_of(value.get("activeAt")),
        ends_at=moment_of(value.get("endsAt")),
        url=link_of(value.get("generatorURL")),
    )


def read_status(value: object, default: Status) -> Status:
    """The status that a text names, in any case."""
    match str(value).strip().lower():
        case "firing":
            return "firing"
        case "resolved":
            return "resolved"
        case _:
            return default


def fingerprint_of(labels: Mapping[str, str]) -> str:
    """What Prometheus and Alertmanager name these labels by."""
    data = b"".join(name.encode() + _SEPARATOR + value.encode() + _SEPARATOR for name, value in sorted(labels.items()))
    found = _FNV_START
    for byte in data:
        found = (found ^ byte) * _FNV_PRIME & _BITS
    return f"{found:016x}"


def texts_of(value: object, limit: int) -> dict[str, str]:
    """The texts of an object by name, without those that are null; others than texts as JSON. At most `MAX_LABELS`."""
    if not isinstance(value, Mapping):
        return {}
    found: dict[str, str] = {}
    for name, part in value.items():
        text = text_of(part, limit)
        if text is not None and len(found) < MAX_LABELS:
            found[text_of(name, _NAME_CHARACTERS) or "…"] = text
    return found


def text_of(value: Any, limit: int) -> str | None:
    """The value as a text of at most `limit` characters; None for null and what is empty."""
    if value is None:
        return None
    if not isinstance(value, str):
        try:
            value = msgspec.json.encode(value).decode()
        except (TypeError, ValueError, OverflowError, RecursionError):
            return None
    if not value.isascii():
        value = value.encode(errors="replace").decode()
    return shortened(value.replace("\0", ""), limit) or None


def moment_of(value: object) -> str | None:
    """The time of a text, canonical; None where it is none, or Go's zero, which stands for an absent one."""
    if not isinstance(value, str) or len(value) > 64:
        return None
    try:
        found = datetime.fromisoformat(value)
        return rfc3339(found.replace(microsecond=0)) if found.tzinfo is not None and in_range(found) else None
    except (ValueError, OverflowError):
        return None


def link_of(value: object) -> str | None:
    """The web address of a text; None where it is none."""
    return (
        value
        if isinstance(value, str) and value.startswith(("http://", "https://")) and is_web_address(value)
        else None
    )


def common(values: Sequence[str | None]) -> str | None:
    """The value where all are the same."""
    return values[0] if values and len(set(values)) == 1 else None
