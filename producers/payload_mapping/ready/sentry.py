"""Sentry: webhooks of integrations, and those of its older plugin.

https://docs.sentry.io/organization/integrations/integration-platform/webhooks/
"""

from collections.abc import Mapping

from producers.payload_mapping.ready.at import at, first, happened, joined, lines, text
from producers.payload_mapping.ready.part import Part, Parts

_LEVELS = {"fatal": "critical", "sample": "debug"}
_CALM = frozenset({"resolved", "archived", "ignored", "assigned", "deleted"})


def sentry(payload: object, headers: Mapping[str, str]) -> Parts:
    """One message for a webhook; the label `issue` links those of one issue."""
    resource, action = headers.get("sentry-hook-resource"), text(payload, "action")
    data = at(payload, "data")
    if resource == "metric_alert" or isinstance(at(data, "metric_alert"), dict):
        yield _metric(payload, data, action)
    elif isinstance(data, dict):
        yield _issue(payload, data, resource, action)
    else:
        yield _plugin(payload)


def _issue(payload: object, data: object, resource: str | None, action: str | None) -> Part:
    about = next(
        (one for name in ("issue", "event", "error", "comment") if isinstance(one := at(data, name), dict)), data
    )
    title = first(text(about, "title"), text(about, "metadata", "title"), text(about, "message"))
    project = first(text(about, "project", "slug"), text(about, "project"), text(data, "project_slug"))
    level = text(about, "level")
    number = first(text(about, "issue_id"), text(data, "issue_id"), text(about, "id"))
    actor = text(payload, "actor", "name")
    rule = text(data, "triggered_rule")
    place = None if project is None or project.isdigit() else project  # events have its number alone
    found = {
        "title": title,
        "content": joined(
            [
                happened(
                    joined([resource or "issue", action], " "),
                    text(about, "shortId"),
                    title,
                    place=place,
                    actor=actor,
                ),
                text(about, "culprit"),
                lines(data, "comment"),
                f"Rule: {rule}" if rule else None,
            ],
            "\n",
        ),
        "severity": "info" if action in _CALM else _LEVELS.get(level or "", level),
        "url": first(*(text(about, place) for place in ("web_url", "permalink", "issue_url", "url"))),
        "id": _id(resource, action, number, about),
        "occurred_at": first(*(text(about, place) for place in ("datetime", "lastSeen", "firstSeen"))),
    }
    labels = {
        "event": resource,
        "action": action,
        "issue": number,
        "project": project,
        "level": level,
        "environment": text(about, "environment"),
        "status": text(about, "status"),
        "assignee": first(text(about, "assignedTo", "email"), text(about, "assignedTo", "name")),
        "actor": actor,
        "rule": rule,
    }
    return Part(data, found, labels)


def _id(resource: str | None, action: str | None, number: str | None, about: object) -> str | None:
    moment = first(text(about, "event_id"), text(about, "lastSeen"))
    return "-".join([resource or "issue", action or "", number, moment]) if number and moment else None


def _metric(payload: object, data: object, action: str | None) -> Part:
    alert = at(data, "metric_alert")
    title = first(text(data, "description_title"), text(alert, "title"), text(alert, "alert_rule", "name"))
    number = first(text(alert, "identifier"), text(alert, "id"))
    started = first(text(alert, "date_started"), text(alert, "date_detected"))
    moment = first(text(alert, "date_closed"), started) if action == "resolved" else started
    found = {
        "title": title,
        "content": lines(data, "description_text") or joined([title, action], ": "),
        "severity": "info" if action == "resolved" else action,
        "url": first(text(data, "web_url"), text(alert, "web_url")),
        "id": "-".join(["metric_alert", action or "", number, moment]) if number and moment else None,
        "occurred_at": moment,
    }
    return Part(data, found, {"event": "metric_alert", "action": action, "issue": number})


def _plugin(payload: object) -> Part:
    event = at(payload, "event")
    title = first(text(event, "title"), text(payload, "message"), text(event, "metadata", "title"))
    project = first(text(payload, "project_slug"), text(payload, "project"))
    level = text(payload, "level")
    number, once = text(payload, "id"), text(event, "event_id")
    found = {
        "title": title,
        "content": joined([happened("issue", title, place=project), text(payload, "culprit")], "\n") if title else None,
        "severity": _LEVELS.get(level or "", level),
        "url": text(payload, "url"),
        "id": f"issue-{number}-{once}" if number and once else None,
        "occurred_at": at(event, "timestamp"),
    }
    labels = {
        "event": "issue",
        "issue": number,
        "project": project,
        "level": level,
        "environment": text(event, "environment"),
    }
    return Part(payload, found, labels)
