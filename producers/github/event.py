"""Event: the short message that any event but those of pull requests becomes: what happened, where, and how it ended. No I/O.

    workflow_run completed in owner/name on main by octocat: CI: failure (https://…)
    pull_request_review submitted in owner/name on fix by octocat: Update the README: approved (https://…)
    status in owner/name on main by octocat: ci/build: failure: Tests failed (https://…)
    deployment_status created in owner/name on main to production by octocat: failure: No room left (https://…)
    issue_comment created in owner/name by octocat: It breaks: Since when? (https://…)

What failed has the severity `error`, what was stopped or sent back `warning`, an alert its own. Labels carry the same in GitHub's
words, for filters: `conclusion`, `state`, `status`, `branch`, `environment` and the others of `_LABELS`. GitHub's payloads have
many kinds; what is not there, or is no text, is left out.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from notifier import JsonObject
from notifier.one_line import one_line
from producers.github.account import known_login
from producers.github.payload import text_at, utf8_only, web_link
from producers.github.repository import former_name

_MAX_TEXT = 300  # characters of a part of the text, and of a label
# Members of a payload that the event may be about; the first that is there counts, after one that is called as the event.
_SUBJECTS = (
    "comment", "review", "release", "alert", "build", "issue", "discussion", "workflow_run", "check_run", "check_suite",
    "thread", "pull_request", "forkee",
)  # fmt: skip
# Members that a subject without a title of its own belongs to.
_OWNERS = ("issue", "pull_request", "discussion", "deployment", "workflow")
_TITLES = (
    ("title",), ("name",), ("context",), ("security_advisory", "summary"), ("rule", "description"),
    ("secret_type_display_name",), ("app", "name"),
)  # fmt: skip
_BODIES = (("comment", "body"), ("review", "body"), ("review", "content"))  # what people say
_LINKS = ("html_url", "target_url", "log_url", "details_url", "environment_url")
# Label → where in the event's subject it stands, the first that is there.
_LABELS: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "conclusion": (("conclusion",),),
    "state": (("state",),),
    "state_reason": (("state_reason",),),
    "status": (("status",),),
    "environment": (("environment",),),
    "context": (("context",),),
    "name": (("name",),),
    "workflow": (("workflow_name",),),
    "task": (("task",),),
    "tag": (("tag_name",),),
    "severity": (
        ("security_advisory", "severity"), ("rule", "security_severity_level"), ("rule", "severity"), ("severity",),
    ),
}  # fmt: skip
# Conclusion or state → severity.
_SEVERITIES = {
    "failure": "error", "error": "error", "timed_out": "error", "startup_failure": "error",
    "action_required": "warning", "cancelled": "warning", "stale": "warning", "changes_requested": "warning",
}  # fmt: skip
# The words of alerts → severity.
_ALERTS = {"critical": "critical", "high": "error", "error": "error", "medium": "warning", "moderate": "warning"}
_REVIEWS = {  # Gitea's words of a review → GitHub's
    "pull_request_review_approved": "approved",
    "pull_request_review_rejected": "changes_requested",
    "pull_request_review_comment": "commented",
}
# A state or status that tells nothing beside the action.
_PLAIN = frozenset({"open", "completed", "created"})
_REFS = {"refs/heads/": "branch", "refs/tags/": "tag"}


def event_message(event: str, delivery: str, payload: Mapping[str, Any]) -> JsonObject:
    """The message of an event for everyone in the configuration, as a JSON object without `producer`."""
    about = _About(event, payload)
    labels = about.labels()
    where = {"in": "repository", "on": "branch" if "branch" in labels else "tag", "to": "environment", "by": "actor"}
    text = " ".join(
        [labels[name] for name in ("event", "action") if name in labels]
        + [f"{word} {labels[name]}" for word, name in where.items() if name in labels]
    )
    details = ": ".join(dict.fromkeys(filter(None, (about.title(), *about.outcome(labels)))))
    link = about.link()
    message: JsonObject = {
        "id": delivery,
        "content": text + (f": {details}" if details else "") + (f" ({link})" if link else ""),
        "labels": labels,
    }
    if link:
        message["url"] = link
    severity = about.severity(labels)
    if severity is not None:
        message["severity"] = severity
    actor = known_login(payload.get("sender"))
    if actor:
        message["sender"] = actor
    return utf8_only(message)


class _About:
    """What a payload is about: the object that the event is called after, or the first known one, or the payload itself."""

    def __init__(self, event: str, payload: Mapping[str, Any]) -> None:
        self._event = event
        self._payload = payload
        names = (event, *_SUBJECTS)
        found = (payload[name] for name in names if isinstance(payload.get(name), dict))
        self._subject: Mapping[str, Any] = payload if event == "status" else next(found, {})
        self._owners = [payload[name] for name in _OWNERS if isinstance(payload.get(name), dict)]

    def labels(self) -> dict[str, str]:
        """The labels, those of every message first."""
        payload = self._payload
        labels = {
            "event": self._event,
            "action": text_at(payload, "action"),
            "actor": text_at(payload, "sender", "login"),
            "repository": text_at(payload, "repository", "full_name"),
        }
        if self._event != "repository":
            labels |= {name: _first(self._subject, paths) for name, paths in _LABELS.items()}
        labels |= {"number": self._number(), **self._refs()}
        if self._event == "status":
            labels["name"] = None  # the repository's
        if labels.get("environment") is None:
            labels["environment"] = text_at(payload, "deployment", "environment") or text_at(payload, "environment")
        if labels.get("state") is None:
            labels["state"] = _REVIEWS.get(text_at(payload, "review", "type") or "")
        if labels.get("workflow") is None:
            labels["workflow"] = text_at(payload, "workflow", "name")
        return {name: _short(value) for name, value in labels.items() if value is not None}

    def title(self) -> str:
        """The first line of the subject's title, or of that of what it belongs to."""
        if self._event == "repository":
            return ""
        found = (_first(one, _TITLES if one is not self._payload else (("context",),)) for one in self._titled())
        title = next(filter(None, found), None) or text_at(self._payload, "head_commit", "message") or ""
        return _line(title)

    def outcome(self, labels: Mapping[str, str]) -> Iterator[str]:
        """How it ended, in GitHub's words, and what GitHub or the sender says of it."""
        ended = labels.get("conclusion") or labels.get("state") or labels.get("status") or ""
        if ended not in _PLAIN and ended != labels.get("action"):
            yield ended
        if labels.get("state_reason", "completed") not in _PLAIN:
            yield labels["state_reason"]
        if self._event in ("status", "deployment_status"):
            yield _short(text_at(self._subject, "description") or "")
        if self._event == "workflow_job":
            yield _short(", ".join(self._failed_steps()))
        if self._event == "check_run":
            yield _line(text_at(self._subject, "output", "title"))
        yield _line(_first(self._payload, _BODIES))
        if self._event == "push":
            yield from (name for name in ("created", "deleted", "forced") if self._payload.get(name) is True)
        former = former_name(self._payload)
        if former is not None:
            yield f"was {_short(former)}"

    def severity(self, labels: Mapping[str, str]) -> str | None:
        """How much it matters; None where the event does not say."""
        if self._event.endswith("alert"):
            return _ALERTS.get(labels.get("severity", ""))
        return _SEVERITIES.get(labels.get("conclusion") or labels.get("state") or "")

    def link(self) -> str | None:
        """The web link that shows most of it."""
        links = [web_link(one, name) for one in (self._subject, *self._owners) for name in _LINKS]
        payload = self._payload
        more = (("commit", "html_url"), ("compare",), ("compare_url",), ("repository", "html_url"))
        return next(filter(None, [*links, *(web_link(payload, *path) for path in more)]), None)

    def _failed_steps(self) -> Iterator[str]:
        steps = self._subject.get("steps")
        for step in steps if isinstance(steps, list) else []:
            name = text_at(step, "name")
            if name is not None and text_at(step, "conclusion") == "failure":
                yield name

    def _titled(self) -> list[Mapping[str, Any]]:
        return [self._subject, *self._owners]

    def _number(self) -> str | None:
        for one in self._titled():
            number = one.get("number")
            if type(number) is int and 0 <= number < 2**53:  # True is an int too
                return str(number)
        return None

    def _refs(self) -> dict[str, str | None]:
        """The branch or tag that it happened on."""
        payload, subject = self._payload, self._subject
        branches = payload.get("branches")
        of_status = branches if isinstance(branches, list) else []
        ref = text_at(payload, "ref") or text_at(payload, "deployment", "ref") or text_at(subject, "ref")
        if ref is not None:
            kind = text_at(payload, "ref_type") or "branch"
            for prefix, name in _REFS.items():
                if ref.startswith(prefix):
                    kind, ref = name, ref.removeprefix(prefix)
            return {kind: ref} if kind in ("branch", "tag") else {}
        named = filter(None, (text_at(branch, "name") for branch in of_status))
        return {
            "branch": text_at(subject, "head_branch")
            or text_at(subject, "check_suite", "head_branch")
            or text_at(payload, "pull_request", "head", "ref")
            or ",".join(named)
            or None
        }


def _first(value: object, paths: tuple[tuple[str, ...], ...]) -> str | None:
    return next(filter(None, (text_at(value, *path) for path in paths)), None)


def _line(text: str | None) -> str:
    """The first line of a text, bounded."""
    return _short((text or "").strip().partition("\n")[0])


def _short(text: str) -> str:
    return one_line(text.replace("\0", ""), _MAX_TEXT)
