"""GitHub's webhooks: the messages that an event becomes. No I/O; HTTP and the signature are `control_api.rest.github_hook`'s.

    event, action                                  messages
    ping                                           none
    pull_request opened, reopened,
                 ready_for_review                  one for each assignee, as `producers.github.github` makes them
    pull_request assigned                          one for the new assignee
    pull_request review_requested                  one for the reviewer; titled "Review requested"
    pull_request closed                            one for each assignee; titled "Merged" or "Closed"
    pull_request of another action                 none
    any other event                                a short one for everyone; GitHub's settings choose which events are sent

Each message has the labels `event`, `action` and `actor` (the login of the person who acted), for filters.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from notifier import JsonObject
from notifier.errors import FieldError, InputError
from notifier.pointer import pointer
from producers.github.pull_request import MAX_LOGIN, GitHubUser, PullRequest, pull_message, utf8_only

_MAX_TEXT = 300  # characters of the title of another event than a pull request's
_TO_ASSIGNEES = frozenset({"opened", "reopened", "ready_for_review", "closed"})
# Members of a payload that may hold the web link and title of another event; the first that is there counts.
_SUBJECTS = (
    "comment", "review", "release", "issue", "discussion", "workflow_run", "check_run", "check_suite", "pull_request",
)  # fmt: skip


class _Repository(msgspec.Struct, frozen=True):
    full_name: str


class _PullRequestEvent(msgspec.Struct, frozen=True, kw_only=True):
    """The payload of a `pull_request` event. https://docs.github.com/en/webhooks/webhook-events-and-payloads#pull_request"""

    action: str
    repository: _Repository
    pull_request: PullRequest
    sender: GitHubUser | None = None  # the person who acted
    assignee: GitHubUser | None = None  # given with `assigned`
    requested_reviewer: GitHubUser | None = None  # given with `review_requested`, unless a team is asked


def read_webhook(
    event: str, delivery: str, payload: Mapping[str, Any], repository: str | None = None
) -> list[JsonObject]:
    """The messages of one webhook delivery, as JSON objects without `producer`; the table at the top says which.

    `event` is the header `X-GitHub-Event`, `delivery` the header `X-GitHub-Delivery`. A message's id is `delivery`, followed
    by `-<receiver>` where there are several messages. With `repository`, deliveries about other repositories, such as an
    organization's webhook sends, give no messages. Raises InputError that names the missing or wrong field.
    """
    name = _text(payload, "repository", "full_name")
    if event == "ping" or (repository is not None and name is not None and name.lower() != repository.lower()):
        return []
    if event != "pull_request":
        return [utf8_only(_event_message(event, delivery, payload, name))]
    try:
        pull_event = msgspec.convert(payload, _PullRequestEvent, strict=True)
    except msgspec.ValidationError as error:
        raise InputError(_field_error(str(error))) from None
    pull = pull_event.pull_request
    receivers = [user.login for user in _receivers(pull_event)]
    messages = []
    for receiver in dict.fromkeys(receivers):
        id_ = delivery if len(set(receivers)) == 1 else f"{delivery}-{receiver}"
        message = pull_message(pull, pull_event.repository.full_name, receiver, id_)
        message["labels"] |= {"event": event, "action": pull_event.action}
        if pull_event.sender is not None:
            message["labels"]["actor"] = pull_event.sender.login
        if pull_event.action == "review_requested":
            message["title"] = "Review requested"
        elif pull_event.action == "closed":
            message["title"] = "Merged" if pull.merged else "Closed"
        messages.append(message)
    return messages


def _receivers(pull_event: _PullRequestEvent) -> Iterable[GitHubUser]:
    if pull_event.action == "assigned":
        one = pull_event.assignee
    elif pull_event.action == "review_requested":
        one = pull_event.requested_reviewer
    else:
        return pull_event.pull_request.assignees if pull_event.action in _TO_ASSIGNEES else ()
    return () if one is None else (one,)


def _event_message(event: str, delivery: str, payload: Mapping[str, Any], repository: str | None) -> JsonObject:
    """`release published in owner/name by octocat: 1.0 (https://…)`."""
    action, actor = _text(payload, "action"), _text(payload, "sender", "login")
    subject: Mapping[str, Any] = next((payload[name] for name in _SUBJECTS if isinstance(payload.get(name), dict)), {})
    url = _text(subject, "html_url") or _text(payload, "compare") or _text(payload, "repository", "html_url")
    title = _text(subject, "title") or _text(subject, "name") or _text(payload, "head_commit", "message") or ""
    title = title.partition("\n")[0].strip()[:_MAX_TEXT]
    text = event if action is None else f"{event} {action}"
    if repository is not None:
        text += f" in {repository}"
    if actor is not None:
        text += f" by {actor}"
    labels = {"event": event, "action": action, "actor": actor, "repository": repository}
    message: JsonObject = {
        "id": delivery,
        "content": text + (f": {title}" if title else "") + (f" ({url})" if url else ""),
        "labels": {name: value for name, value in labels.items() if value is not None},
    }
    if url:
        message["url"] = url
    if actor and len(actor) <= MAX_LOGIN:
        message["sender"] = actor
    return message


def _text(value: object, *path: str) -> str | None:
    """The text at a path of an untrusted payload; None where there is no text."""
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value if isinstance(value, str) and value else None


def _field_error(text: str) -> FieldError:
    """msgspec's finding, "Object missing required field `login` - at `$.pull_request.user`", with a JSON Pointer."""
    detail, _, place = text.partition(" - at `$")
    parts = place.removesuffix("`").replace("[", ".").replace("]", "").split(".")
    return FieldError(pointer(filter(None, parts)), detail)
