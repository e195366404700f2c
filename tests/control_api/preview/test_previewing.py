"""Previews on a database without a broker: for whom, by which template, in which parts, and why there is no text."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from control_api.access.actor import COMMAND_LINE
from control_api.definitions.services import Services
from control_api.explain.explaining import Explaining
from control_api.preview import previewing as module
from control_api.preview.previewing import Previewing
from control_api.preview.query import PreviewQuery
from control_api.registry import load_registry
from notifier.database import Database
from notifier.errors import InputError, UnknownName
from notifier.outcome import Kind
from notifier.record import JsonObject
from notifier.seal import Seal, generate_key
from notifier.settings import Settings

pytest_plugins = ["tests.rigs.databases"]

TOKEN = "123456:ABC-DEF1234ghIkl-zyx57W2v1u123ew11"
DEFINED: tuple[tuple[Kind, JsonObject], ...] = (
    ("user", {"username": "alice", "additional_info": {"telegram": {"id": 7, "username": "al"}}}),
    ("user", {"username": "bob", "on_leave": True}),
    ("script", {"name": "append", "content": "cat"}),
    ("template", {"name": "footer", "content": "{% if message.url %} See {{ message.url }}{% endif %}"}),
    ("producer", {"name": "ci", "type": "push"}),
    ("producer", {"name": "other", "type": "push"}),
    ("filter", {"name": "never", "type": "severity", "parameters": {"at_least": "critical"}}),
    ("consumer", {"name": "chat", "type": "telegram", "parameters": {"bot_token": TOKEN, "chat_id": -100}}),
    ("consumer", {"name": "direct", "type": "telegram", "parameters": {"bot_token": TOKEN, "chat_id": "recipient"}}),
    ("consumer", {"name": "to-file", "type": "script", "parameters": {"script": "append"}}),
    (
        "configuration",
        {
            "name": "builds",
            "users": ["alice", "bob"],
            "producers": ["ci"],
            "filters": ["never"],
            "consumers": ["chat", "direct", "to-file"],
            "template": '{{ message.title }} for {{ receiver or "all" }}{% include "footer" %}',
        },
    ),
    ("configuration", {"name": "silent", "producers": ["ci"]}),
)
MESSAGE = {"producer": "ci", "title": "Build 42", "content": "failed", "url": "https://ci/42"}


@pytest.fixture
async def previewing(alone: Settings, offline: Database) -> AsyncIterator[Previewing]:
    registry = load_registry()
    services = Services(offline, registry, Seal(generate_key()))
    for kind, document in DEFINED:
        await services.create(COMMAND_LINE, kind, document)
    explaining = Explaining(alone, offline, registry)
    previewing = Previewing(offline, explaining)
    yield previewing
    await previewing.close()
    await explaining.close()


async def _asked(previewing: Previewing, name: str = "builds", **query: Any) -> JsonObject:
    return await previewing.answer(PreviewQuery.model_validate(query), COMMAND_LINE, name)


def _texts(answer: JsonObject) -> list[tuple[Any, ...]]:
    return [(one["consumer"], one["recipient"], one["text"], one["problem"]) for one in answer["texts"]]


async def test_each_recipient_and_consumer_has_a_text_whatever_the_filters_say(previewing: Previewing) -> None:
    answer = await _asked(previewing, message=MESSAGE)
    everyone = "Build 42 for all See https://ci/42"
    assert answer["message"] == {**MESSAGE, "id": "new"}
    assert (answer["configuration"], answer["problem"], answer["omitted"]) == ("builds", None, 0)
    assert answer["version"] == answer["revision"] - 1
    assert [one[:3] for one in _texts(answer)] == [
        ("chat", None, everyone),
        ("direct", "alice", "Build 42 for al See https://ci/42"),
        ("direct", "bob", None),
        ("to-file", None, everyone),
    ]
    assert [one["recipients"] for one in answer["texts"]] == [["alice", "bob"], [], [], ["alice", "bob"]]
    assert answer["texts"][2]["problem"] == "bob has no address for the consumer direct (world 'telegram')"
    assert answer["texts"][0] | {"subject": ""} == {
        "recipient": None, "recipients": ["alice", "bob"], "consumer": "chat", "subject": "",
        "text": everyone, "parts": [everyone], "templated": True, "problem": None,
    }  # fmt: skip
    script = answer["texts"][3]["parts"]
    assert len(script) == 1
    assert '"title": "Build 42"' in script[0]

    to_bob = await _asked(previewing, message={**MESSAGE, "receiver": "bob"}, consumer="chat")
    assert _texts(to_bob) == [("chat", "bob", "Build 42 for bob See https://ci/42", None)]


async def test_a_message_without_producer_is_of_the_first_one(previewing: Previewing) -> None:
    answer = await _asked(previewing, message={"content": "x"}, consumer="chat")
    assert answer["message"]["producer"] == "ci"
    assert answer["texts"][0]["text"].strip() == "for all"
    other = await _asked(previewing, message={"content": "x", "producer": "other"}, consumer="chat")
    assert other["problem"] == "builds does not consider messages of the producer other"
    assert len(other["texts"]) == 1


async def test_a_draft_is_shown_and_not_stored(previewing: Previewing) -> None:
    draft = {"users": ["alice"], "producers": ["ci"], "consumers": ["direct"], "template": "{{ message.no_such }}"}
    answer = await _asked(previewing, message=MESSAGE, draft=draft)
    assert answer["version"] is None
    (text,) = answer["texts"]
    assert (text["templated"], text["text"].startswith("To al: ")) == (False, True)
    assert "the template of the configuration builds failed" in text["problem"]
    new = await _asked(previewing, "new", message=MESSAGE, draft={**draft, "template": '{% include "footer" %}'})
    assert new["texts"][0]["text"].strip() == "See https://ci/42"
    for wrong, pointer in (
        ({**draft, "template": "{% if %}"}, "/draft/template"),
        ({**draft, "template": '{% include "gone" %}'}, "/draft/template"),
        ({**draft, "consumers": ["gone"]}, "/draft/consumers/0"),
        ({**draft, "colour": 1}, "/draft/colour"),
    ):
        with pytest.raises(InputError) as refused:
            await _asked(previewing, message=MESSAGE, draft=wrong)
        assert [error.pointer for error in refused.value.errors] == [pointer]
    assert len((await _asked(previewing, message=MESSAGE))["texts"]) == 4


async def test_a_long_text_is_shown_in_the_parts_that_are_sent(previewing: Previewing) -> None:
    draft = {"producers": ["ci"], "consumers": ["chat"], "template": "{{ message.content }}"}
    content = "\n".join(f"line {number}" for number in range(1000))
    (text,) = (await _asked(previewing, message={"content": content}, draft=draft))["texts"]
    assert text["text"] == content
    assert len(text["parts"]) == 3
    assert all(f"line {number}" in "".join(text["parts"]) for number in range(1000))
    (blank,) = (await _asked(previewing, message={"content": "\u200b"}, draft={**draft, "template": None}))["texts"]
    assert (blank["parts"], blank["problem"]) == ([], "there is nothing to see in it, so it is not sent")


async def test_what_is_not_there_is_said(previewing: Previewing) -> None:
    for message, problem in (
        ({"producer": "gone", "content": "x"}, "there is no producer 'gone'"),
        ({"receiver": "eve", "content": "x"}, "nobody is called 'eve' in the world 'default'"),
    ):
        answer = await _asked(previewing, message=message)
        assert (answer["problem"], answer["texts"]) == (problem, [])
    assert (await _asked(previewing, "silent", message=MESSAGE))["problem"] == "it has no consumer"
    with pytest.raises(UnknownName):
        await _asked(previewing, "gone", message=MESSAGE)
    refused: list[tuple[dict[str, Any], str]] = [
        ({}, "/message"),
        ({"producer": "ci"}, "/id"),
        ({"message": MESSAGE, "id": "1"}, "/message"),
        ({"message": {"producer": "ci"}}, "/message/content"),
        ({"message": {**MESSAGE, "severity": "loud"}}, "/message/severity"),
        ({"message": MESSAGE, "consumer": "gone"}, "/consumer"),
    ]
    for query, pointer in refused:
        with pytest.raises(InputError) as caught:
            await _asked(previewing, **query)
        assert [error.pointer for error in caught.value.errors] == [pointer], query


async def test_an_answer_has_an_end(previewing: Previewing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_TEXTS", 3)
    answer = await _asked(previewing, message=MESSAGE)
    assert (len(answer["texts"]), answer["omitted"]) == (3, 1)
    long = {"producer": "ci", "content": "x" * 600_000}
    three = {"users": ["alice"], "producers": ["ci"], "consumers": ["chat", "direct", "to-file"]}
    first, *others = (await _asked(previewing, message=long, draft=three))["texts"]
    assert (len(first["text"]), first["problem"]) == (600_000, None)
    assert [(one["text"], one["parts"]) for one in others] == [(None, [])] * 2
    assert all(one["problem"].startswith("the texts before it are so long") for one in others)
    monkeypatch.setattr(module, "MAX_S", 0.0)
    endless = "{% for i in range(90000) %}{% for j in range(90000) %}{% endfor %}{% endfor %}x"
    draft = {"users": ["alice", "bob"], "producers": ["ci"], "consumers": ["chat"], "template": endless}
    (text,) = (await _asked(previewing, message=MESSAGE, draft=draft))["texts"]
    assert (text["text"], text["problem"]) == (None, "the texts of this answer took longer than 0 s")


async def test_the_texts_are_those_of_the_message_as_mappings_make_it(
    previewing: Previewing, offline: Database
) -> None:
    services = Services(offline, load_registry(), Seal(generate_key()))
    spec = {"name": "names", "matchers": ["team=a"], "set": {"title": "Of the team", "receiver": "alice"}}
    await services.create(COMMAND_LINE, "mapping", spec)
    answer = await _asked(previewing, message={**MESSAGE, "labels": {"team": "a"}}, consumer="chat")
    assert _texts(answer) == [("chat", "alice", "Of the team for al See https://ci/42", None)]
    plain = await _asked(previewing, message=MESSAGE, consumer="chat")
    assert _texts(plain) == [("chat", None, "Build 42 for all See https://ci/42", None)]
