"""Told: which alerts were told of and still fire, as a cursor keeps them between two runs. No I/O."""

from collections.abc import Iterable, Mapping

import msgspec

from notifier import JsonObject
from producers.prometheus.alert import Alert, moment_of, text_of, texts_of

_BUDGET_BYTES = 600_000  # of all alerts; a cursor may have 900,000
_ESSENTIAL = ("alertname", "severity")
_CHARACTERS = 1_000


def kept(alerts: Iterable[Alert], receiver_label: str | None) -> JsonObject:
    """The cursor: `{"alerts": {fingerprint: [start, labels, annotations]}}`.

    What the end of an alert is told by is kept whole where there is room for that of all, else little but the name of large ones.
    """
    entries = {alert.fingerprint: _entry(alert) for alert in sorted(alerts, key=lambda alert: alert.fingerprint)}
    sizes = {fingerprint: len(msgspec.json.encode(entry)) for fingerprint, entry in entries.items()}
    if sum(sizes.values()) > _BUDGET_BYTES:
        share = _BUDGET_BYTES // len(entries)
        essential = [*_ESSENTIAL, *([] if receiver_label is None else [receiver_label])]
        for fingerprint, entry in entries.items():
            if sizes[fingerprint] > share:
                entries[fingerprint] = _little(entry, essential, share)
    return {"alerts": entries}


def told_in(cursor: Mapping[str, object] | None) -> dict[str, Alert]:
    """The alerts of a cursor by fingerprint, as ended now; those that cannot be read are left out."""
    found = (cursor or {}).get("alerts")
    alerts: dict[str, Alert] = {}
    for fingerprint, entry in found.items() if isinstance(found, dict) else ():
        if isinstance(entry, list) and len(entry) == 3:
            start, labels, annotations = entry
            alerts[fingerprint] = Alert(
                fingerprint=text_of(fingerprint, 64) or "",
                status="resolved",
                labels=texts_of(labels, _CHARACTERS),
                annotations=texts_of(annotations, _CHARACTERS),
                starts_at=moment_of(start),
            )
    return alerts


def _entry(alert: Alert) -> list[object]:
    annotations = {name: text_of(text, _CHARACTERS) for name, text in alert.annotations.items() if name == "summary"}
    return [alert.starts_at, dict(alert.labels), annotations or {}]


def _little(entry: list[object], essential: Iterable[str], share: int) -> list[object]:
    start, labels = entry[0], entry[1]
    assert isinstance(labels, dict)
    little: list[object] = [start, {name: labels[name] for name in essential if name in labels}, {}]
    return little if len(msgspec.json.encode(little)) <= share else [start, {}, {}]
