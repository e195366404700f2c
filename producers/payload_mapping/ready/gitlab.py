"""GitLab: webhooks of projects and groups, and system hooks.

https://docs.gitlab.com/user/project/integrations/webhook_events/
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

# The same for each try at one hook, the best first.
_IDS = ("idempotency-key", "webhook-id")
_LABELS = ("action", "state", "status", "source_branch", "target_branch", "environment", "severity")


def gitlab(payload: object, headers: Mapping[str, str]) -> Parts:
    """One message an event; the labels `event`, `repository`, `branch`, `status` and others are for filters."""
    kind = first(
        text(payload, "object_kind"), text(payload, "event_name"), text(payload, "event_type"), _named(headers)
    )
    about = fields(payload, "object_attributes")
    subject = about or fields(payload)
    place = first(
        text(payload, "project", "path_with_namespace"), text(payload, "project_name"), text(payload, "group", "name")
    )
    actor = first(text(payload, "user", "username"), text(payload, "user_username"), text(payload, "user_name"))
    branch = short_ref(first(text(about, "ref"), text(payload, "ref"), text(about, "source_branch")))
    status = _status(kind, payload, about)
    title = _title(payload, about)
    action = first(text(about, "action"), text(payload, "action"))
    known = any((kind, place, title, status))
    found = {
        "title": title,
        "content": happened(
            " ".join(filter(None, (kind, action))),
            _number(kind, payload, about),
            title,
            status,
            *_details(payload, about),
            place=place,
            branch=branch,
            actor=actor,
        )
        if known
        else None,
        "severity": _severity(kind, payload, about, status),
        "sender": actor,
        "url": _link(payload, about),
        "id": first(*(headers.get(name) for name in _IDS)) or _event_id(headers, payload, kind, action, status),
        "occurred_at": _moment(payload, about),
    }
    labels = {
        **{name: text(subject, name) for name in _LABELS},
        "event": kind,
        "repository": place,
        "branch": branch,
        "actor": actor,
        "action": action,
        "status": status,
        "stage": text(payload, "build_stage"),
        "labels": [name for one in members(payload, "labels") if (name := text(one, "title"))],
        "assignees": [name for one in members(payload, "assignees") if (name := text(one, "username"))],
        "reviewers": [name for one in members(payload, "reviewers") if (name := text(one, "username"))],
    }
    yield Part(payload, found, labels)


def _event_id(headers: Mapping[str, str], payload: object, *words: str | None) -> str | None:
    """The id of an older GitLab; events that cause one another share its UUID."""
    uuid = headers.get("x-gitlab-event-uuid")
    about = [text(payload, "object_attributes", name) for name in ("id", "updated_at")]
    return joined([uuid, *words, *about, text(payload, "build_id"), text(payload, "after")], "-") if uuid else None


def _named(headers: Mapping[str, str]) -> str | None:
    """The event that the header names: `Push Hook` is `push`."""
    name = headers.get("x-gitlab-event")
    return None if name is None else name.removesuffix(" Hook").lower().replace(" ", "_")


def _status(kind: str | None, payload: object, about: object) -> str | None:
    """How it stands: of what runs its status, of all else its state."""
    named = first(text(about, "status"), text(payload, "build_status"), text(payload, "status"))
    return named or text(about, "state")


def _severity(kind: str | None, payload: object, about: object, status: str | None) -> str | None:
    if kind == "alert":
        return first(text(about, "severity"), text(payload, "alert", "severity"))
    if at(payload, "build_allow_failure") is True and status == "failed":
        return "warning"
    return ended(status)


def _title(payload: object, about: object) -> str | None:
    return first(
        text(about, "title"),
        text(about, "name"),
        text(payload, "build_name"),
        text(payload, "merge_request", "title"),
        text(payload, "issue", "title"),
        text(payload, "name"),
        text(payload, "commit", "title"),
    )


def _number(kind: str | None, payload: object, about: object) -> str | None:
    iid = first(text(about, "iid"), text(payload, "merge_request", "iid"), text(payload, "issue", "iid"))
    if iid:
        merge = kind == "merge_request" or isinstance(at(payload, "merge_request"), dict)
        return f"{'!' if merge else '#'}{iid}"
    run = first(text(about, "id") if kind == "pipeline" else None, text(payload, "pipeline_id"))
    return f"#{run}" if run else None


def _details(payload: object, about: object) -> list[str | None]:
    commits = members(payload, "commits")
    message = (
        text(commits[-1], "title") or (lines(commits[-1], "message") or "").partition("\n")[0] if commits else None
    )
    total = text(payload, "total_commits_count")
    reason = text(payload, "build_failure_reason")
    return [
        f"{total} commits" if total and total not in ("0", "1") else None,
        message,
        lines(about, "note"),
        None if reason == "unknown_failure" else reason,
        text(payload, "environment"),
        text(payload, "tag"),
    ]


def _link(payload: object, about: object) -> str | None:
    after, home = text(payload, "after"), text(payload, "project", "web_url")
    commit = f"{home}/-/commit/{after}" if home and after and after.strip("0") else None
    job, run = text(payload, "build_id"), text(about, "id") if text(payload, "object_kind") == "pipeline" else None
    return first(
        text(about, "url"),
        f"{home}/-/jobs/{job}" if home and job else None,
        f"{home}/-/pipelines/{run}" if home and run else None,
        text(payload, "deployable_url"),
        text(payload, "url"),
        commit,
        home,
    )


def _moment(payload: object, about: object) -> str | None:
    places = ("finished_at", "updated_at", "created_at")
    of_payload = ("build_finished_at", "status_changed_at", "released_at", "created_at")
    return first(*(text(about, one) for one in places), *(text(payload, one) for one in of_payload))
