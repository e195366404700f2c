"""GitHub's webhooks: the messages that an event becomes. No I/O; HTTP and the signature are the control API's.

    event, action                                  messages
    ping                                           none
    pull_request opened, reopened,
                 ready_for_review                  one for each assignee, as `producers.github.github` makes them
    pull_request assigned                          one for the new assignee
    pull_request review_requested                  one for the reviewer; titled "Review requested". A team is `my-org/its-slug`
    pull_request closed                            one for each assignee; titled "Merged" or "Closed"
    pull_request of another action                 none
    any other event                                a short one for everyone; GitHub's settings choose which events are sent

What is for each assignee is for everyone in the configuration where nobody is assigned, unless that is to be skipped. Gitea and
Forgejo send the same but for some names, which are read as GitHub's. Each message has the labels `event`,
`action` and `actor` (the login of the person who acted), for filters.
"""

import re  # for our own constant patterns
from collections.abc import Mapping, Sequence
from typing import Any

from notifier import JsonObject
from notifier.errors import FieldError, InputError
from producers.github.account import login_in
from producers.github.event import event_message
from producers.github.payload import text_at, utf8_only
from producers.github.pull_request import PullRequest, pull_message, read_pull

_TO_ASSIGNEES = frozenset({"opened", "reopened", "ready_for_review", "closed"})
# Action → the member of the payload that it is told to.
_TO_ONE = {"assigned": "assignee", "review_requested": "requested_reviewer"}


# Gitea's names of events → GitHub's.
_REVIEWS = frozenset({"pull_request_approved", "pull_request_rejected", "pull_request_comment"})
_SENDERS = ("github", "gitea", "forgejo", "gogs")
_WORD = re.compile(r"[A-Za-z0-9_.-]{1,100}")


def event_of(headers: Mapping[str, str]) -> tuple[str, str]:
    """The event and the id of the delivery, of headers whose names are in lower case. Raises InputError without them."""
    found = []
    for name in ("event", "delivery"):
        values = (headers.get(f"x-{sender}-{name}", "") for sender in _SENDERS)
        value = next(filter(None, values), "")
        if not _WORD.fullmatch(value):
            what = f"the header X-GitHub-{name.capitalize()} is missing, or is not what GitHub and Gitea send"
            raise InputError(FieldError("", what))
        found.append(value)
    return found[0], found[1]


def read_webhook(
    event: str, delivery: str, payload: Mapping[str, Any], unassigned: str | None = None
) -> list[JsonObject]:
    """The messages of one webhook delivery, as JSON objects without `producer`; the table at the top says which.

    `event` is the header `X-GitHub-Event`, `delivery` the header `X-GitHub-Delivery`. `unassigned`: `skip` where a pull request
    that nobody is assigned to is not told. A message's id is `delivery`, followed by `-<receiver>` where there are several
    messages. Raises InputError that names the missing or wrong field.
    """
    if event in _REVIEWS:
        event = "pull_request_review"
    if event == "ping":
        return []
    if event != "pull_request":
        return [event_message(event, delivery, payload)]
    action = text_at(payload, "action")
    if action is None:
        raise InputError(FieldError("/action", "must be a text, such as opened"))
    if action not in _TO_ASSIGNEES and action not in _TO_ONE:
        return []
    pull = read_pull(payload.get("pull_request"), "pull_request")
    receivers = _receivers(action, pull, payload)
    if unassigned == "skip" and receivers == [None]:
        return []
    messages = []
    for receiver in receivers:
        id_ = delivery if len(receivers) == 1 else f"{delivery}-{receiver}"
        message = pull_message(pull, text_at(payload, "repository", "full_name"), receiver, id_)
        message["labels"] |= {"event": event, "action": action}
        actor = text_at(payload, "sender", "login")
        if actor is not None:
            message["labels"]["actor"] = actor
        if action == "review_requested":
            message["title"] = "Review requested"
        elif action == "closed":
            message["title"] = "Merged" if pull.state == "merged" else "Closed"
        messages.append(utf8_only(message))
    return messages


def _receivers(action: str, pull: PullRequest, payload: Mapping[str, Any]) -> Sequence[str | None]:
    """The logins to tell, each once, or a team; None: everyone."""
    member = _TO_ONE.get(action)
    if member is None:
        return list(dict.fromkeys(pull.assignees)) or [None]
    login = login_in(payload.get(member), member)
    if login is not None:
        return [login]
    if action == "review_requested":
        team = _team(payload)
        owner = (text_at(payload, "repository", "full_name") or "").partition("/")[0]
        return [team] if team is not None else [one.name(owner) for one in pull.teams if _is_gitea(payload)]
    # Gitea does not say who was assigned last.
    return list(dict.fromkeys(pull.assignees)) if member not in payload else []


def _is_gitea(payload: Mapping[str, Any]) -> bool:
    """Whether Gitea or Forgejo sent it, which do not say which team is asked."""
    pull = payload.get("pull_request")
    return isinstance(pull, Mapping) and "requested_reviewers_teams" in pull


def _team(payload: Mapping[str, Any]) -> str | None:
    """The team that is asked for a review, as GitHub mentions it; None: there is none, or it has no such name."""
    slug = text_at(payload, "requested_team", "slug")
    owner = text_at(payload, "organization", "login") or text_at(payload, "repository", "owner", "login")
    return None if slug is None or owner is None else f"{owner}/{slug}"
