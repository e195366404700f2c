"""GitHub: a producer that asks for the open pull requests of a repository and makes a message for each assignee.

HTTP and rate limits are `producers.github.api`'s, the messages `producers.github.pull_request`'s, and webhooks, which the
control API takes in, `producers.github.webhook`'s.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Annotated, Any, ClassVar
from urllib.parse import urlsplit

import msgspec
from pydantic import AfterValidator, Field, SecretStr

from notifier import Context, JsonObject, Permanent, Producer, ProxyParameters, Retryable, WorldParameters
from notifier.errors import DeliveryError, InvalidRecord
from producers.github.api import BASE_URL, GitHubClient, RateLimits
from producers.github.pull_request import PullRequest, pull_messages, read_pulls
from producers.github.repository import Repository, repository_of

logger = logging.getLogger(__name__)

PAGE = 100  # pull requests a page, GitHub's maximum: https://docs.github.com/en/rest/pulls/pulls#list-pull-requests
MAX_PAGES = 100
TIMEOUT_S = 300.0  # of a run: up to MAX_PAGES requests, one after another

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


class GitHubParameters(WorldParameters, ProxyParameters):
    """Parameters of a GitHub producer."""

    addresses: ClassVar[Mapping[str, Sequence[str]] | None] = {"proxy": ["token"]}

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


class GitHub(Producer[GitHubParameters]):
    """Asks GitHub for the open pull requests of a repository: a message to each assignee of each, from the author.

    `produce` answers `{"id": "42-octocat", "sender": "author", "receiver": "octocat", "title": "Fix it",
    "url": "https://github.com/owner/name/pull/42", "content": "Fix it (https://github.com/owner/name/pull/42)\\nLabels: bug,ui",
    "occurred_at": <last change>, "labels": {"repository", "number", "draft", "labels": "bug,ui"}}`. All pages are read, 10,000
    pull requests at most; pages that did not change since the last run cost nothing of the rate limit.
    """

    type = "github"
    world = "github"
    tells_labels = True
    Parameters = GitHubParameters

    def __init__(self, parameters: GitHubParameters) -> None:
        super().__init__(parameters)
        self._limits = RateLimits()
        self._pages: dict[int, _PullRequestPage] = {}  # number → as last read
        self._told = False  # that the repository has a new name

    def timeout_s(self) -> float:
        """Seconds that reading all pages may take."""
        return TIMEOUT_S

    async def produce(self, context: Context) -> list[Any]:
        """The messages about all open pull requests, and an InvalidRecord for each that cannot be read.

        Raises Permanent and Retryable as `producers.github.api` says.
        """
        pulls: dict[int, PullRequest] = {}  # by number: one that moves to the next page during the run counts once
        odd: list[InvalidRecord] = []
        async with self._client(context) as github:
            for number in range(1, MAX_PAGES + 1):
                page = await self._read(github, number)
                odd += [pull for pull in page.pulls if isinstance(pull, InvalidRecord)]
                for pull in page.pulls:
                    if isinstance(pull, PullRequest):
                        pulls.setdefault(pull.number, pull)
                if not page.more:
                    for old in [known for known in self._pages if known > number]:
                        del self._pages[old]
                    if github.redirected and not self._told:
                        await self._tell_new_name(github, context.name)
                    return [*self._messages(pulls.values()), *odd]
        raise Permanent(
            "invalid_content",
            f"{self.parameters.repository} has {MAX_PAGES * PAGE} open pull requests or more, and so many are not read",
        )

    def _messages(self, pulls: Iterable[PullRequest]) -> list[JsonObject]:
        return [message for pull in pulls for message in pull_messages(pull, self.parameters.repository)]

    async def check(self, context: Context) -> None:
        """Whether GitHub shows the repository and its pull requests to the token; raises as `produce` does."""
        path = f"/repos/{self.parameters.repository}"
        async with self._client(context) as github:
            await github.get(path)  # first, because its errors are the plainest
            await github.get(f"{path}/pulls?per_page=1")

    async def repository(self, context: Context) -> Repository | None:
        """What GitHub says that the repository's name leads to now; None where it does not say.

        Raises as `produce` does.
        """
        async with self._client(context) as github:
            return repository_of((await github.get(f"/repos/{self.parameters.repository}")).data)

    async def _tell_new_name(self, github: GitHubClient, producer: str) -> None:
        name = self.parameters.repository
        try:
            found = repository_of((await github.get(f"/repos/{name}")).data)
        except DeliveryError:
            found = None  # the pull requests were read all the same
        logger.warning(
            "The repository %s of the producer %s is %s now; write that as its `repository`.",
            name,
            producer,
            "known under another name" if found is None else found.name,
            extra={"action": "produce", "producer": producer},
        )
        self._told = True

    def _client(self, context: Context) -> GitHubClient:
        token, proxy = self.parameters.token, self.parameters.proxy_url()
        base_url = context.services.get("github", BASE_URL)
        own = [urlsplit(base_url).hostname or ""]
        return GitHubClient(
            base_url=base_url,
            token=None if token is None else token.get_secret_value(),
            limits=self._limits,
            subject=f"the repository {self.parameters.repository}",
            proxied=None if proxy is None else partial(context.network.open_session, proxy=proxy, trusted=own),
        )

    async def _read(self, github: GitHubClient, number: int) -> "_PullRequestPage":
        known = self._pages.get(number)
        path = f"/repos/{self.parameters.repository}/pulls?state=open&per_page={PAGE}&page={number}"
        answer = await github.get(path, None if known is None else known.etag)
        if answer.unchanged and known is not None:
            # A 304 need not repeat the link to the next page, and a page that did not change may have got a next one.
            pulls, more = known.pulls, answer.more or known.more
        else:
            if not isinstance(answer.data, list):
                raise Retryable("server_error", "GitHub's answer is not a list of pull requests as its API says")
            pulls, more = read_pulls(answer.data), answer.more
        page = _PullRequestPage(etag=answer.etag, pulls=pulls, more=more or len(pulls) >= PAGE)
        self._pages[number] = page
        return page


class _PullRequestPage(msgspec.Struct, frozen=True, kw_only=True):
    etag: str | None
    pulls: list[PullRequest | InvalidRecord]
    more: bool
