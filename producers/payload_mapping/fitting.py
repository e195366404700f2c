"""Fitting: makes the fields of a message of what is found in a payload, whatever that is. No I/O.

What does not fit its field is left out and said; what is too long is cut, and says so itself.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import msgspec

from notifier import JsonObject
from notifier.one_line import one_line
from notifier.outcome import SEVERITIES, Severity
from notifier.plain_text import is_blank
from producers.payload_mapping.moment import moment

MAX_CONTENT_BYTES = 500_000  # of the content's JSON; with all other fields a message stays below `message.MAX_BYTES`
MAX_TITLE = 500  # characters, as of all below
MAX_URL = 2000
MAX_NAME = 400  # the record takes 512, and a run puts its own words before an id
MAX_LABELS = 64
MAX_LABEL_NAME = 100
MAX_LABEL = 500
_MAX_ID = 200
_WORDS: Mapping[str, Severity] = {
    **{word: word for word in SEVERITIES},
    **dict.fromkeys(("fatal", "crit", "emergency", "emerg", "alert", "blocker", "disaster", "page"), "critical"),
    **dict.fromkeys(("err", "high", "failure", "failed", "major", "severe"), "error"),
    **dict.fromkeys(("warn", "medium", "moderate", "minor", "average"), "warning"),
    **dict.fromkeys(("information", "informational", "notice", "low", "ok", "none", "success", "resolved"), "info"),
    **dict.fromkeys(("trace", "verbose"), "debug"),
}


def fitted(found: Mapping[str, object], severities: Mapping[str, Severity], problems: list[str]) -> JsonObject:
    """The fields of a message but for `content`, `receiver` and `id`; what is left out is said in `problems`."""
    message: JsonObject = {}
    title = text_of(found.get("title"))
    if title is not None and (title := _line(title, MAX_TITLE)):
        message["title"] = title
    sender = name_of(found.get("sender"))
    if sender is not None:
        message["sender"] = sender
    readings = {
        "severity": (_severity(found.get("severity"), severities), "is no severity that is known"),
        "url": (_url(found.get("url")), "is no web link"),
        "occurred_at": (moment(found.get("occurred_at")), "is no time with a zone"),
    }
    for field, (value, words) in readings.items():
        if value is not None:
            message[field] = value
        elif text_of(found.get(field)) is not None:
            problems.append(f"{field}: {_line(text_of(found[field]) or '', 100)!r} {words}; it is left out")
    labels = _labels(found.get("labels"), problems)
    if labels:
        message["labels"] = labels
    return message


def text_of(value: object) -> str | None:
    """What is found as a text that a record can hold; None: nothing to see. Lists and objects become JSON."""
    if value is None:
        return None
    if not isinstance(value, str):
        try:
            value = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        except (ValueError, TypeError, RecursionError):
            return None
    text = value.replace("\0", "").encode(errors="replace").decode()
    return None if is_blank(text) else text


def content_of(value: object, limit: int = MAX_CONTENT_BYTES) -> str | None:
    """The text of a message, at most `limit` bytes as JSON; one that is cut says so."""
    text = text_of(value)
    if text is None or len(text) * 6 <= limit:
        return text
    kept = text
    while (size := len(msgspec.json.encode(kept))) > limit:
        kept = kept[: len(kept) * limit // size]
    return text if len(kept) == len(text) else f"{kept}\n… (cut: {len(kept)} of {len(text)} characters)"


def name_of(value: object) -> str | None:
    """The name of a person or the like; None: there is none. Of a list or an object there is none."""
    if isinstance(value, bool | list | dict):
        return None
    text = text_of(value)
    return None if text is None else text.strip()[:MAX_NAME]


def id_of(value: object) -> str | None:
    """An id: what is found, and the sum of the whole where it is too long."""
    text = text_of(value)
    if text is None or len(text) <= _MAX_ID:
        return text
    return f"{text[:100]}~{hashlib.sha256(text.encode()).hexdigest()[:32]}"


def _severity(value: object, severities: Mapping[str, Severity]) -> Severity | None:
    word = (text_of(value) or "").strip().casefold()
    return severities.get(word) or _WORDS.get(word)


def _url(value: object) -> str | None:
    """A web link, without a name and password in it: whoever reads the message would have them."""
    text = value.strip() if isinstance(value, str) else ""
    if len(text) > MAX_URL or text_of(text) != text or len(text.split()) != 1:
        return None
    try:
        parts = urlsplit(text)
    except ValueError:
        return None
    if parts.scheme not in ("https", "http") or not parts.hostname:
        return None
    _, at, host = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=host)) if at else text


def _labels(value: object, problems: list[str]) -> dict[str, str]:
    labels: dict[str, str] = {}
    for name, given in _pairs(value):
        text = text_of(",".join(filter(None, map(name_of, given))) if isinstance(given, list) else given)
        name = _line(name, MAX_LABEL_NAME)
        if text is None or not name or not (text := _line(text, MAX_LABEL)):
            continue
        if len(labels) >= MAX_LABELS and name not in labels:
            problems.append(f"labels: more than {MAX_LABELS}; the others are left out")
            break
        labels.setdefault(name, text)
    return labels


def _line(text: str, limit: int) -> str:
    return one_line(text[: limit * 4], limit)  # without the rest first, which may be megabytes


def _pairs(value: object) -> list[tuple[str, Any]]:
    return [(name, given) for name, given in value.items() if isinstance(name, str)] if isinstance(value, dict) else []
