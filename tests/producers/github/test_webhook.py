"""Webhooks: what each event becomes, and over HTTP on a real broker."""

import pytest

from notifier import Context, JsonObject
from notifier.errors import InputError
from notifier.message import check_message_object
from notifier.plugin import Hook
from producers.github import read_webhook
from tests.rigs import github_payloads as payloads
from tests.rigs.github_payloads import person, real, real_pull, real_repository
from tests.rigs.github_stub import REPOSITORY, GitHubStub, context, producer, pull, told
from tests.rigs.plugin_world import context_without_scripts

EVENTS = [
    pytest.param("ping", {"zen": "Keep it logically awesome."}, [], id="ping"),
    pytest.param("pull_request", told("opened"), ["d1-octocat", "d1-hubot"], id="opened"),
    pytest.param("pull_request", told("opened", of=pull(1)), ["d1"], id="opened, one assignee"),
    pytest.param("pull_request", told("opened", of=pull(1, [])), ["d1"], id="opened, nobody assigned"),
    pytest.param("pull_request", told("closed", of=pull(1) | {"assignees": None}), ["d1"], id="closed, null assigned"),
    pytest.param("pull_request", told("assigned", assignee=None), [], id="assigned to nobody"),
    pytest.param("pull_request", told("labeled") | {"pull_request": None}, [], id="an action that tells nothing"),
    pytest.param("pull_request", told("reopened"), ["d1-octocat", "d1-hubot"], id="reopened"),
    pytest.param("pull_request", told("ready_for_review"), ["d1-octocat", "d1-hubot"], id="ready"),
    pytest.param("pull_request", told("closed"), ["d1-octocat", "d1-hubot"], id="closed"),
    pytest.param("pull_request", told("assigned", assignee={"login": "hubot"}), ["d1"], id="assigned"),
    pytest.param("pull_request", told("review_requested", requested_reviewer={"login": "r"}), ["d1"], id="review"),
    pytest.param("pull_request", told("review_requested", requested_team={"name": "t"}), [], id="review by a team"),
    pytest.param(
        "pull_request",
        told("review_requested", requested_team={"slug": "ops"}, organization={"login": "my-org"}),
        ["d1"],
        id="review by a team of an organisation",
    ),
    pytest.param("pull_request", told("labeled"), [], id="labeled"),
    pytest.param("release", {"action": "published"}, ["d1"], id="another event"),
    pytest.param("star", {}, ["d1"], id="an event with nothing in it"),
]


@pytest.mark.parametrize(("event", "payload", "ids"), EVENTS)
def test_events_become_messages(event: str, payload: JsonObject, ids: list[str]) -> None:
    messages = read_webhook(event, "d1", payload)
    assert [message["id"] for message in messages] == ids
    assert messages == read_webhook(event, "d1", payload), "sent again, it is the same"
    for message in messages:
        check_message_object({"producer": "reviews", **message})


def test_a_pull_request_that_was_opened_reads_as_when_asked_for() -> None:
    (message,) = read_webhook("pull_request", "d1", told("opened", of=pull(1)))
    link = f"https://github.com/{REPOSITORY}/pull/1"
    assert message["content"] == f"Change 1 ({link})\nLabels: bug,good first issue"
    assert (message["sender"], message["receiver"], message["title"]) == ("author", "octocat", "Change 1")
    assert message["labels"] == {
        "repository": REPOSITORY,
        "number": "1",
        "draft": "false",
        "labels": "bug,good first issue",
        "event": "pull_request",
        "action": "opened",
        "actor": "actor",
    }


@pytest.mark.parametrize(
    ("payload", "title"),
    [
        (told("review_requested", requested_reviewer={"login": "r"}), "Review requested"),
        (told("closed", of=pull(1, merged=True)), "Merged"),
        (told("closed", of=pull(1, merged=False)), "Closed"),
    ],
)
def test_the_title_says_what_the_text_does_not(payload: JsonObject, title: str) -> None:
    assert [message["title"] for message in read_webhook("pull_request", "d1", payload)] == [title]


@pytest.mark.parametrize(
    ("event", "payload", "content"),
    [
        pytest.param(
            "release",
            told("published", release={"name": "1.0", "html_url": "https://github.com/r"}),
            f"release published in {REPOSITORY} by actor: 1.0 (https://github.com/r)",
            id="release",
        ),
        pytest.param(
            "push",
            {"compare": "https://github.com/c", "head_commit": {"message": "Fix it\n\nlong"}},
            "push: Fix it (https://github.com/c)",
            id="push",
        ),
        pytest.param("public", {"action": 5, "sender": [], "repository": "x", "issue": "no"}, "public", id="nonsense"),
        pytest.param("issues", {"issue": {"title": "x" * 9999}}, "issues: " + "x" * 299 + "…", id="a long title"),
    ],
)
def test_other_events_are_told_to_everyone_in_short(event: str, payload: JsonObject, content: str) -> None:
    payload = {name: part for name, part in payload.items() if name != "pull_request"}
    (message,) = read_webhook(event, "d1", payload)
    assert message["content"] == content
    assert "receiver" not in message
    assert message["labels"]["event"] == event


def test_a_pull_request_that_nobody_is_assigned_to_is_told_to_everyone() -> None:
    (message,) = read_webhook("pull_request", "d1", told("opened", of=pull(1, [])))
    assert "receiver" not in message
    assert message["title"] == "Change 1"


ENDED = [
    # event, more of the payload, text, labels
    pytest.param(
        "pull_request_review",
        {},
        "pull_request_review submitted in {} on fix by actor: Update the README: changes_requested"
        " (https://github.com/{}/pull/7#pullrequestreview-80)",
        {"state": "changes_requested", "branch": "fix", "number": "7"},
        id="review",
    ),
    pytest.param(
        "workflow_run",
        {},
        "workflow_run completed in {} on main by actor: CI: failure (https://github.com/{}/actions/runs/1)",
        {"conclusion": "failure", "status": "completed", "branch": "main", "workflow": "CI", "name": "CI"},
        id="workflow run",
    ),
    pytest.param(
        "workflow_run",
        {"action": "requested", "workflow_run": {"name": "CI", "status": "queued", "conclusion": None}},
        "workflow_run requested in {} by actor: CI: queued (https://github.com/{})",
        {"status": "queued", "name": "CI"},
        id="workflow run that begins",
    ),
    pytest.param(
        "workflow_job",
        {},
        "workflow_job completed in {} on main by actor: build: failure (https://github.com/{}/actions/runs/1)",
        {"conclusion": "failure", "workflow": "CI", "name": "build"},
        id="workflow job",
    ),
    pytest.param(
        "workflow_job",
        {
            "workflow_job": {
                "name": "build",
                "conclusion": "failure",
                "steps": [
                    None,
                    {"name": "Check out", "conclusion": "success"},
                    {"name": "Test", "conclusion": "failure"},
                    {"name": 5, "conclusion": "failure"},
                ],
            }
        },
        "workflow_job completed in {} by actor: build: failure: Test (https://github.com/{})",
        {"conclusion": "failure", "name": "build"},
        id="workflow job with steps",
    ),
    pytest.param(
        "check_run",
        {"check_run": {"name": "lint", "conclusion": "failure", "output": {"title": "3 errors\nmore"}}},
        "check_run completed in {} by actor: lint: failure: 3 errors (https://github.com/{})",
        {"conclusion": "failure", "name": "lint"},
        id="check run with an output",
    ),
    pytest.param(
        "deployment_review",
        {"action": "rejected", "environment": "production", "comment": "no"},
        "deployment_review rejected in {} to production by actor (https://github.com/{})",
        {"environment": "production"},
        id="deployment that is not allowed",
    ),
    pytest.param(
        "pull_request_review_comment",
        {},
        "pull_request_review_comment created in {} on fix by actor: Update the README: No."
        " (https://github.com/{}/pull/7#discussion_r1)",
        {"number": "7", "branch": "fix"},
        id="comment on a line",
    ),
    pytest.param(
        "pull_request_rejected",
        {
            "action": "reviewed",
            "pull_request": real_pull(),
            "review": {"type": "pull_request_review_rejected", "content": "Not yet.\nMore."},
        },
        "pull_request_review reviewed in {} on fix by actor: Update the README: changes_requested: Not yet."
        " (https://github.com/{}/pull/7)",
        {"state": "changes_requested", "event": "pull_request_review"},
        id="review at Gitea",
    ),
    pytest.param(
        "push",
        {"compare": None, "compare_url": "https://git.example/compare/a...b"},
        "push in {} on main by actor: Fix it (https://git.example/compare/a...b)",
        {"branch": "main"},
        id="push at Gitea",
    ),
    pytest.param(
        "check_run",
        {},
        "check_run completed in {} on main by actor: lint: failure (https://github.com/{}/actions/runs/1)",
        {"conclusion": "failure", "branch": "main", "name": "lint"},
        id="check run",
    ),
    pytest.param(
        "check_suite",
        {},
        "check_suite completed in {} on main by actor: Actions: failure (https://github.com/{}/actions/runs/1)",
        {"conclusion": "failure", "branch": "main"},
        id="check suite",
    ),
    pytest.param(
        "status",
        {},
        "status in {} on main by actor: ci/build: failure: Tests failed (https://ci.example/build/9)",
        {"state": "failure", "context": "ci/build", "branch": "main"},
        id="status",
    ),
    pytest.param(
        "deployment_status",
        {},
        "deployment_status created in {} on main to production by actor: failure: No room left"
        " (https://ci.example/deploy/9)",
        {"state": "failure", "environment": "production", "branch": "main"},
        id="deployment",
    ),
    pytest.param(
        "issue_comment",
        {},
        "issue_comment created in {} by actor: It breaks: Why? (https://github.com/{}/issues/3#issuecomment-1)",
        {"number": "3"},
        id="comment",
    ),
    pytest.param(
        "issues",
        {},
        "issues closed in {} by actor: It breaks: not_planned (https://github.com/{}/issues/3)",
        {"state": "closed", "state_reason": "not_planned", "number": "3"},
        id="issue",
    ),
    pytest.param(
        "push",
        {},
        "push in {} on main by actor: Fix it (https://github.com/{}/compare/a...b)",
        {"branch": "main"},
        id="push",
    ),
    pytest.param(
        "push",
        {"ref": "refs/tags/v1", "deleted": True, "head_commit": None},
        "push in {} on v1 by actor: deleted (https://github.com/{}/compare/a...b)",
        {"tag": "v1"},
        id="push of a tag",
    ),
    pytest.param("create", {}, "create in {} on v1 by actor (https://github.com/{})", {"tag": "v1"}, id="tag"),
    pytest.param(
        "dependabot_alert",
        {},
        "dependabot_alert created in {} by actor: Prototype pollution (https://github.com/{}/security/dependabot/2)",
        {"state": "open", "severity": "high", "number": "2"},
        id="alert",
    ),
    pytest.param(
        "repository",
        {"changes": {"repository": {"name": {"from": "old"}}}},
        "repository renamed in {} by actor: was octo-org/old (https://github.com/{})",
        {"action": "renamed"},
        id="renamed",
    ),
]


@pytest.mark.parametrize(
    ("event", "more", "severity"),
    [
        ("workflow_run", {}, "error"),
        ("workflow_run", {"workflow_run": {"conclusion": "success"}}, None),
        ("workflow_run", {"workflow_run": {"conclusion": "cancelled"}}, "warning"),
        ("workflow_run", {"workflow_run": {"conclusion": []}}, None),
        ("deployment_status", {}, "error"),
        ("status", {}, "error"),
        ("pull_request_review", {}, "warning"),
        ("pull_request_review", {"review": {"state": "approved"}}, None),
        ("dependabot_alert", {}, "error"),
        ("dependabot_alert", {"alert": {"security_advisory": {"severity": "critical"}}}, "critical"),
        ("issue_comment", {}, None),
    ],
)
def test_what_failed_is_an_error_and_what_was_stopped_a_warning(
    event: str, more: JsonObject, severity: str | None
) -> None:
    (message,) = read_webhook(event, "d1", real(event) | more)
    assert message.get("severity") == severity
    check_message_object({"producer": "reviews", **message})


@pytest.mark.parametrize(("event", "more", "content", "labels"), ENDED)
def test_what_an_event_concluded_stands_in_text_and_labels(
    event: str, more: JsonObject, content: str, labels: dict[str, str]
) -> None:
    known = {"repository": real_repository(), "sender": person("actor")}
    (message,) = read_webhook(event, "d1", (real(event) if event in payloads.EVENTS else known) | more)
    assert message["content"] == content.replace("{}", REPOSITORY)
    assert labels.items() <= message["labels"].items()
    assert message["labels"]["event"] == labels.get("event", event)


def test_a_pull_request_has_labels_for_its_state_and_branches() -> None:
    merged = real("pull_request") | {"action": "closed", "pull_request": real_pull() | {"merged": True}}
    (message,) = read_webhook("pull_request", "d1", merged)
    assert {"state": "merged", "branch": "fix", "base": "main"}.items() <= message["labels"].items()


@pytest.mark.parametrize(
    ("payload", "pointer"),
    [
        pytest.param({}, "/action", id="nothing"),
        pytest.param(told("opened") | {"pull_request": None}, "/pull_request", id="null"),
        pytest.param(told("opened", of={}), "/pull_request/number", id="an empty pull request"),
        pytest.param(told("opened", of=pull(1) | {"assignees": "all"}), "/pull_request/assignees", id="no list"),
        pytest.param(told("opened", of=pull(1) | {"assignees": [{"login": 5}]}), "/pull_request/assignees/0", id="5"),
        pytest.param(told("opened", of=pull(1, ["x" * 401])), "/pull_request/assignees/0/login", id="a long login"),
        pytest.param(told("assigned", assignee=[]), "/assignee", id="an assignee that is none"),
    ],
)
def test_what_is_no_pull_request_is_refused_by_its_place(payload: JsonObject, pointer: str) -> None:
    with pytest.raises(InputError) as raised:
        read_webhook("pull_request", "d1", payload)
    assert [error.pointer for error in raised.value.errors] == [pointer]


def test_a_team_that_is_asked_for_a_review_is_the_receiver() -> None:
    payload = told("review_requested", requested_team={"slug": "ops"}, organization={"login": "my-org"})
    (message,) = read_webhook("pull_request", "d1", payload)
    assert (message["receiver"], message["title"]) == ("my-org/ops", "Review requested")


@pytest.mark.parametrize(
    "payload",
    [
        told("opened", of=pull(1, [])),
        told("closed", of=pull(1) | {"assignees": None}),
        told("reopened", of=pull(1, [])),
    ],
)
def test_what_nobody_is_assigned_to_is_skipped_where_that_is_wished(payload: JsonObject) -> None:
    assert read_webhook("pull_request", "d1", payload, "skip") == []
    for unassigned in (None, "tell"):
        assert len(read_webhook("pull_request", "d1", payload, unassigned)) == 1
    assert len(read_webhook("pull_request", "d1", told("opened", of=pull(1)), "skip")) == 1


# --- by a door of its own, as Gitea and Forgejo send them ---

_ORG_TEAM = {"id": 9, "name": "ops", "organization": {"id": 1, "username": "octo-org"}}


@pytest.mark.parametrize("sender", ["gitea", "forgejo", "github"])
@pytest.mark.parametrize(
    ("payload", "receivers"),
    [
        pytest.param(told("opened", of=pull(1) | {"assignees": None}), [None], id="opened"),
        pytest.param(told("assigned"), ["octocat", "hubot"], id="assigned, without a word to whom"),
        pytest.param(told("review_requested", requested_reviewer=person("r")), ["r"], id="review requested"),
        pytest.param(
            told(
                "review_requested",
                requested_reviewer=None,
                of=pull(1, requested_reviewers=None, requested_reviewers_teams=[_ORG_TEAM, None]),
            ),
            ["octo-org/ops"],
            id="review requested of a team",
        ),
        pytest.param(told("synchronized"), [], id="another action"),
    ],
)
async def test_gitea_sends_nearly_the_same(sender: str, payload: JsonObject, receivers: list[str | None]) -> None:
    headers = {f"x-{sender}-event": "pull_request", f"x-{sender}-delivery": "d1"}
    found = await producer().received(Hook(door=sender, payload=payload, headers=headers), _context())
    assert [message.get("receiver") for message in found.messages] == receivers
    assert found.detail is None
    for message in found.messages:
        check_message_object({"producer": "reviews", **message})


async def test_a_hook_of_another_repository_is_passed_over(stub: GitHubStub) -> None:
    headers = {"x-github-event": "pull_request", "x-github-delivery": "d1"}
    asking = producer(unassigned="skip")
    other = Hook(door="github", payload=told("opened", repository="octo-org/other"), headers=headers)
    for _ in range(2):
        found = await asking.received(other, context(stub))
        assert found.messages == ()
        assert "octo-org/other" in (found.detail or "")
    assert len(stub.asked) == 1, "what the name leads to is asked for once an hour"
    renamed = Hook(door="github", payload=told("opened", repository="octo-org/new", id_=7), headers=headers)
    assert len((await asking.received(renamed, context(stub))).messages) == 2
    nobody = Hook(door="github", payload=told("opened", of=pull(1, [])), headers=headers)
    assert (await asking.received(nobody, context(stub))).messages == []


async def test_a_hook_of_an_organization_is_about_any_of_its_repositories() -> None:
    headers = {"x-github-event": "pull_request", "x-github-delivery": "d1"}
    asking = producer(organization="Octo-Org")
    for repository, count in (("octo-org/any", 2), ("others/any", 0)):
        hook = Hook(door="github", payload=told("opened", repository=repository), headers=headers)
        found = await asking.received(hook, _context())
        assert len(found.messages) == count
        assert (found.detail is None) == bool(count)
    member = {"action": "member_added", "organization": {"login": "others"}}
    hook = Hook(door="github", payload=member, headers=headers | {"x-github-event": "organization"})
    assert "others" in ((await asking.received(hook, _context())).detail or "")


@pytest.mark.parametrize(
    ("headers", "payload"),
    [
        ({}, told("opened")),
        ({"x-github-event": "a b", "x-github-delivery": "d1"}, told("opened")),
        ({"x-github-event": "push"}, told("opened")),
        ({"x-github-event": "push", "x-github-delivery": "d1"}, "text"),
        ({"x-github-event": "push", "x-github-delivery": "d1"}, [1]),
    ],
)
async def test_what_is_no_hook_of_github_is_refused(headers: dict[str, str], payload: object) -> None:
    with pytest.raises(InputError):
        await producer().received(Hook(door="github", payload=payload, headers=headers), _context())


def _context() -> Context:
    return context_without_scripts("reviews")
