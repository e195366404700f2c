"""The answers producer: which presses become messages, and what these say."""

from typing import Any

import pytest

from notifier import Message, User
from notifier.answer import Answer
from notifier.record import now
from producers.answers import Answers

MESSAGE = Message(
    producer="ci", content="Build 42 failed\nsee below", sender="octocat", url="https://ci.example.com/42"
)
BOB = User(username="bob", additional_info={"github": {"username": "octocat"}})


def answer(**fields: Any) -> Answer:
    given: dict[str, Any] = {"consumer": "direct", "button": "acknowledge", "user": "alice", "called": "al", **fields}
    return Answer(id="direct/1", delivery="d", producer="ci", message="42", configuration="builds", at=now(), **given)


def made(parameters: dict[str, Any], pressed: Answer, sender: User | None = BOB) -> dict[str, Any] | None:
    return Answers(Answers.Parameters.model_validate(parameters)).answered(pressed, MESSAGE, sender)


def test_the_sender_of_a_message_hears_who_acknowledged_it() -> None:
    assert made({}, answer()) == {
        "content": "alice acknowledged: Build 42 failed",
        "sender": "alice",
        "receiver": "bob",
        "url": "https://ci.example.com/42",
        "labels": {
            "button": "acknowledge",
            "producer": "ci",
            "configuration": "builds",
            "consumer": "direct",
            "message": "42",
        },
    }
    in_github = made({"world": "github"}, answer(user=None))
    assert in_github is not None
    assert (in_github["receiver"], in_github["sender"]) == ("octocat", "al")
    to_all = made({}, answer(user=None, called=None), sender=None)
    assert to_all is not None
    assert "receiver" not in to_all
    assert to_all["content"].startswith("somebody acknowledged")


@pytest.mark.parametrize(
    ("parameters", "is_told"),
    [
        ({"buttons": ["mute_day"]}, False),
        ({"buttons": ["acknowledge"], "consumers": ["direct"], "configurations": ["builds"]}, True),
        ({"consumers": ["other"]}, False),
        ({"configurations": ["other"]}, False),
    ],
)
def test_what_it_is_not_about_is_not_told(parameters: dict[str, Any], is_told: bool) -> None:
    assert (made(parameters, answer()) is not None) is is_told


def test_it_is_not_asked_in_a_run() -> None:
    assert not Answers.pull
