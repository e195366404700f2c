"""A pull request as GitHub's API and webhooks give it, and the messages that are made of one. No I/O.

What is null or absent is nothing: nobody assigned, no label, no author. What is of another type than GitHub's is nothing
too, but for what decides who is told and which pull request it is: `number`, `assignees` and the logins in it.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec

from notifier import JsonObject
from notifier.bounds import in_range
from notifier.errors import FieldError, InputError, InvalidRecord
from notifier.pointer import pointer
from notifier.record import rfc3339
from producers.github.account import known_login, login_in
from producers.github.payload import kind_of, text_at, utf8_only, web_link
from producers.github.team import Team, read_team

_MAX_NUMBER = 2**53
_KEPT_CHARACTERS = 100_000  # of a pull request that cannot be read, in its dead letter


class PullRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The fields of a pull request that messages are made of; all others are ignored."""

    number: int
    title: str
    html_url: str | None
    author: str | None  # login; none: the account was deleted
    labels: tuple[str, ...]  # names
    assignees: tuple[str, ...]  # logins
    reviewers: tuple[str, ...]  # logins of those who are asked for a review and have not given it
    teams: tuple[Team, ...]  # that are asked for one
    updated_at: datetime | None
    draft: bool
    state: str | None  # open, closed or merged
    branch: str | None  # that the changes are on
    base: str | None  # the branch that they are for


def read_pull(value: object, *place: str) -> PullRequest:
    """A pull request out of parsed JSON. Raises InputError for what cannot be told; `place` is where it stands."""
    if not isinstance(value, dict):
        raise InputError(
            FieldError(pointer(place), f"must be a pull request, which is a JSON object, not {kind_of(value)}")
        )
    number = value.get("number")
    if type(number) is not int or not 0 <= number < _MAX_NUMBER:  # True is an int too
        raise InputError(FieldError(pointer((*place, "number")), "must be a whole number that is not negative"))
    return PullRequest(
        number=number,
        title=text_at(value, "title") or f"Pull request {number}",
        html_url=web_link(value, "html_url"),
        author=known_login(value.get("user")),
        labels=_labels(value.get("labels")),
        assignees=_assignees(value.get("assignees"), (*place, "assignees")),
        reviewers=_reviewers(value.get("requested_reviewers")),
        teams=_teams(value.get("requested_teams")) or _teams(value.get("requested_reviewers_teams")),  # Gitea's
        updated_at=_time(value.get("updated_at")),
        draft=value.get("draft") is True,
        state="merged" if value.get("merged") is True else text_at(value, "state"),
        branch=text_at(value, "head", "ref"),
        base=text_at(value, "base", "ref"),
    )


def read_pulls(values: Sequence[object]) -> list[PullRequest | InvalidRecord]:
    """The pull requests of a list. One that cannot be read is an InvalidRecord that names it."""
    return [_read_one(value) for value in values]


def _read_one(value: object) -> PullRequest | InvalidRecord:
    try:
        return read_pull(value)
    except InputError as error:
        number = value.get("number") if isinstance(value, dict) else None
        name = f"pull request {number}" if type(number) is int and 0 <= number < _MAX_NUMBER else "a pull request"
        try:
            data = json.dumps(value)[:_KEPT_CHARACTERS].encode()  # in ASCII, lone surrogates escaped
        except RecursionError:
            data = None
        return InvalidRecord(f"{name} cannot be read: {error}", data)


def pull_messages(
    pull: PullRequest, repository: str, receivers: Mapping[str | None, str | None] | None = None, prefix: str = ""
) -> list[JsonObject]:
    """A message for each receiver, as `pull_message` makes it, with the id `<prefix><number>-<receiver>`.

    `receivers`: who they are, and the label `role` of each; by default the assignees, without one. None is everyone.
    """
    found = dict.fromkeys(pull.assignees) if receivers is None else receivers
    messages = []
    for receiver, role in found.items():
        id_ = f"{prefix}{pull.number}" + ("" if receiver is None else f"-{receiver}")
        message = pull_message(pull, repository, receiver, id_)
        if role is not None:
            message["labels"]["role"] = role
        messages.append(message)
    return messages


def pull_message(pull: PullRequest, repository: str | None, receiver: str | None, id_: str) -> JsonObject:
    """The message about a pull request for one receiver, or for everyone, as a JSON object without `producer`."""
    names = ",".join(pull.labels)
    labels = {
        "repository": repository,
        "number": str(pull.number),
        "draft": "true" if pull.draft else "false",
        "labels": names,
        "state": pull.state,
        "branch": pull.branch,
        "base": pull.base,
    }
    link = "" if pull.html_url is None else f" ({pull.html_url})"
    message: JsonObject = {
        "id": id_,
        "title": pull.title,
        "content": f"{pull.title}{link}\nLabels: {names}",
        "labels": {name: value for name, value in labels.items() if value is not None},
    }
    if receiver is not None:
        message["receiver"] = receiver
    if pull.html_url is not None:
        message["url"] = pull.html_url
    if pull.author is not None:
        message["sender"] = pull.author
    if pull.updated_at is not None:
        message["occurred_at"] = rfc3339(pull.updated_at)
    return utf8_only(message)


def _assignees(value: object, place: tuple[str, ...]) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list):
        raise InputError(FieldError(pointer(place), f"must be a list of accounts, not {kind_of(value)}"))
    logins = [login_in(account, *place, str(position)) for position, account in enumerate(value)]
    return tuple(login for login in logins if login is not None)


def _reviewers(value: object) -> tuple[str, ...]:
    """Who is asked for a review; what is no account is nobody, since most people do not hear of reviewers."""
    logins = map(known_login, value if isinstance(value, list) else [])
    return tuple(login for login in logins if login is not None)


def _teams(value: object) -> tuple[Team, ...]:
    teams = map(read_team, value if isinstance(value, list) else [])
    return tuple(team for team in teams if team is not None)


def _labels(value: object) -> tuple[str, ...]:
    labels = value if isinstance(value, list) else []
    names = [label if isinstance(label, str) else text_at(label, "name") for label in labels]
    return tuple(name for name in names if name)


def _time(value: object) -> datetime | None:
    try:
        time = msgspec.convert(value, datetime, strict=True)
    except (msgspec.ValidationError, UnicodeEncodeError):
        return None
    return time if time.tzinfo is not None and in_range(time) else None
