"""GitHub: open pull requests for their assignees, asked for or told by a webhook. HTTP is `producers.github.api`'s.

Taking a webhook in and checking its signature is `control_api.rest.github_hook`'s; what it says is turned into messages
here, by `read_webhook`, without any I/O.

What a webhook's event becomes:

    event, action                                  messages
    ping                                           none
    pull_request opened, reopened,
                 ready_for_review                  as when asked for: one for each assignee
    pull_request assigned                          one, for who was assigned
    pull_request review_requested                  one, for the reviewer; titled "Review requested"
    pull_request closed                            one for each assignee; titled "Merged" or "Closed"
    pull_request anything else                     none
    any other                                      one short one for everyone; choose at GitHub which events it sends

Each has the labels `event`, `action` and `actor` (who did it), so that filters can tell them apart.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Annotated, Any

import msgspec
from pydantic import AfterValidator, Field, SecretStr

from notifier import Context, JsonObject, Permanent, Producer, Retryable, WorldParameters
from notifier.errors import FieldError, InputError
from notifier.record import rfc3339
from producers.github.api import BASE_URL, Answer, GitHubClient, Limits

PAGE = 100  # pull requests a page, GitHub's most: https://docs.github.com/en/rest/pulls/pulls#list-pull-requests
MAX_PAGES = 100
TIMEOUT_S = 300.0  # of a run: that many pages, one after the other
_MAX_TEXT = 300  # characters of a title in the text of an event that is not about a pull request

_NAME_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.")


def _check_repository(value: str) -> str:
    parts = value.split("/")
    if len(parts) != 2 or not all(part.strip(".") and _NAME_CHARACTERS.issuperset(part) for part in parts):
        raise ValueError("must be owner/name, such as octocat/hello-world")
    return value


def _check_token(value: SecretStr) -> SecretStr:
    text = value.get_secret_value()
    if not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError("must be a token as GitHub shows it: visible ASCII characters, without blanks or line ends")
    return value


class GitHubParameters(WorldParameters):
    """Parameters of a GitHub producer."""

    repository: Annotated[str, AfterValidator(_check_repository)] = Field(
        max_length=200, description="The repository, as owner/name.", examples=["octocat/hello-world"]
    )
    token: Annotated[SecretStr, AfterValidator(_check_token)] | None = Field(
        None,
        min_length=1,
        description="Token that may read its pull requests; without one GitHub shows public ones, 60 requests an hour.",
    )
    webhook_secret: SecretStr | None = Field(
        None,
        min_length=1,
        description="Secret of the webhook to `/hooks/github/{producer}`; with it that needs no token of Notifier.",
    )


_Login = Annotated[str, msgspec.Meta(min_length=1, max_length=400)]


class _User(msgspec.Struct, frozen=True):
    login: _Login


class _Label(msgspec.Struct, frozen=True):
    name: str


class PullRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What is read of a pull request; GitHub says much more."""

    number: int
    html_url: str
    title: str
    user: _User | None  # the author; none: the account is gone
    labels: tuple[_Label, ...]
    assignees: tuple[_User, ...]
    updated_at: datetime | None = None
    draft: bool = False
    merged: bool | None = None  # only webhooks say it


class GitHub(Producer[GitHubParameters]):
    """Asks GitHub for the open pull requests of a repository: a message to each assignee of each, from the author.

    `produce` answers `{"id": "42-octocat", "sender": "author", "receiver": "octocat", "title": "Fix it",
    "url": "https://github.com/owner/name/pull/42", "content": "Fix it (https://github.com/owner/name/pull/42)\\nLabels: bug,ui",
    "occurred_at": <last change>, "labels": {"repository", "number", "draft", "labels": "bug,ui"}}`. All pages are read, 10,000
    pull requests at most; pages that did not change since the last run cost nothing of the rate limit.
    """

    type = "github"
    world = "github"
    Parameters = GitHubParameters

    def __init__(self, parameters: GitHubParameters) -> None:
        super().__init__(parameters)
        self._limits = Limits()
        self._pages: dict[int, _Page] = {}  # as last read, by number

    def timeout_s(self) -> float:
        """Seconds that reading all pages may take."""
        return TIMEOUT_S

    async def produce(self, context: Context) -> list[JsonObject]:
        """The messages about all open pull requests. Raises Permanent and Retryable as `producers.github.api` says."""
        pulls: dict[int, PullRequest] = {}  # one that moves to the next page while they are read is told once
        async with self._client(context) as github:
            for number in range(1, MAX_PAGES + 1):
                page = await self._read(github, number)
                pulls |= {pull.number: pull for pull in page.pulls if pull.number not in pulls}
                if not page.more:
                    for old in [known for known in self._pages if known > number]:
                        del self._pages[old]
                    return [
                        message
                        for pull in pulls.values()
                        for message in pull_messages(pull, self.parameters.repository)
                    ]
        raise Permanent(
            "invalid_content",
            f"{self.parameters.repository} has {MAX_PAGES * PAGE} open pull requests or more, and so many are not read",
        )

    async def check(self, context: Context) -> None:
        """Whether GitHub shows the repository and its pull requests to the token; raises as `produce` does."""
        path = f"/repos/{self.parameters.repository}"
        async with self._client(context) as github:
            await github.get(path)  # first, because it says most plainly what is wrong
            await github.get(f"{path}/pulls?per_page=1")

    def _client(self, context: Context) -> GitHubClient:
        token = self.parameters.token
        return GitHubClient(
            base_url=context.services.get("github", BASE_URL),
            token=None if token is None else token.get_secret_value(),
            limits=self._limits,
            subject=f"the repository {self.parameters.repository}",
        )

    async def _read(self, github: GitHubClient, number: int) -> "_Page":
        known = self._pages.get(number)
        path = f"/repos/{self.parameters.repository}/pulls?state=open&per_page={PAGE}&page={number}"
        answer = await github.get(path, None if known is None else known.etag)
        if answer.unchanged and known is not None:
            # "Not modified" need not say that there is a next page, and a page that did not change may have got one.
            pulls, more = known.pulls, answer.more or known.more
        else:
            pulls, more = _read_pulls(answer), answer.more
        page = _Page(etag=answer.etag, pulls=pulls, more=more or len(pulls) >= PAGE)
        self._pages[number] = page
        return page


class _Page(msgspec.Struct, frozen=True, kw_only=True):
    etag: str | None
    pulls: list[PullRequest]
    more: bool


def _read_pulls(answer: Answer) -> list[PullRequest]:
    try:
        return msgspec.convert(answer.data, list[PullRequest], strict=True)
    except msgspec.ValidationError as error:
        raise Retryable(
            "server_error", f"GitHub's answer is not a list of pull requests as its API says: {error}"
        ) from None


def pull_text(pull: PullRequest) -> str:
    """`<title> (<web link>)`, and on a line of its own `Labels: <names, with commas and no blanks between them>`."""
    return f"{pull.title} ({pull.html_url})\nLabels: {_names(pull)}"


def pull_messages(pull: PullRequest, repository: str) -> list[JsonObject]:
    """One message for each assignee, as JSON objects without `producer`; none where nobody is assigned."""
    logins = dict.fromkeys(user.login for user in pull.assignees)
    return [_message(pull, repository, login, f"{pull.number}-{login}") for login in logins]


def _message(pull: PullRequest, repository: str, receiver: str, id_: str) -> JsonObject:
    message: JsonObject = {
        "id": id_,
        "receiver": receiver,
        "title": pull.title,
        "url": pull.html_url,
        "content": pull_text(pull),
        "labels": {
            "repository": repository,
            "number": str(pull.number),
            "draft": "true" if pull.draft else "false",
            "labels": _names(pull),
        },
    }
    if pull.user is not None:
        message["sender"] = pull.user.login
    if pull.updated_at is not None and pull.updated_at.tzinfo is not None:
        message["occurred_at"] = rfc3339(pull.updated_at)
    return _plain(message)


def _names(pull: PullRequest) -> str:
    return ",".join(label.name for label in pull.labels)


def _plain(message: JsonObject) -> JsonObject:
    """The message with lone surrogates, which Python's JSON lets through and no record can hold, replaced."""
    return {name: _plain(part) if isinstance(part, dict) else _utf8(part) for name, part in message.items()}


def _utf8(text: str) -> str:
    return text.encode(errors="replace").decode()


# ---- webhooks

_TO_ASSIGNEES = frozenset({"opened", "reopened", "ready_for_review", "closed"})
# Where an event that is not about a pull request may have its web link and title; the first that is there.
_THINGS = (
    "comment",
    "review",
    "release",
    "issue",
    "discussion",
    "workflow_run",
    "check_run",
    "check_suite",
    "pull_request",
)


class _Repository(msgspec.Struct, frozen=True):
    full_name: str


class _PullRequestEvent(msgspec.Struct, frozen=True, kw_only=True):
    """The payload of a `pull_request` event. https://docs.github.com/en/webhooks/webhook-events-and-payloads#pull_request"""

    action: str
    repository: _Repository
    pull_request: PullRequest
    sender: _User | None = None  # who did it
    assignee: _User | None = None  # with `assigned`
    requested_reviewer: _User | None = None  # with `review_requested`, unless that was a team


def read_webhook(
    event: str, delivery: str, payload: Mapping[str, Any], repository: str | None = None
) -> list[JsonObject]:
    """The messages of a webhook's delivery, as JSON objects without `producer`; the table at the top says which.

    `event` is its `X-GitHub-Event`, `delivery` its `X-GitHub-Delivery`: that is the id of a message that is the only one,
    else it is followed by `-<receiver>`. With `repository`, deliveries about other repositories, as an organization's
    webhook makes them, give none. Raises InputError that names what is missing.
    """
    name = _text(payload, "repository", "full_name")
    if event == "ping" or (repository is not None and name is not None and name.lower() != repository.lower()):
        return []
    if event != "pull_request":
        return [_plain(_event_message(event, delivery, payload, name))]
    try:
        told = msgspec.convert(payload, _PullRequestEvent, strict=True)
    except msgspec.ValidationError as error:
        raise InputError(_where(str(error))) from None
    pull = told.pull_request
    receivers = [user.login for user in _receivers(told)]
    messages = []
    for receiver in dict.fromkeys(receivers):
        id_ = delivery if len(set(receivers)) == 1 else f"{delivery}-{receiver}"
        message = _message(pull, told.repository.full_name, receiver, id_)
        message["labels"] |= {"event": event, "action": told.action}
        if told.sender is not None:
            message["labels"]["actor"] = told.sender.login
        if told.action == "review_requested":
            message["title"] = "Review requested"
        elif told.action == "closed":
            message["title"] = "Merged" if pull.merged else "Closed"
        messages.append(message)
    return messages


def _receivers(told: _PullRequestEvent) -> Iterable[_User]:
    if told.action == "assigned":
        one = told.assignee
    elif told.action == "review_requested":
        one = told.requested_reviewer
    else:
        return told.pull_request.assignees if told.action in _TO_ASSIGNEES else ()
    return () if one is None else (one,)


def _event_message(event: str, delivery: str, payload: Mapping[str, Any], repository: str | None) -> JsonObject:
    """`release published in owner/name by octocat: 1.0 (https://…)`."""
    action, actor = _text(payload, "action"), _text(payload, "sender", "login")
    thing: Mapping[str, Any] = next((payload[name] for name in _THINGS if isinstance(payload.get(name), dict)), {})
    url = _text(thing, "html_url") or _text(payload, "compare") or _text(payload, "repository", "html_url")
    subject = _text(thing, "title") or _text(thing, "name") or _text(payload, "head_commit", "message") or ""
    subject = subject.partition("\n")[0].strip()[:_MAX_TEXT]
    text = event if action is None else f"{event} {action}"
    if repository is not None:
        text += f" in {repository}"
    if actor is not None:
        text += f" by {actor}"
    labels = {"event": event, "action": action, "actor": actor, "repository": repository}
    message: JsonObject = {
        "id": delivery,
        "content": text + (f": {subject}" if subject else "") + (f" ({url})" if url else ""),
        "labels": {name: value for name, value in labels.items() if value is not None},
    }
    if url:
        message["url"] = url
    if actor and len(actor) <= 400:
        message["sender"] = actor
    return message


def _text(value: object, *path: str) -> str | None:
    """The text at a path of a payload, which is anybody's; None where there is none."""
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value if isinstance(value, str) and value else None


def _where(text: str) -> FieldError:
    """msgspec's finding, "Object missing required field `login` - at `$.pull_request.user`", with a JSON Pointer."""
    what, _, place = text.partition(" - at `$")
    pointer = "".join(
        f"/{part}" for part in place.removesuffix("`").replace("[", ".").replace("]", "").split(".") if part
    )
    return FieldError(pointer, what)
