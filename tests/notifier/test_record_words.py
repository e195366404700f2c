"""What msgspec finds wrong, in the words of whoever wrote the record."""

import msgspec
import pytest

from notifier.errors import InvalidRecord
from notifier.message import Message
from notifier.record import JsonObject
from notifier.record_words import Finding, finding, findings

A_TIME = "a time such as 2026-11-23T09:00:00Z"


@pytest.mark.parametrize(
    ("message", "place", "words"),
    [
        ({"content": "x"}, ("producer",), "is required"),
        ({"producer": "", "content": "x"}, ("producer",), "must not be empty"),
        ({"producer": "p" * 513, "content": "x"}, ("producer",), "is too long: it may have 512 characters"),
        ({"producer": "ci", "content": None}, ("content",), "must be text, not null"),
        ({"producer": "ci", "content": "x", "labels": {"a": 1}}, ("labels",), "a value must be text, not a number"),
        ({"producer": "ci", "content": "x", "labels": []}, ("labels",), "must be an object, not a list"),
        (
            {"producer": "ci", "content": "x", "severity": "bad"},
            ("severity",),
            "must be debug, info, warning, error or critical",
        ),
        ({"producer": "ci", "content": "x", "severity": 3}, ("severity",), "must be text, not a number"),
        ({"producer": "ci", "content": "x", "occurred_at": 5}, ("occurred_at",), f"must be {A_TIME}, not a number"),
        ({"producer": "ci", "content": "x", "occurred_at": "soon"}, ("occurred_at",), f"must be {A_TIME}"),
        (
            {"producer": "ci", "content": "x", "occurred_at": "2026-11-23T09:00:00"},
            ("occurred_at",),
            "must be a time with a zone, such as 2026-11-23T09:00:00Z",
        ),
        ({"producer": "ci", "content": "x", "v": -1}, ("v",), "must be at least 1"),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, dict) else "",
)
def test_a_finding_names_the_field_and_what_may_be_there(
    message: JsonObject, place: tuple[str, ...], words: str
) -> None:
    with pytest.raises(InvalidRecord) as caught:
        Message.decode(msgspec.json.encode(message))
    assert finding(str(caught.value)) == Finding(place, words)
    assert findings(Message, message) == [Finding(place, words)]


def test_every_field_that_is_wrong_is_found() -> None:
    found = findings(Message, {"content": 5, "title": [], "severity": "bad", "unknown": 1, "labels": {"a": "b"}})
    assert [one.place for one in found] == [("producer",), ("content",), ("title",), ("severity",)]
