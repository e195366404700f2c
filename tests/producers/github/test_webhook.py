"""Webhooks: what each event becomes, and over HTTP on a real broker."""

import pytest

from notifier import JsonObject
from notifier.errors import InputError
from notifier.message import check_message_object
from producers.github import read_webhook
from tests.rigs.github_stub import REPOSITORY, pull, told

EVENTS = [
    pytest.param("ping", {"zen": "Keep it logically awesome."}, [], id="ping"),
    pytest.param("pull_request", told("opened"), ["d1-octocat", "d1-hubot"], id="opened"),
    pytest.param("pull_request", told("opened", of=pull(1)), ["d1"], id="opened, one assignee"),
    pytest.param("pull_request", told("opened", of=pull(1, [])), [], id="opened, nobody assigned"),
    pytest.param("pull_request", told("reopened"), ["d1-octocat", "d1-hubot"], id="reopened"),
    pytest.param("pull_request", told("ready_for_review"), ["d1-octocat", "d1-hubot"], id="ready"),
    pytest.param("pull_request", told("closed"), ["d1-octocat", "d1-hubot"], id="closed"),
    pytest.param("pull_request", told("assigned", assignee={"login": "hubot"}), ["d1"], id="assigned"),
    pytest.param("pull_request", told("review_requested", requested_reviewer={"login": "r"}), ["d1"], id="review"),
    pytest.param("pull_request", told("review_requested", requested_team={"name": "t"}), [], id="review by a team"),
    pytest.param("pull_request", told("labeled"), [], id="labeled"),
    pytest.param("pull_request", told("opened", repository="octo-org/other"), [], id="another repository"),
    pytest.param("pull_request", told("opened", of=pull(1), repository=REPOSITORY.upper()), ["d1"], id="other case"),
    pytest.param("release", {"action": "published"}, ["d1"], id="another event"),
    pytest.param("star", {}, ["d1"], id="an event with nothing in it"),
]


@pytest.mark.parametrize(("event", "payload", "ids"), EVENTS)
def test_events_become_messages(event: str, payload: JsonObject, ids: list[str]) -> None:
    messages = read_webhook(event, "d1", payload, REPOSITORY)
    assert [message["id"] for message in messages] == ids
    assert messages == read_webhook(event, "d1", payload, REPOSITORY), "sent again, it is the same"
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
        pytest.param("issues", {"issue": {"title": "x" * 9999}}, "issues: " + "x" * 300, id="a long title"),
    ],
)
def test_other_events_are_told_to_everyone_in_short(event: str, payload: JsonObject, content: str) -> None:
    payload = {name: part for name, part in payload.items() if name != "pull_request"}
    (message,) = read_webhook(event, "d1", payload)
    assert message["content"] == content
    assert "receiver" not in message
    assert message["labels"]["event"] == event


@pytest.mark.parametrize(
    ("payload", "pointer"),
    [
        pytest.param({}, "", id="nothing"),
        pytest.param(told("opened", of={}), "/pull_request", id="an empty pull request"),
        pytest.param(told("opened", of=pull(1) | {"assignees": [{}]}), "/pull_request/assignees/0", id="no login"),
        pytest.param(told("opened", of=pull(1, title=5)), "/pull_request/title", id="a title that is a number"),
    ],
)
def test_what_is_no_pull_request_is_refused_by_its_place(payload: JsonObject, pointer: str) -> None:
    with pytest.raises(InputError) as raised:
        read_webhook("pull_request", "d1", payload)
    assert [error.pointer for error in raised.value.errors] == [pointer]
