"""Healthchecks: the JSON of a check (`$JSON`), by itself or as `check` in a body of the webhook's own.

https://healthchecks.io/docs/configuring_notifications/ has the placeholders; `{"check": $JSON, "now": "$NOW"}` is a good body.
"""

from collections.abc import Mapping

from producers.payload_mapping.ready.at import at, first, joined, lines, text
from producers.payload_mapping.ready.part import Part, Parts

_STATES = {"down": "error", "up": "info", "grace": "warning", "paused": "info", "new": "info"}


def healthchecks(payload: object, headers: Mapping[str, str]) -> Parts:
    """One message; the label `check` links one that is down to the same being up."""
    check = at(payload, "check")
    about = check if isinstance(check, dict) else payload
    # Whoever knows an address of a check may ping it, so none is shown.
    shown = (
        {name: value for name, value in about.items() if not name.endswith("url")} if isinstance(about, dict) else about
    )
    name = first(text(about, "name"), text(payload, "name"), text(about, "slug"), text(check))
    status = first(text(about, "status"), text(payload, "status"))
    key = first(*(text(about, place) for place in ("unique_key", "uuid", "code", "slug")), text(payload, "code"), name)
    since = first(text(payload, "now"), text(about, "last_ping"))
    state = (status or "").lower()
    told = [
        f"{name} is {state.upper()}" if name and state else None,
        lines(about, "desc"),
        f"Last ping: {text(about, 'last_ping')}" if text(about, "last_ping") else None,
    ]
    found = {
        "title": joined([name, state.upper() or None], ": "),
        "content": joined(told, "\n") or joined([name, status], ": "),
        "severity": _STATES.get(state),
        "id": f"{key}-{state}-{since}" if key and state and since else None,
        "occurred_at": since,
    }
    tags = first(text(about, "tags"), text(payload, "tags"))
    labels = {"check": name, "status": state or None, "tags": ",".join(tags.split()) if tags else None}
    yield Part(shown, found, labels)
