"""Any one field of a real payload replaced: null, absent, of another type. An odd thing costs itself and nothing beside it."""

import json

import pytest

from notifier import JsonObject
from notifier.errors import InputError, InvalidRecord
from notifier.message import Message, check_message_object
from producers.github import read_webhook
from producers.github.pull_request import pull_messages, read_pulls
from streams.runner.produced import read_items, sum_up
from tests.rigs.github_payloads import EVENTS, NULLS, ODD, ODD_WITHIN, altered, real, real_pull
from tests.rigs.github_stub import REPOSITORY, GitHubStub, context, producer, pull


def names(values: tuple[object, ...]) -> list[str]:
    return ["absent" if type(value) is object else ascii(value)[:20] for value in values]


def check_message(message: JsonObject) -> None:
    """Whether it may go to the topic as it is: read, written, and without NUL in its names."""
    check_message_object({"producer": "reviews", **message})
    read = Message.decode(json.dumps({"producer": "reviews", **message}).encode())
    assert read.id
    assert not any("\0" in (name or "") for name in (read.sender, read.receiver))


def read(event: str, payload: JsonObject) -> tuple[list[JsonObject], list[str]]:
    """The messages of a payload, and the places of what is refused."""
    try:
        return read_webhook(event, "d1", payload), []
    except InputError as error:
        return [], [fault.pointer for fault in error.errors]


@pytest.mark.parametrize("instead", [*NULLS, *ODD, *ODD_WITHIN], ids=names((*NULLS, *ODD, *ODD_WITHIN)))
def test_an_odd_pull_request_of_a_list_hides_no_other(instead: object) -> None:
    for path, odd in altered(real_pull(2), instead):
        pulls = read_pulls([real_pull(1), odd, real_pull(3)])
        told = [
            message
            for found in pulls
            if not isinstance(found, InvalidRecord)
            for message in pull_messages(found, REPOSITORY)
        ]
        assert {"1-octocat", "3-octocat"} <= {message["id"] for message in told}, path
        for message in told:
            check_message(message)
        if instead in NULLS and path != ("number",):
            assert len([found for found in pulls if not isinstance(found, InvalidRecord)]) == 3, path


@pytest.mark.parametrize("instead", [None, 5, "x", [], True], ids=str)
def test_what_is_no_pull_request_is_named(instead: object) -> None:
    found = read_pulls([real_pull(1), instead])
    assert isinstance(found[1], InvalidRecord)
    assert "pull request" in str(found[1])


async def test_the_run_tells_the_others_and_names_the_odd_one(stub: GitHubStub) -> None:
    stub.pages = [[pull(1), pull(2) | {"assignees": "everybody"}, pull(3) | {"assignees": None}]]
    for _ in range(2):  # the second time GitHub says that nothing has changed
        items = read_items(await producer().produce(context(stub)), "all/2026-11-23T09:00:00Z", "reviews", "all")
        assert [item.id.rsplit("/", 1)[1] for item in items if item.error is None] == ["1-octocat"]
        error = sum_up(items)
        assert error is not None
        assert "pull request 2" in error
        assert "assignees" in error
        assert "the others went out" in error
        (wrong,) = [item for item in items if item.error is not None]
        assert wrong.value is not None
        assert json.loads(wrong.value)["assignees"] == "everybody"


@pytest.mark.parametrize("event", EVENTS)
def test_a_webhook_with_a_null_or_without_a_field_is_taken(event: str) -> None:
    needed = {("action",), ("pull_request",), ("pull_request", "number")} if event == "pull_request" else set()
    for instead in NULLS:
        for path, payload in altered(real(event), instead):
            messages, faults = read(event, payload)
            assert messages or path in needed, (path, faults)
            for message in messages:
                check_message(message)


@pytest.mark.parametrize("event", EVENTS)
def test_a_webhook_with_an_odd_field_is_read_or_refused_by_its_place(event: str) -> None:
    for instead in (*ODD, *ODD_WITHIN):
        for path, payload in altered(real(event), instead):
            messages, faults = read(event, payload)
            assert event == "pull_request" or not faults
            assert all(fault.startswith(f"/{path[0]}") for fault in faults), path
            for message in messages:
                check_message(message)
