"""Grafana: alerts of its webhook contact point, and of the alerting that it had before version 8.

https://grafana.com/docs/grafana/latest/alerting/configure-notifications/manage-contact-points/integrations/webhook-notifier/
"""

from collections.abc import Mapping

from producers.payload_mapping.ready.at import at, fields, first, joined, lines, members, text
from producers.payload_mapping.ready.part import Part, Parts

_NO_END = "0001-01-01T00:00:00Z"  # Go's zero: it goes on


def grafana(payload: object, headers: Mapping[str, str]) -> Parts:
    """One message for each alert; the label `fingerprint` links one that fires to the same resolved.

    Where Grafana left alerts out, a message more says how many. What has no `alerts` is one message.
    """
    alerts = members(payload, "alerts")
    if not alerts:
        yield _old(payload)
    for alert in alerts:
        yield _alert(alert, payload)
    truncated = at(payload, "truncatedAlerts")
    if isinstance(truncated, int) and truncated > 0:
        found = {"content": f"Grafana left out {text(truncated)} alerts", "severity": "warning"}
        yield Part(payload, {**found, "url": text(payload, "externalURL")})


def _alert(alert: object, payload: object) -> Part:
    labels = fields(alert, "labels")
    status = first(text(alert, "status"), text(payload, "status"))
    fingerprint = text(alert, "fingerprint")
    ends = text(alert, "endsAt")
    resolved = status == "resolved"
    since = ends if resolved and ends != _NO_END else text(alert, "startsAt")
    notes = fields(alert, "annotations")
    told = [lines(notes, "summary"), lines(notes, "description"), lines(notes, "message")]
    name = first(text(labels, "alertname"), text(payload, "title"))
    found = {
        "title": f"{'Resolved: ' if resolved else ''}{name}" if name else None,
        "content": joined(told, "\n") or joined([status, name, text(alert, "valueString")], ": "),
        "severity": "info" if resolved else first(text(labels, "severity"), text(labels, "level"), "error"),
        "url": first(*(text(alert, place) for place in ("panelURL", "dashboardURL", "generatorURL", "silenceURL"))),
        "id": f"{fingerprint}-{status}-{since}" if fingerprint else None,
        "occurred_at": since,
    }
    return Part(alert, found, {**labels, "status": status, "fingerprint": fingerprint})


def _old(payload: object) -> Part:
    state = first(text(payload, "state"), text(payload, "status"))
    matches = [joined([text(one, "metric"), text(one, "value")], ": ") for one in members(payload, "evalMatches")]
    rule = first(text(payload, "ruleName"), text(payload, "ruleId"))
    found = {
        "title": text(payload, "title"),
        "content": joined([lines(payload, "message"), *matches], "\n") or joined([rule, state], ": "),
        "severity": {"ok": "info", "alerting": "error", "no_data": "warning", "paused": "info"}.get(state or ""),
        "url": text(payload, "ruleUrl"),
    }
    return Part(payload, found, {**fields(payload, "tags"), "status": state, "alertname": rule})
