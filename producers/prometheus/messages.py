"""Messages: what is told of an alert, and of a group of alerts. No I/O.

    {"id": "8f6e0a6c2d1b4c3e-firing-2026-11-29T09:00:00Z", "fingerprint": "8f6e0a6c2d1b4c3e", "title": "[FIRING] DiskFull",
     "content": "The disk of db1 is full\\n98 % of /var are used", "labels": {"alertname": "DiskFull", "status": "firing"},
     "severity": "critical", "receiver": "alice", "url": "http://prometheus/graph", "occurred_at": "2026-11-29T09:00:00Z"}

`fingerprint` is the same of an alert that fires and of its end, and a template may name it (`message.fingerprint`).
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import get_args

from notifier import JsonObject
from notifier.grapheme import shortened
from notifier.one_line import one_line
from notifier.outcome import SEVERITIES, Severity
from producers.prometheus.alert import MAX_LABELS, Alert, Status, common, text_of

CONTENT_CHARACTERS = 10_000
_TITLE_CHARACTERS = 300
_LINE_CHARACTERS = 500
_RECEIVER_CHARACTERS = 512
# Words of a label `severity` that many rules have, besides our own.
_SEVERITIES: Mapping[str, Severity] = {
    **{word: word for word in get_args(Severity)},
    **dict.fromkeys(("information", "informational", "notice"), "info"),
    "warn": "warning",
    **dict.fromkeys(("err", "major"), "error"),
    **dict.fromkeys(("crit", "page", "fatal", "emergency"), "critical"),
}


def alert_message(alert: Alert, receiver_label: str | None, link: str | None = None) -> JsonObject:
    """The message of one alert. `link`: what it leads to where the alert has no link of its own."""
    name = alert.labels.get("alertname")
    more = {
        "receiver": receiver_of(alert, receiver_label),
        "severity": severity_of(alert.labels),
        "url": alert.url or link,
        "occurred_at": alert.at,
    }
    return {
        "id": alert.id,
        "fingerprint": alert.fingerprint,
        "title": _title(alert.status, name),
        "content": _content(alert),
        "labels": {**alert.labels, "status": alert.status},
        **{field: value for field, value in more.items() if value is not None},
    }


def group_message(
    alerts: Sequence[Alert], key: str, shared: Mapping[str, str], receiver_label: str | None, link: str | None
) -> JsonObject:
    """The message of a group of alerts, one at least. `key` names the group, `shared` are labels that all have.

    The same group with the same alerts in the same status has the same id. Its receiver is the one that all alerts name.
    """
    firing = sum(alert.status == "firing" for alert in alerts)
    status: Status = "firing" if firing else "resolved"
    ids = "\n".join(sorted(alert.id for alert in alerts))
    severities = [found for alert in alerts if (found := severity_of(alert.labels)) is not None]
    more = {
        "receiver": common([receiver_of(alert, receiver_label) for alert in alerts]),
        "severity": max(severities, key=SEVERITIES.index, default=None),
        "url": link or alerts[0].url,
        "occurred_at": max((alert.at for alert in alerts if alert.at is not None), default=None),
    }
    name = shared.get("alertname") or common([alert.labels.get("alertname") for alert in alerts])
    return {
        "id": f"{digest(key)}-{status}-{digest(ids)}",
        "fingerprint": digest(key),
        "title": _title(status, name, firing or len(alerts)),
        "content": _lines([f"{alert.status}: {one_line(_content(alert), _LINE_CHARACTERS)}" for alert in alerts]),
        "labels": {**dict(list(shared.items())[:MAX_LABELS]), "status": status},
        **{field: value for field, value in more.items() if value is not None},
    }


def odd_message(value: object) -> JsonObject:
    """The message of what stands among alerts and is none: what there is."""
    shown = one_line(text_of(value, _LINE_CHARACTERS) or "nothing", _LINE_CHARACTERS)
    return {"id": f"odd-{digest(shown)}", "content": f"Among the alerts stands what is none: {shown}"}


def left_out_message(count: int, key: str, ids: Sequence[str], link: str | None) -> JsonObject:
    """The message of alerts that Alertmanager did not send, since its `max_alerts` is less than the group has."""
    text = f"Alertmanager left out {count} more alerts of this group; its `max_alerts` says how many it sends"
    named = {"id": f"{digest(key)}-more-{digest(f'{count} {sorted(ids)}')}", "content": text}
    return named if link is None else {**named, "url": link}


def receiver_of(alert: Alert, receiver_label: str | None) -> str | None:
    """Whom the alert names; None: nobody."""
    value = None if receiver_label is None else alert.labels.get(receiver_label, "").strip()
    return shortened(value, _RECEIVER_CHARACTERS) if value else None


def severity_of(labels: Mapping[str, str]) -> Severity | None:
    """The severity that the label `severity` names, where it is a word that is known."""
    return _SEVERITIES.get(labels.get("severity", "").strip().lower())


def digest(text: str) -> str:
    """A name of a text, in 16 hexadecimal digits."""
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()[:16]


def _title(status: Status, name: str | None, count: int | None = None) -> str:
    mark = f"[{status.upper()}{'' if count is None else f':{count}'}]"
    return one_line(f"{mark} {name or ''}", _TITLE_CHARACTERS)


def _content(alert: Alert) -> str:
    """Summary and description; without them what annotations there are, or else the labels."""
    annotations = alert.annotations
    found = [annotations[name] for name in ("summary", "description") if name in annotations]
    if not found and "message" in annotations:
        found = [annotations["message"]]
    if not found:
        found = [f"{name}: {text}" for name, text in annotations.items()]
    if not found:
        found = [f"{name}={text}" for name, text in alert.labels.items()] or ["An alert without labels and annotations"]
    return shortened("\n".join(dict.fromkeys(found)), CONTENT_CHARACTERS)


def _lines(lines: Sequence[str]) -> str:
    """As many lines as fit, and how many did not."""
    room = CONTENT_CHARACTERS
    for count, line in enumerate(lines):
        room -= len(line) + 1
        if room < 0:
            return "\n".join([*lines[:count], f"… and {len(lines) - count} more alerts"])
    return "\n".join(lines)
