"""GitHub: a producer that asks for the open pull requests of a repository or an organization and tells those concerned.

HTTP and rate limits are `producers.github.api`'s, pages `.listing`'s, the messages `.pull_request`'s, what was told before
`.told`'s, teams `.team`'s, and webhooks, which the control API takes in, `.webhook`'s.
"""

import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from functools import partial
from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, ConfigDict, Field, SecretStr, ValidationInfo, field_validator

from notifier import (
    Context,
    Hook,
    HookParameters,
    JsonObject,
    Permanent,
    Producer,
    ProxyParameters,
    Received,
    WorldParameters,
)
from notifier.errors import DeliveryError, FieldError, InputError, InvalidRecord
from producers.github.api import BASE_URL, GitHubClient, RateLimits
from producers.github.listing import MAX_PAGES, PAGE, Pages, Pulls, pulls_of_organization
from producers.github.pull_request import PullRequest, pull_messages
from producers.github.renames import Renames, refusal_of_organization
from producers.github.repository import Repository, is_name, is_repository_name, repository_of
from producers.github.team import Teams
from producers.github.told import Told
from producers.github.webhook import event_of, read_webhook

logger = logging.getLogger(__name__)

TIMEOUT_S = 300.0  # of a run: up to MAX_PAGES requests, one after another
ORGANIZATION_TIMEOUT_S = (
    900.0  # some hundred repositories are each a request, of which most cost nothing of the rate limit
)


def _check_repository(value: str) -> str:
    if not is_repository_name(value):
        raise ValueError("must be owner/name, such as octocat/hello-world")
    return value


def _check_organization(value: str) -> str:
    if not is_name(value):
        raise ValueError("must be the login of an organization, such as octo-org")
    return value


def _check_base_url(value: str) -> str:
    try:
        parts = urlsplit(value)
        good = parts.scheme in ("https", "http") and bool(parts.hostname) and parts.port != 0 and value.isprintable()
    except ValueError:
        good = False
    if not good or " " in value or "@" in parts.netloc or parts.query or parts.fragment:
        raise ValueError("must be an address such as https://git.example/api/v1, without a name, a query or a fragment")
    return value.rstrip("/")


def _check_token(value: SecretStr) -> SecretStr:
    text = value.get_secret_value()
    if not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError("must be a token as GitHub shows it: visible ASCII characters, without blanks or line ends")
    return value


class GitHubParameters(WorldParameters, ProxyParameters, HookParameters):
    """Parameters of a GitHub producer."""

    model_config = ConfigDict(
        json_schema_extra={"anyOf": [{"required": ["repository"]}, {"required": ["organization"]}]}
    )
    addresses: ClassVar[Mapping[str, Sequence[str]] | None] = {"proxy": ["token"], "base_url": ["token"]}

    organization: Annotated[str, AfterValidator(_check_organization)] | None = Field(
        None,
        max_length=100,
        description="In place of a repository: all those of an organization.",
        examples=["octo-org"],
    )
    repository: Annotated[str, AfterValidator(_check_repository)] | None = Field(
        None,
        max_length=200,
        validate_default=True,
        description="The repository, as owner/name; one of the two is required.",
        examples=["octocat/hello-world"],
    )
    base_url: Annotated[str, AfterValidator(_check_base_url)] | None = Field(
        None,
        max_length=500,
        description="Address of the API, in place of NOTIFIER_GITHUB_API. One that ends with /api/v1 is of Gitea or Forgejo.",
        examples=["https://git.example/api/v1"],
    )
    tell: tuple[Literal["assignees", "reviewers"], ...] = Field(
        ("assignees",),
        min_length=1,
        max_length=2,
        description="Whom a run tells of a pull request; teams are reviewers.",
    )
    unassigned: Literal["tell", "skip"] | None = Field(
        None,
        description="What becomes of a pull request that nobody is to be told of: told to everyone of the configuration, or"
        " not at all. By default webhooks tell and runs skip.",
    )
    only_changed: bool = Field(
        False, description="Whether a run tells only what is new or has changed since the one before."
    )
    token: Annotated[SecretStr, AfterValidator(_check_token)] | None = Field(
        None,
        min_length=1,
        description="Token that may read its pull requests; without one GitHub shows public ones, 60 requests an hour.",
    )

    @field_validator("repository")
    @classmethod
    def _check_one(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is None and info.data.get("organization") is None and "organization" in info.data:
            raise ValueError("is required, as owner/name, unless there is an `organization`")
        if value is not None and info.data.get("organization") is not None:
            raise ValueError("must not stand beside an `organization`")
        return value


class GitHub(Producer[GitHubParameters]):
    """Asks GitHub for open pull requests of a repository or an organization: a message to each person concerned, by the author.

    `produce` answers `{"id": "42-octocat", "sender": "author", "receiver": "octocat", "title": "Fix it",
    "url": "https://github.com/owner/name/pull/42", "content": "Fix it (https://github.com/owner/name/pull/42)\\nLabels: bug,ui",
    "occurred_at": <last change>, "labels": {"repository", "number", "draft", "labels": "bug,ui"}}`; of an organization, the id
    begins with `<repository>/`. All pages are read, 10,000 pull requests at most; pages that did not change since the last run
    cost nothing of the rate limit.
    """

    type = "github"
    world = "github"
    tells_labels = True
    doors = ("github", "gitea", "forgejo")
    Parameters = GitHubParameters

    def __init__(self, parameters: GitHubParameters) -> None:
        super().__init__(parameters)
        self._limits = RateLimits()
        self._pages = Pages()
        self._renames = Renames()
        self._new_name: str | None = None  # of a repository that was renamed

    def timeout_s(self) -> float:
        """Seconds that reading all pages may take."""
        return TIMEOUT_S if self.parameters.organization is None else ORGANIZATION_TIMEOUT_S

    async def produce(self, context: Context) -> list[Any]:
        """The messages about all open pull requests, and an InvalidRecord for each that cannot be read.

        With `only_changed`, those that a run before did not tell as they are now. Raises Permanent and Retryable as
        `producers.github.api` says.
        """
        self._pages.begin()
        wanted = self.parameters
        told = Told(context.cursor, [wanted.tell, wanted.unassigned]) if wanted.only_changed else None
        notices: list[str] = []
        given: list[Any] = []
        read = 0
        async with self._client(context) as github:
            teams = Teams(github, context.knows, notices.append)
            async for repository, pulls in self._pulls(github):
                if pulls is None:
                    assert repository is not None
                    if told is not None:
                        told.could_not_read(repository)
                    continue
                for pull in pulls:
                    if isinstance(pull, InvalidRecord):
                        given.append(pull)
                        continue
                    if told is None or told.is_new(repository, pull):
                        given += await self._messages(pull, repository, teams)
                read += len(pulls)
                if read > MAX_PAGES * PAGE:
                    raise Permanent(
                        "invalid_content",
                        f"{github.subject} and those before it have {read} open pull requests"
                        f", and not more than {MAX_PAGES * PAGE} are read",
                    )
            if github.redirected and wanted.repository is not None:
                notices.append(await self._new_name_of(github, wanted.repository, context.name))
        self._pages.forget_others()
        if told is not None:
            context.keep(told.state())
        if notices:
            context.notice("; ".join(dict.fromkeys(notices)))
        return given

    async def _pulls(self, github: GitHubClient) -> AsyncIterator[tuple[Repository | None, Pulls | None]]:
        """The pull requests, by repository where there are several; see `pulls_of_organization`."""
        if self.parameters.repository is not None:
            yield None, await self._pages.pulls(github, self.parameters.repository)
        elif self.parameters.organization is not None:
            async for found in pulls_of_organization(github, self._pages, self.parameters.organization):
                yield found

    async def _messages(self, pull: PullRequest, repository: Repository | None, teams: Teams) -> list[JsonObject]:
        name = self.parameters.repository if repository is None else repository.name
        assert name is not None
        roles: dict[str, list[str]] = {}
        if "assignees" in self.parameters.tell:
            for login in pull.assignees:
                roles.setdefault(login, []).append("assignee")
        if "reviewers" in self.parameters.tell:
            reviewers = [*pull.reviewers]
            for team in pull.teams:
                reviewers += await teams.receivers(team, name.partition("/")[0])
            for login in dict.fromkeys(reviewers):
                roles.setdefault(login, []).append("reviewer")
        says_role = "reviewers" in self.parameters.tell
        receivers: dict[str | None, str | None] = {
            login: ",".join(dict.fromkeys(found)) if says_role else None for login, found in roles.items()
        }
        if not receivers and self.parameters.unassigned == "tell":
            receivers = {None: None}
        return pull_messages(pull, name, receivers, "" if repository is None else f"{name}/")

    async def received(self, hook: Hook, context: Context) -> Received:
        """The messages of a webhook, as `producers.github.webhook` says.

        One of another repository than the parameters name is passed over. Raises InputError.
        """
        if not isinstance(hook.payload, dict):
            raise InputError(FieldError("", "must be a JSON object, as GitHub and Gitea send it"))
        event, delivery = event_of(hook.headers)
        refusal = await self.refusal(hook.payload, context)
        if refusal is not None:
            return Received(detail=refusal)
        return Received(messages=read_webhook(event, delivery, hook.payload, self.parameters.unassigned))

    async def refusal(self, payload: Mapping[str, Any], context: Context) -> str | None:
        """Why a webhook is not about the repository or organization of this producer, in words; None: it is."""
        if self.parameters.organization is not None:
            return refusal_of_organization(context.name, self.parameters.organization, payload)
        name = self.parameters.repository or ""
        return await self._renames.refusal(context.name, name, payload, lambda: self.repository(context))

    async def check(self, context: Context) -> None:
        """Whether GitHub shows the repository and its pull requests to the token; raises as `produce` does."""
        async with self._client(context) as github:
            if self.parameters.organization is not None:
                await github.get(f"/orgs/{self.parameters.organization}/repos?per_page=1")
                return
            path = f"/repos/{self.parameters.repository}"
            await github.get(path)  # first, because its errors are the plainest
            await github.get(f"{path}/pulls?per_page=1")

    async def repository(self, context: Context) -> Repository | None:
        """What GitHub says that the repository's name leads to now; None where it does not say.

        Raises as `produce` does.
        """
        async with self._client(context) as github:
            return repository_of((await github.get(f"/repos/{self.parameters.repository}")).data)

    async def _new_name_of(self, github: GitHubClient, name: str, producer: str) -> str:
        """A line that says the new name; it is asked for, and logged, once."""
        if self._new_name is None:
            try:
                found = repository_of((await github.get(f"/repos/{name}")).data)
            except DeliveryError:
                found = None  # the pull requests were read all the same
            self._new_name = "known under another name" if found is None else found.name
            logger.warning(
                "The repository %s of the producer %s is %s now; write that as its `repository`.",
                name,
                producer,
                self._new_name,
                extra={"action": "produce", "producer": producer},
            )
        return f"the repository {name} is {self._new_name} now; write that as its `repository`"

    def _client(self, context: Context) -> GitHubClient:
        token, proxy, written = self.parameters.token, self.parameters.proxy_url(), self.parameters.base_url
        base_url = written or context.services.get("github", BASE_URL)
        own = [] if written else [urlsplit(base_url).hostname or ""]
        judged = written is not None or proxy is not None
        subject = self.parameters.repository or self.parameters.organization
        return GitHubClient(
            base_url=base_url,
            token=None if token is None else token.get_secret_value(),
            limits=self._limits,
            subject=f"the {'repository' if self.parameters.repository else 'organization'} {subject}",
            proxied=partial(context.network.open_session, proxy=proxy, trusted=own) if judged else None,
        )
