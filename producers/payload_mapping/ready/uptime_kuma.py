"""Uptime Kuma: its webhook notification, as JSON.

https://github.com/louislam/uptime-kuma: server/notification-providers/webhook.js
"""

from collections.abc import Mapping

from producers.payload_mapping.ready.at import at, first, joined, lines, members, text
from producers.payload_mapping.ready.part import Part, Parts

_STATES = {"0": ("down", "error"), "1": ("up", "info"), "2": ("pending", "warning"), "3": ("maintenance", "info")}


def uptime_kuma(payload: object, headers: Mapping[str, str]) -> Parts:
    """One message for a heartbeat; the label `monitor` links one that is down to the same being up."""
    beat, monitor = at(payload, "heartbeat"), at(payload, "monitor")
    state, severity = _STATES.get(text(beat, "status") or "", (None, None))
    name = first(text(monitor, "name"), text(monitor, "pathName"))
    number = first(text(beat, "monitorID"), text(monitor, "id"))
    time = text(beat, "time")
    found = {
        "title": joined([name, state], ": "),
        "content": lines(payload, "msg") or joined([name, state, text(beat, "msg")], ": "),
        "severity": severity,
        "url": first(text(monitor, "url"), text(monitor, "hostname")),
        "id": f"{number}-{state}-{time}" if number and state and time else None,
        "occurred_at": f"{time}Z"
        if time and time[-1:].isdigit() and "+" not in time
        else time,  # it writes UTC without a zone
    }
    tags = {text(tag, "name") or "": text(tag, "value") or "true" for tag in members(monitor, "tags")}
    labels = {**tags, "status": state, "monitor": name, "type": text(monitor, "type")}
    yield Part(payload, found, labels)
