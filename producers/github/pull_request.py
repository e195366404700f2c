"""A pull request as GitHub's API and webhooks give it, and the messages that are made of one. No I/O."""

from datetime import datetime
from typing import Annotated

import msgspec

from notifier import JsonObject
from notifier.bounds import in_range
from notifier.record import rfc3339

MAX_LOGIN = 400  # characters; GitHub's own limit is far below

_Login = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_LOGIN)]


class GitHubUser(msgspec.Struct, frozen=True):
    """An account at GitHub: of a person, a bot or an organization."""

    login: _Login


class _Label(msgspec.Struct, frozen=True):
    name: str


class PullRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The fields of a pull request that messages are made of; all others are ignored."""

    number: int
    html_url: str
    title: str
    user: GitHubUser | None  # the author; none: the account was deleted
    labels: tuple[_Label, ...]
    assignees: tuple[GitHubUser, ...]
    updated_at: datetime | None = None
    draft: bool = False
    merged: bool | None = None  # given by webhooks only


def _text(pull: PullRequest) -> str:
    """`<title> (<web link>)`, and on the next line `Labels: <names, separated by commas>`."""
    return f"{pull.title} ({pull.html_url})\nLabels: {_names(pull)}"


def pull_messages(pull: PullRequest, repository: str) -> list[JsonObject]:
    """A message for each assignee, as `pull_message` makes it, with the id `<number>-<login>`."""
    logins = dict.fromkeys(user.login for user in pull.assignees)
    return [pull_message(pull, repository, login, f"{pull.number}-{login}") for login in logins]


def pull_message(pull: PullRequest, repository: str, receiver: str, id_: str) -> JsonObject:
    """The message about a pull request for one receiver, as a JSON object without `producer`."""
    message: JsonObject = {
        "id": id_,
        "receiver": receiver,
        "title": pull.title,
        "url": pull.html_url,
        "content": _text(pull),
        "labels": {
            "repository": repository,
            "number": str(pull.number),
            "draft": "true" if pull.draft else "false",
            "labels": _names(pull),
        },
    }
    if pull.user is not None:
        message["sender"] = pull.user.login
    if pull.updated_at is not None and pull.updated_at.tzinfo is not None and in_range(pull.updated_at):
        message["occurred_at"] = rfc3339(pull.updated_at)
    return utf8_only(message)


def _names(pull: PullRequest) -> str:
    return ",".join(label.name for label in pull.labels)


def utf8_only(message: JsonObject) -> JsonObject:
    """The message with lone surrogates replaced: Python's JSON reads them, and no record can hold them."""
    return {name: utf8_only(part) if isinstance(part, dict) else _utf8(part) for name, part in message.items()}


def _utf8(text: str) -> str:
    return text.encode(errors="replace").decode()
