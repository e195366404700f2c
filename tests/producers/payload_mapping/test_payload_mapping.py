"""Payload mappings of people's: what they make of payloads, and that no payload and no expression harms."""

from typing import Any

import msgspec
import pytest
from pydantic import ValidationError

from notifier.message import MAX_BYTES, Message
from producers.payload_mapping import Mapping, PayloadMapping


def mapped(payload: object, headers: dict[str, str] | None = None, /, **mapping: Any) -> list[dict[str, Any]]:
    return PayloadMapping(Mapping.model_validate(mapping)).messages(payload, headers or {})


def test_each_field_is_what_its_expression_finds() -> None:
    payload = {
        "build": {"number": 7, "state": "FAILED", "at": "2024-05-01 10:00:00 +0200", "link": "https://ci.example/7"},
        "by": "octocat",
        "to": ["alice", "bob", "alice", None],
        "tags": {"team": "infra", "tries": 2, "ok": False, "none": None},
    }
    messages = mapped(
        payload,
        {"X-Event": "build"},
        content="concat('Build ', build.number, ': ', build.state)",
        title="header('x-event')",
        severity="build.state",
        receiver="to",
        sender="by",
        url="build.link",
        id="concat(build.number, '-', build.state)",
        occurred_at="build.at",
        labels={"*": "tags", "event": "header('X-EVENT')"},
        severities={"failed": "critical"},
    )
    common = {
        "content": "Build 7: FAILED",
        "title": "build",
        "severity": "critical",
        "sender": "octocat",
        "url": "https://ci.example/7",
        "occurred_at": "2024-05-01T08:00:00Z",
        "labels": {"team": "infra", "tries": "2", "ok": "false", "event": "build"},
    }
    assert messages == [{**common, "receiver": name, "id": f"7-FAILED-{name}"} for name in ("alice", "bob")]


def test_one_message_for_each_member_of_a_list_and_none_is_lost() -> None:
    payload = {
        "team": "infra",
        "alerts": [{"text": "one", "id": 1}, None, {"id": 1}, "junk", {"text": ["two"], "id": 3}],
    }
    messages = mapped(payload, each="alerts", content="text", id="id", labels={"team": "payload().team"})
    assert [message["content"] for message in messages] == ["one", '{"id":1}', "junk", '["two"]']
    assert [message.get("id") for message in messages] == ["1", "1~2", None, "3"]
    assert {message["labels"]["team"] for message in messages} == {"infra"}


@pytest.mark.parametrize(
    "payload", [None, "", " \n", 5, True, "text", [], {}, [None], {"a": {"b": None}}, float("nan")]
)
def test_where_nothing_is_found_the_payload_is_the_content(payload: object) -> None:
    [message] = mapped(payload, each="x.y", content="a.b", severity="s", receiver="r", labels={"x": "y"})
    assert message.keys() == {"content"}
    assert message["content"].strip()


def test_what_does_not_fit_is_left_out_and_said() -> None:
    mapping = Mapping(content="c", severity="s", url="u", occurred_at="t", receiver="r", sender="n")
    payload = {"c": "x", "s": "purple", "u": "javascript:alert(1)", "t": "yesterday", "r": {"a": 1}, "n": True}
    read = PayloadMapping(mapping).read(payload, {})
    assert read.messages == [{"content": "x"}]
    assert read.problems == [
        "message 1: severity: 'purple' is no severity that is known; it is left out",
        "message 1: url: 'javascript:alert(1)' is no web link; it is left out",
        "message 1: occurred_at: 'yesterday' is no time with a zone; it is left out",
    ]


@pytest.mark.parametrize(
    ("given", "link"),
    [
        ("https://name:password@web.example:8443/a?b#c", "https://web.example:8443/a?b#c"),
        (" HTTP://web.example ", "HTTP://web.example"),
        ("https://", None),
        ("https://[", None),
        ("https://web.example/a b", None),
        ("https://web.example/" + "a" * 2000, None),
        ("ftp://web.example", None),
        (5, None),
    ],
)
def test_which_links_are_told_and_none_with_a_password(given: object, link: str | None) -> None:
    [message] = mapped({"u": given, "c": "x"}, content="c", url="u")
    assert message.get("url") == link


def test_what_is_too_long_is_cut_and_fits_a_message() -> None:
    long = "\x01я\U0001f600" * 600_000
    fields = ("content", "title", "receiver", "sender", "severity", "url", "id", "occurred_at")
    labels = {f"{number}{'n' * 90}": "long" for number in range(64)}
    [message] = mapped({"long": long, "l": {}}, labels=labels, **dict.fromkeys(fields, "long"))
    assert "… (cut: " in message["content"]
    assert message["title"].endswith("…")
    data = msgspec.json.encode({**message, "producer": "p" * 512})
    assert len(data) <= MAX_BYTES
    Message.decode(data)


def test_lone_surrogates_and_nul_never_reach_a_message() -> None:
    odd = "a\ud800\0b"
    fields = ("content", "title", "receiver", "sender", "id")
    [message] = mapped({"odd": odd, "l": {odd: odd}}, labels={"*": "l"}, **dict.fromkeys(fields, "odd"))
    assert {message[name] for name in fields} == {"a?b"}
    assert message["labels"] == {"a?b": "a?b"}


@pytest.mark.parametrize(
    "expression",
    [
        "[@,@]|" * 29 + "to_string([@,@])",
        "[@,@]|" * 29 + "@",
        "([@,@]|" + "[@,@]|" * 25 + "@)==([@,@]|" + "[@,@]|" * 25 + "@)",
        "payload().a[*].to_string(payload())",
        "a[*].[payload().a[*].[payload().a[*].b]]",
        "[to_string(@),to_string(@)]" + "|[@,@,@,@,@,@,@,@][]" * 8 + "|join('',@)",
    ],
)
def test_an_expression_that_takes_too_long_leaves_the_payload_as_the_content(expression: str) -> None:
    payload = {"a": [{"b": "x" * 40}] * 2000}
    read = PayloadMapping(Mapping(content=expression)).read(payload, {})
    assert len(read.messages) == 1
    assert read.messages[0]["content"].startswith('{"a":[{"b":"xxx')
    assert "take too long" in read.problems[0]


def test_one_part_that_takes_too_long_costs_its_neighbours_nothing() -> None:
    parts = [{"id": 1}, {"id": 2, "list": list(range(100_000))}, {"id": 3}]
    messages = mapped(
        parts, each="@", content="to_string(id)", title="to_string(list[*].to_string(payload()))", id="id"
    )
    assert [message["content"] for message in messages] == ["1", "2", "3"]


def test_more_parts_than_a_payload_may_have_are_said() -> None:
    messages = mapped([1] * 10_003, each="@")
    assert len(messages) == 10_001
    assert "left out" in messages[-1]["content"]


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("a..b", "unexpected '.' at character 3"),
        ("a[", "it ends too early at character 3"),
        ("'a", "Unclosed ' delimiter at character 1"),
        ("nope(a)", "calls nope(), which there is not"),
        ("lower(a, b)", "calls lower() with 2 arguments; it takes 1"),
        ("concat()", "calls concat() with 0 arguments; it takes 1 or more"),
        ("!" * 1500 + "a", "nested too deeply"),
    ],
)
def test_an_expression_is_refused_when_it_is_saved(expression: str, words: str) -> None:
    with pytest.raises(ValidationError) as refused:
        Mapping(content=expression)
    assert words in str(refused.value)


def test_parts_of_one_id_are_messages_of_their_own() -> None:
    ids = ["a", "a", "a~2", "a", "a~2", *["b"] * 10_000]
    found = [message["id"] for message in mapped([{"i": id_} for id_ in ids][:10_000], each="@", id="i")]
    assert found[:5] == ["a", "a~2", "a~2~2", "a~3", "a~2~3"]
    assert len(set(found)) == 10_000


def test_what_is_told_to_many_is_bounded_all_together() -> None:
    owners = [f"person-{number}" for number in range(100)]
    parts = [{"text": "x" * 450_000, "owners": owners} for _ in range(10)]
    messages = mapped(parts, each="@", content="text", receiver="owners")
    assert len(messages) == 1000
    assert all(len(message["content"]) == 450_000 for message in messages[:100])
    assert sum(len(message["content"]) for message in messages) < 70_000_000
