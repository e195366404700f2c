"""Listing: the open pull requests of a repository or of an organization's, page by page. Unchanged pages are not sent again."""

from collections.abc import AsyncIterator

import msgspec

from notifier import Permanent, Retryable
from notifier.errors import DeliveryError, InvalidRecord
from producers.github.api import Answer, GitHubClient
from producers.github.payload import kind_of
from producers.github.pull_request import PullRequest, read_pulls
from producers.github.repository import Repository, is_repository_name, repository_of

PAGE = 100  # pull requests a page, GitHub's maximum: https://docs.github.com/en/rest/pulls/pulls#list-pull-requests
GITEA_PAGE = 50  # what Gitea gives at most unless its settings say otherwise; it says itself whether there is more
MAX_PAGES = 100
_FAILURES = 3  # repositories after one another that the server fails for; then it is the server

Pulls = list[PullRequest | InvalidRecord]


class Pages:
    """The pages as they were last read, by path; kept from run to run."""

    def __init__(self) -> None:
        self._known: dict[str, _Page] = {}
        self._read: set[str] = set()  # in this run

    def __len__(self) -> int:
        return len(self._known)

    def begin(self) -> None:
        """A run begins."""
        self._read.clear()

    def forget_others(self) -> None:
        """Forgets the pages that this run did not read, which is over now."""
        for path in self._known.keys() - self._read:
            del self._known[path]

    async def pulls(self, github: GitHubClient, repository: str) -> Pulls:
        """The open pull requests of a repository; one that moves to the next page meanwhile counts once.

        Raises as `GitHubClient.get` does, and Permanent where there are too many.
        """
        size = f"limit={GITEA_PAGE}" if github.is_gitea else f"per_page={PAGE}"
        pulls: dict[int, PullRequest] = {}
        odd: list[InvalidRecord] = []
        for number in range(1, MAX_PAGES + 1):
            page = await self._page(github, f"/repos/{repository}/pulls?state=open&{size}&page={number}")
            for pull in page.pulls:
                if isinstance(pull, PullRequest):
                    pulls.setdefault(pull.number, pull)
                else:
                    odd.append(pull)
            if not page.more:
                return [*pulls.values(), *odd]
        raise Permanent(
            "invalid_content",
            f"{repository} has {MAX_PAGES * PAGE} open pull requests or more, and so many are not read",
        )

    async def _page(self, github: GitHubClient, path: str) -> "_Page":
        known = self._known.get(path)
        self._read.add(path)
        answer = await github.get(path, None if known is None else known.etag)
        if answer.unchanged and known is not None:
            # A 304 need not repeat the link to the next page, and a page that did not change may have got a next one.
            pulls, more = known.pulls, answer.more or known.more
        else:
            pulls, more = read_pulls(_list_of(answer, "pull requests")), answer.more
        page = _Page(etag=answer.etag, pulls=pulls, more=more or len(pulls) >= PAGE)
        self._known[path] = page
        return page


class _Page(msgspec.Struct, frozen=True, kw_only=True):
    etag: str | None
    pulls: Pulls
    more: bool


async def repositories_of(github: GitHubClient, organization: str) -> AsyncIterator[Repository | InvalidRecord]:
    """The repositories of an organization that may have open pull requests. Raises as `GitHubClient.get` does."""
    size = f"limit={GITEA_PAGE}" if github.is_gitea else f"type=all&per_page={PAGE}"
    seen: set[object] = set()
    for number in range(1, MAX_PAGES + 1):
        github.subject = f"the organization {organization}"
        answer = await github.get(f"/orgs/{organization}/repos?{size}&page={number}")
        for value in _list_of(answer, "repositories"):
            found = repository_of(value)
            if found is None or not is_repository_name(found.name):
                yield InvalidRecord(f"a repository of {organization} has no name: {kind_of(value)}")
            elif found.id not in seen and _may_have_pulls(value):
                if found.id is not None:
                    seen.add(found.id)
                yield found
        if not answer.more:
            return


async def pulls_of_organization(
    github: GitHubClient, pages: Pages, organization: str
) -> AsyncIterator[tuple[Repository | None, Pulls | None]]:
    """The pull requests of each repository; None: it is not known which. What cannot be read is among them as InvalidRecord.

    A repository that cannot be read costs itself. Raises where the token is refused, a rate limit is used up, or the server
    fails again and again.
    """
    failures = 0
    async for repository in repositories_of(github, organization):
        if isinstance(repository, InvalidRecord):
            yield None, [repository]
            continue
        github.subject = f"the repository {repository.name}"
        try:
            pulls = await pages.pulls(github, repository.name)
        except DeliveryError as error:
            failures += isinstance(error, Retryable)
            if error.reason in ("unauthorized", "rate_limited", "connection") or failures >= _FAILURES:
                raise
            yield repository, None
            yield None, [InvalidRecord(f"the repository {repository.name} cannot be read: {error}")]
        else:
            failures = 0
            yield repository, pulls


def _may_have_pulls(value: object) -> bool:
    """Whether it is worth a request. GitHub counts pull requests among the issues, Gitea by themselves."""
    if not isinstance(value, dict):
        return False
    count = value.get("open_pr_counter", value.get("open_issues_count"))
    closed = value.get("archived") is True or value.get("disabled") is True or value.get("has_pull_requests") is False
    return not closed and not (type(count) is int and count == 0)


def _list_of(answer: Answer, what: str) -> list[object]:
    if not isinstance(answer.data, list):
        raise Retryable("server_error", f"the answer is not a list of {what} as the API says")
    return answer.data
