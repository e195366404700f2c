"""Team: people who are asked for a review together. One that no user or group is called after is asked for its members."""

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

import msgspec

from notifier import Permanent
from producers.github.account import known_login
from producers.github.api import GitHubClient
from producers.github.payload import text_at

_PAGES = 10  # of 100 members, or of 50


class Team(msgspec.Struct, frozen=True, kw_only=True):
    """A team that a pull request names."""

    slug: str
    owner: str | None  # login of the organization, where the team says it
    id: int | None

    def name(self, owner: str | None) -> str:
        """As it is mentioned, `my-org/its-slug`; `owner` is that of the repository."""
        return f"{self.owner or owner or ''}/{self.slug}".removeprefix("/")


def read_team(value: Any) -> Team | None:
    """A team out of parsed JSON; None where it has no name. Gitea's have no slug, and are called by their names."""
    slug = text_at(value, "slug") or text_at(value, "name")
    if slug is None:
        return None
    owner = text_at(value, "organization", "login") or text_at(value, "organization", "username")
    id_ = value.get("id") if isinstance(value, Mapping) else None
    return Team(slug=slug, owner=owner, id=id_ if type(id_) is int else None)


class Teams:
    """Whom the teams of one run stand for. `knows` says whether somebody has a name; `tell` takes what people should know."""

    def __init__(self, github: GitHubClient, knows: Callable[[str], bool], tell: Callable[[str], None]) -> None:
        self._github = github
        self._knows = knows
        self._tell = tell
        self._members: dict[str, tuple[str, ...]] = {}

    async def receivers(self, team: Team, owner: str) -> tuple[str, ...]:
        """The team by its name where that is known, else the logins of its members.

        A team whose members are not shown is told by its name, and that is said. Raises what `GitHubClient.get` raises else.
        """
        name = team.name(owner)
        if self._knows(name):
            return (name,)
        if name not in self._members:
            try:
                self._members[name] = await self._ask(team, owner)
            except Permanent as error:
                if error.reason == "unauthorized":
                    raise
                self._tell(f"the members of the team {name} are not shown, so give its name to a group ({error})")
                self._members[name] = (name,)
        return self._members[name]

    async def _ask(self, team: Team, owner: str) -> tuple[str, ...]:
        github, logins = self._github, dict[str, None]()
        if github.is_gitea:
            path = f"/teams/{team.id}/members?limit=50"
        else:
            path = f"/orgs/{_segment(team.owner or owner)}/teams/{_segment(team.slug)}/members?per_page=100"
        before, github.subject = github.subject, f"the team {team.name(owner)}"
        try:
            for page in range(1, _PAGES + 1):
                answer = await github.get(f"{path}&page={page}")
                members = answer.data if isinstance(answer.data, list) else []
                logins |= {login: None for login in map(known_login, members) if login is not None}
                # Gitea does not always say that there is more.
                if not (answer.more or (github.is_gitea and members)):
                    break
        finally:
            github.subject = before
        return tuple(logins)


def _segment(text: str) -> str:
    """A part of a path that holds nothing but itself."""
    return quote(text.encode(errors="replace"), safe="")
