"""Whom a run tells, of which repositories, and what it has told before: against a stub that answers as GitHub or Gitea does."""

from typing import Any

import pytest
from aiohttp import web
from pydantic import ValidationError

from notifier import JsonObject, Permanent, Retryable
from notifier.errors import InvalidRecord
from notifier.message import check_message_object
from notifier.network import Network
from notifier.settings import Settings
from producers.github import GitHub, GitHubParameters
from tests.rigs.github_payloads import ABSENT, ODD, ODD_WITHIN, altered, person, real_pull
from tests.rigs.github_stub import (
    PULLS,
    REPOSITORY,
    TOKEN,
    GitHubStub,
    answering,
    context,
    producer,
    pull,
    said,
    serving,
)
from tests.rigs.runner_rig import define, end_of, messages, running, tick, ticks

TEAM = {"id": 9, "slug": "ops", "name": "Operations"}


def asked_of(number: int = 1, **more: Any) -> JsonObject:
    """A pull request that is assigned to one person, and that another one and a team are to review."""
    return pull(number, requested_reviewers=[person("reviewer")], requested_teams=[TEAM], **more)


def repository(name: str, id_: int, **more: Any) -> JsonObject:
    return {"id": id_, "full_name": f"octo-org/{name}", "open_issues_count": 1, **more}


def told(given: list[Any]) -> list[tuple[str, str | None]]:
    """Who is told what: the ids and receivers of the messages."""
    for message in given:
        if not isinstance(message, InvalidRecord):
            check_message_object({"producer": "reviews", **message})
    return [(one["id"], one.get("receiver")) for one in given if not isinstance(one, InvalidRecord)]


class Cursor:
    """Keeps what a producer keeps, from run to run."""

    def __init__(self, stub: GitHubStub, asking: GitHub) -> None:
        self._stub, self._asking = stub, asking
        self.state: JsonObject | None = None

    async def run(self) -> list[tuple[str, str | None]]:
        kept: list[JsonObject] = []
        given = await self._asking.produce(context(self._stub, cursor=self.state, keep=kept.append))
        (self.state,) = kept
        return told(given)


# --- reviewers and teams ---


async def test_reviewers_are_told_where_that_is_wished(stub: GitHubStub) -> None:
    stub.pages = [[asked_of(), pull(2, requested_reviewers=[person("octocat")]), pull(3, [], requested_reviewers=None)]]
    given = await producer(tell=["assignees", "reviewers"]).produce(context(stub))
    assert [(one["id"], one["labels"]["role"]) for one in given] == [
        ("1-octocat", "assignee"),
        ("1-reviewer", "reviewer"),
        ("1-octo-org/ops", "reviewer"),
        ("2-octocat", "assignee,reviewer"),
    ]
    assert [one["receiver"] for one in given if one["id"].startswith("1")] == ["octocat", "reviewer", "octo-org/ops"]
    alone = await producer(tell=["reviewers"]).produce(context(stub))
    assert [one["id"] for one in alone] == ["1-reviewer", "1-octo-org/ops", "2-octocat"]


async def test_the_members_of_a_team_that_nobody_is_called_after_are_asked_for(stub: GitHubStub) -> None:
    members = [*[person(f"m{number}") for number in range(101)], None, {"login": 5}]
    stub.answer = serving({PULLS: [asked_of(1), asked_of(2)], "/orgs/octo-org/teams/ops/members": members})
    asking = producer(tell=["reviewers"])
    given = told(await asking.produce(context(stub, knows=lambda name: False)))
    names = ["reviewer", *[f"m{number}" for number in range(101)]]
    assert given == [(f"{number}-{name}", name) for number in (1, 2) for name in names]
    assert stub.pages_asked() == ["1", "1", "2"], "a team is asked for once in a run"
    assert all(request.headers["Authorization"] == f"token {TOKEN}" for request in stub.asked)
    known = await asking.produce(context(stub, knows=lambda name: name == "octo-org/ops"))
    assert told(known) == [(f"{n}-{who}", who) for n in (1, 2) for who in ("reviewer", "octo-org/ops")]


async def test_a_team_whose_members_are_not_shown_is_told_by_its_name_and_that_is_said(stub: GitHubStub) -> None:
    stub.answer = serving({PULLS: [asked_of()]})
    notices: list[str] = []
    asking = producer(tell=["reviewers"])
    given = await asking.produce(context(stub, knows=lambda name: False, notice=notices.append))
    assert told(given)[1] == ("1-octo-org/ops", "octo-org/ops")
    assert len(notices) == 1
    assert "the members of the team octo-org/ops are not shown, so give its name to a group" in notices[0]
    for status, kind in ((500, Retryable), (401, Permanent)):  # these hold for all there is
        stub.answer = serving({PULLS: [asked_of()], "/orgs/octo-org/teams/ops/members": answering(status, said("no"))})
        with pytest.raises(kind):
            await producer(tell=["reviewers"]).produce(context(stub, knows=lambda name: False))


async def test_what_nobody_is_to_be_told_of_goes_to_everyone_where_that_is_wished(stub: GitHubStub) -> None:
    stub.pages = [[pull(1, []), pull(2)]]
    assert told(await producer(unassigned="tell").produce(context(stub))) == [("1", None), ("2-octocat", "octocat")]
    assert told(await producer().produce(context(stub))) == [("2-octocat", "octocat")]


async def test_an_odd_reviewer_or_team_is_nobody(stub: GitHubStub) -> None:
    whole = real_pull(1) | {"requested_teams": [TEAM], "requested_reviewers_teams": [TEAM]}
    places = ("requested_reviewers", "requested_teams", "requested_reviewers_teams")
    found = [
        odd
        for instead in (None, ABSENT, *ODD, *ODD_WITHIN)
        for path, odd in altered(whole, instead)
        if path[0] in places and path[-1] in (*places, 0, "login", "slug", "name", "id")
    ]
    pulls = [odd | {"number": number} for number, odd in enumerate(found)]
    stub.answer = serving({PULLS: pulls})
    given = await producer(tell=["assignees", "reviewers"], only_changed=True).produce(context(stub))
    assert not [one for one in given if isinstance(one, InvalidRecord)]
    assert {one["id"].partition("-")[0] for one in given} == {str(one["number"]) for one in pulls}
    told(given)


# --- what was told before ---


async def test_two_runs_over_unchanged_pull_requests_tell_nothing_the_second_time(stub: GitHubStub) -> None:
    cursor = Cursor(stub, producer(only_changed=True))
    stub.pages = [[pull(1), pull(2, title="a \ud800 b"), pull(3, [])]]
    assert len(await cursor.run()) == 2
    assert await cursor.run() == []
    fresh = Cursor(stub, producer(only_changed=True))  # as after a restart
    fresh.state = cursor.state
    assert await fresh.run() == []
    stub.pages = [[pull(1, updated_at="2026-11-23T10:00:00Z"), pull(2, ["hubot"]), pull(3, ["hubot"]), pull(4)]]
    assert [id_ for id_, _ in await fresh.run()] == ["1-octocat", "2-hubot", "3-hubot", "4-octocat"]
    stub.pages = [[pull(4)]]
    assert await fresh.run() == []
    assert fresh.state is not None
    assert list(fresh.state["told"][""]) == ["4"], "what is closed is forgotten"


async def test_who_is_told_is_part_of_what_was_told(stub: GitHubStub) -> None:
    stub.pages = [[asked_of()]]
    first = Cursor(stub, producer(only_changed=True))
    await first.run()
    more = Cursor(stub, producer(only_changed=True, tell=["reviewers"]))
    more.state = first.state
    assert len(await more.run()) == 2


@pytest.mark.parametrize("state", [{}, {"told": 5}, {"told": {"": []}}, {"told": {"": {"1": 5}}}])
async def test_a_cursor_of_another_form_is_none(stub: GitHubStub, state: JsonObject) -> None:
    cursor = Cursor(stub, producer(only_changed=True))
    cursor.state = state
    stub.pages = [[pull(1)]]
    assert await cursor.run() == [("1-octocat", "octocat")]


async def test_two_runs_of_a_configuration(settings: Settings, stub: GitHubStub) -> None:
    """By way of the runner and the topic `cursors`."""
    stub.pages = [[pull(number) for number in range(20)]]
    parameters = {"repository": REPOSITORY, "only_changed": True}
    await define(
        settings,
        producer={"reviews": {"type": "github", "parameters": parameters}},
        configuration={"c": {"producers": ["reviews"]}},
    )
    counts = []
    async with running(settings.model_copy(update={"github_api": stub.url})) as (runner,):
        for at in ("2026-11-23T09:00:00Z", "2026-11-23T10:00:00Z"):
            await runner.accept(await ticks(settings, tick(at=at)))
            run = await end_of(settings, f"c/{at}")
            counts.append((run.state, run.producers[0].messages))
    assert counts == [("done", 20), ("done", 0)]
    assert len(await messages(settings)) == 20


# --- organizations ---


async def test_all_repositories_of_an_organization_are_asked_for(stub: GitHubStub) -> None:
    stub.answer = serving(
        {
            "/orgs/octo-org/repos": [
                repository("one", 1),
                repository("empty", 2, open_issues_count=0),
                repository("old", 3, archived=True),
                repository("no-count", 4, open_issues_count=None),
                repository("../evil", 5),
                None,
                *[repository(f"r{number}", number, open_issues_count=0) for number in range(100, 200)],
                repository("last", 6),
            ],
            "/repos/octo-org/one/pulls": [pull(1), pull(2)],
            "/repos/octo-org/no-count/pulls": [],
            "/repos/octo-org/last/pulls": [pull(1), pull(5) | {"assignees": "everybody"}],
        }
    )
    cursor = Cursor(stub, producer(organization="octo-org", only_changed=True))
    assert await cursor.run() == [
        ("octo-org/one/1-octocat", "octocat"),
        ("octo-org/one/2-octocat", "octocat"),
        ("octo-org/last/1-octocat", "octocat"),
    ]
    assert len(stub.asked) == 5
    assert await cursor.run() == []
    given = await producer(organization="octo-org").produce(context(stub))
    odd = [str(one) for one in given if isinstance(one, InvalidRecord)]
    assert len(odd) == 3
    assert [one["labels"]["repository"] for one in given if not isinstance(one, InvalidRecord)] == [
        "octo-org/one", "octo-org/one", "octo-org/last",
    ]  # fmt: skip


async def test_a_repository_that_cannot_be_read_costs_itself_and_stays_told(stub: GitHubStub) -> None:
    answers: dict[str, Any] = {
        "/orgs/octo-org/repos": [repository("one", 1), repository("two", 2)],
        "/repos/octo-org/one/pulls": [pull(1)],
        "/repos/octo-org/two/pulls": [pull(1)],
    }
    stub.answer = serving(answers)
    asking = producer(organization="octo-org", only_changed=True)
    cursor = Cursor(stub, asking)
    assert len(await cursor.run()) == 2
    for status in (403, 404, 502):
        answers["/repos/octo-org/one/pulls"] = answering(status, said("no"))
        kept: list[JsonObject] = []
        (odd,) = await asking.produce(context(stub, cursor=cursor.state, keep=kept.append))
        assert "the repository octo-org/one cannot be read: GitHub answered" in str(odd)
        (cursor.state,) = kept
    # Under a new name it is the same repository.
    answers["/orgs/octo-org/repos"][0] = repository("renamed", 1)
    answers["/repos/octo-org/renamed/pulls"] = [pull(1)]
    assert await cursor.run() == []


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        pytest.param(answering(401, said("Bad credentials")), "unauthorized", id="401"),
        pytest.param(answering(429, said("slow down")), "rate_limited", id="rate limit"),
        pytest.param(answering(503, said("oops")), "server_error", id="a server that is down"),
    ],
)
async def test_what_holds_for_all_repositories_ends_the_run(stub: GitHubStub, answer: Any, reason: str) -> None:
    names = [f"r{number}" for number in range(20)]
    paths = {f"/repos/octo-org/{name}/pulls": answer for name in names}
    stub.answer = serving({"/orgs/octo-org/repos": [repository(name, i) for i, name in enumerate(names)], **paths})
    kept: list[JsonObject] = []
    with pytest.raises((Permanent, Retryable)) as raised:
        await producer(organization="octo-org", only_changed=True).produce(context(stub, keep=kept.append))
    assert raised.value.reason == reason
    assert len(stub.asked) <= 4
    assert kept == []


# --- renamed ---


async def test_a_new_name_is_said_with_each_run(stub: GitHubStub) -> None:
    async def moved(request: web.Request) -> web.StreamResponse:
        if request.path == f"/repos/{REPOSITORY}":
            return web.json_response({"id": 7, "full_name": "octo-org/new"})
        if request.path == "/repositories/7/pulls":
            return web.json_response([pull(5)])
        return web.Response(status=301, headers={"Location": "/repositories/7/pulls"})

    stub.answer, asking = moved, producer(only_changed=True)
    notices: list[str] = []
    for _ in range(2):
        await asking.produce(context(stub, notice=notices.append))
    said_once = f"the repository {REPOSITORY} is octo-org/new now; write that as its `repository`"
    assert notices == [said_once] * 2


# --- addresses, Gitea and Forgejo ---


async def test_gitea_is_asked_at_its_own_address(stub: GitHubStub) -> None:
    base = f"/api/v1/repos/{REPOSITORY}/pulls"

    async def team_page(request: web.Request) -> web.StreamResponse:  # it does not say that there is a next one
        return web.json_response({"1": [person("member")], "2": [person("last")]}.get(request.query["page"], []))

    team = {"id": 9, "name": "ops", "organization": {"id": 1, "name": "octo-org", "username": "octo-org"}}
    pulls = [pull(number, [], requested_reviewers_teams=[team]) | {"assignees": None} for number in range(1, 52)]
    stub.answer = serving({base: pulls, "/api/v1/teams/9/members": team_page}, page=50)
    asking = producer(base_url=f"{stub.url}/api/v1/", tell=["reviewers"])
    given = await asking.produce(context(stub, knows=lambda name: False, services={}))
    assert [receiver for _, receiver in told(given)[:3]] == ["nobody-asked", "member", "last"]
    assert len(given) == 3 * 51
    assert stub.asked[0].query == {"state": "open", "limit": "50", "page": "1"}
    assert stub.asked[0].headers["Authorization"] == f"token {TOKEN}"
    stub.answer = answering(401, said("user does not exist"))
    with pytest.raises(Permanent, match="Gitea answered 401"):
        await asking.produce(context(stub, services={}))


async def test_an_address_of_a_definition_must_be_public(stub: GitHubStub) -> None:
    with pytest.raises(Permanent, match="does not lead to a public address"):
        await producer(base_url=f"{stub.url}/api/v3").produce(context(stub, network=Network()))
    assert stub.asked == []


@pytest.mark.parametrize(
    ("parameters", "field"),
    [
        ({}, "repository"),
        ({"repository": REPOSITORY, "organization": "octo-org"}, "repository"),
        ({"organization": "octo/org"}, "organization"),
        ({"organization": ".."}, "organization"),
        *(
            ({"repository": REPOSITORY, "base_url": url}, "base_url")
            for url in ("", "git.example", "ftp://git.example", "https://me:planted@git.example/", "https://x/?a", "https://x:0")
        ),
        ({"repository": REPOSITORY, "tell": []}, "tell"),
        ({"repository": REPOSITORY, "tell": ["everybody"]}, "tell"),
    ],
)  # fmt: skip
def test_wrong_parameters_are_refused_by_their_place(parameters: JsonObject, field: str) -> None:
    with pytest.raises(ValidationError) as raised:
        GitHubParameters.model_validate(parameters)
    assert {error["loc"][0] for error in raised.value.errors()} == {field}


async def test_the_check_of_an_organization(stub: GitHubStub) -> None:
    stub.answer = serving({"/orgs/octo-org/repos": []})
    await producer(organization="octo-org").check(context(stub))
    stub.answer = serving({})
    with pytest.raises(Permanent, match="no such thing as the organization octo-org"):
        await producer(organization="octo-org").check(context(stub))
