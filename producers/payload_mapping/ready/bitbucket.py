"""Bitbucket: webhooks of Bitbucket Cloud and of Bitbucket Data Center.

https://support.atlassian.com/bitbucket-cloud/docs/event-payloads/
https://confluence.atlassian.com/bitbucketserver/event-payload-938025882.html
"""

from collections.abc import Mapping

from producers.payload_mapping.ready.at import (
    at,
    ended,
    fields,
    first,
    happened,
    joined,
    lines,
    members,
    short_ref,
    text,
)
from producers.payload_mapping.ready.part import Part, Parts

_REQUESTS = ("x-request-uuid", "x-request-id")
_SUBJECTS = ("pullrequest", "pullRequest", "push", "commit_status", "issue", "comment")


def bitbucket(payload: object, headers: Mapping[str, str]) -> Parts:
    """One message for an event, and of a push one for each branch or tag."""
    event = first(headers.get("x-event-key"), text(payload, "eventKey"), _about(payload))
    request = first(*(headers.get(name) for name in _REQUESTS))
    changes = members(payload, "push", "changes") or members(payload, "changes")
    if changes:
        for change in changes:
            yield _part(change, payload, event, request)
    else:
        yield _part(None, payload, event, request)


def _about(payload: object) -> str | None:
    """What it is about, where no header names the event."""
    return next((name for name in _SUBJECTS if fields(payload, name)), None)


def _part(change: object, payload: object, event: str | None, request: str | None) -> Part:
    pull = fields(payload, "pullrequest") or fields(payload, "pullRequest")
    subject = next((one for name in ("commit_status", "issue") if (one := fields(payload, name))), {})
    place = _place(payload, pull)
    actor = first(*(text(payload, "actor", name) for name in ("nickname", "display_name", "name", "displayName")))
    branch = _branch(change, pull)
    state = first(text(subject, "state"), text(pull, "state"))
    title = first(text(pull, "title"), text(subject, "title"), text(subject, "name"))
    number = first(text(pull, "id"), text(subject, "id"))
    commit = first(text(change, "commits", 0, "message"), text(change, "new", "target", "message"))
    known = any((event, place, title, branch))
    found = {
        "title": title,
        "content": happened(
            event,
            f"#{number}" if number else None,
            title,
            text(subject, "state"),
            _done(change),
            commit,
            lines(payload, "comment", "content", "raw") or lines(payload, "comment", "text"),
            place=place,
            branch=branch,
            actor=actor,
        )
        if known
        else None,
        "severity": ended(text(subject, "state")),
        "sender": actor,
        "url": _link(payload, change, pull, subject),
        "id": f"{request}-{branch}" if request and change is not None and branch else request,
        "occurred_at": first(text(pull, "updated_on"), text(subject, "updated_on"), text(payload, "date")),
    }
    labels = {"event": event, "repository": place, "branch": branch, "actor": actor, "state": state, "number": number}
    return Part(payload if change is None else change, found, labels)


def _place(payload: object, pull: object) -> str | None:
    cloud = text(payload, "repository", "full_name")
    here = at(payload, "repository") or at(pull, "toRef", "repository")
    return cloud or joined([text(here, "project", "key"), text(here, "slug")], "/")


def _branch(change: object, pull: object) -> str | None:
    return first(
        text(change, "new", "name"),
        text(change, "old", "name"),
        text(change, "ref", "displayId"),
        text(pull, "source", "branch", "name"),
        text(pull, "fromRef", "displayId"),
        short_ref(text(pull, "fromRef", "id")),
    )


def _done(change: object) -> str | None:
    """What became of a branch or tag besides new commits."""
    named = text(change, "type")  # of Data Center: ADD, UPDATE, DELETE
    words = [name for name in ("created", "closed", "forced") if at(change, name) is True]
    return joined([*words, named.lower() if named else None], ", ")


def _link(payload: object, change: object, pull: object, subject: object) -> str | None:
    cloud = [text(one, "links", "html", "href") for one in (at(payload, "comment"), pull, subject, change)]
    server = text(pull, "links", "self", 0, "href")
    return first(text(subject, "url"), *cloud, server, text(payload, "repository", "links", "html", "href"))
