"""Each built-in producer that asks a service keeps the contract, against that service on loopback."""

import json

import pytest
from pydantic import SecretStr

from notifier.testing import PullCase, Reply, context_for, hold_producer, pull_cases, serving
from producers.github import GitHub, GitHubParameters

_PULL = {
    "number": 7,
    "title": "Mend it",
    "html_url": "https://github.com/octo-org/hello/pull/7",
    "user": {"login": "mona"},
    "assignees": [{"login": "octocat"}, {"login": "hubot"}],
    "updated_at": "2026-11-23T12:00:00Z",
}
_GITHUB = pull_cases(
    ok=Reply(body=json.dumps([_PULL, {"number": None}]).encode(), headers={"Content-Type": "application/json"}),
    messages=2,
)


@pytest.mark.parametrize("case", _GITHUB, ids=str)
async def test_github(case: PullCase) -> None:
    async with serving() as service:
        parameters = GitHubParameters(repository="octo-org/hello", token=SecretStr("ghp_canary0123456789"))
        await hold_producer(GitHub(parameters), case, service, context_for("pulls", github=service.url))
