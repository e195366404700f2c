"""The push producer: what it makes of hooks. Taking pushed messages in is tested in `tests/control_api`."""

import json
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from notifier import Hook, Received
from notifier.errors import InputError
from notifier.registry import Registry
from producers import BUILT_IN
from producers.push import Push
from tests.rigs.plugin_world import context_without_scripts


def push(**parameters: Any) -> Push:
    return Push(Push.Parameters.model_validate(parameters))


async def received(producer: Push, payload: object, **headers: str) -> Received:
    hook = Hook(
        door="json", payload=payload, headers={name.replace("_", "-"): value for name, value in headers.items()}
    )
    return await producer.received(hook, context_without_scripts("ci"))


def test_a_push_producer_is_not_asked_and_keeps_its_secret_to_itself() -> None:
    producer = push(webhook_secret="hush-hush", world="github")
    assert not producer.pull
    assert producer.world_of() == "github"
    assert "hush-hush" not in repr(producer.parameters)
    assert isinstance(producer.parameters.webhook_secret, SecretStr)


async def test_without_a_mapping_a_message_is_a_message_and_any_other_json_its_content() -> None:
    message = {"content": "it failed", "severity": "purple", "labels": {"a": None}, "own": [1]}
    for payload, expected in (
        (message, message),
        ({**message, "producer": "ci"}, message),
        ({"id": 5, "content": "it failed"}, {"content": '{"id":5,"content":"it failed"}'}),
        ({"content": None}, {"content": '{"content":null}'}),
        ([1, "ü"], {"content": '[1,"ü"]'}),
        ("text", {"content": "text"}),
    ):
        assert (await received(push(), payload)).messages == [expected]
    with pytest.raises(InputError, match="/producer"):
        await received(push(), {**message, "producer": "other"})


async def test_a_mapping_says_what_of_a_hook_is_which_field() -> None:
    mapping = {"content": "text", "severity": "level", "title": "header('x-event')"}
    answer = await received(push(mapping=mapping), {"text": "it failed", "level": "fatal"}, x_event="build")
    assert answer == Received(messages=[{"title": "build", "severity": "critical", "content": "it failed"}])


async def test_an_empty_list_says_why_there_are_no_messages() -> None:
    answer = await received(push(mapping={"each": "alerts"}), {"alerts": []})
    assert (list(answer.messages), answer.detail) == ([], "each: finds an empty list; there is no message")


@pytest.mark.parametrize("name", ["uptime_kuma", "uptime-kuma", "Uptime-Kuma"])
async def test_a_ready_mapping_has_a_name(name: str) -> None:
    answer = await received(push(mapping=name), {"heartbeat": None, "monitor": None, "msg": "Test"})
    assert [message["content"] for message in answer.messages] == ["Test"]


@pytest.mark.parametrize(
    ("mapping", "place"),
    [
        ("nagios", "/parameters/mapping"),
        ({"content": "a..b"}, "/parameters/mapping/content"),
        ({"labels": {"a": "nope(b)"}}, "/parameters/mapping/labels/a"),
        ({"contents": "a"}, "/parameters/mapping/contents"),
        ({"severities": {"bad": "terrible"}}, "/parameters/mapping/severities/bad"),
    ],
)
def test_a_mapping_that_cannot_be_used_is_refused_at_its_place(mapping: object, place: str) -> None:
    with pytest.raises(InputError) as refused:
        Registry(BUILT_IN).check("producer", "push", {"mapping": mapping})
    assert refused.value.errors[0].pointer == place


def test_the_schema_of_a_mapping_offers_names_and_fields() -> None:
    schema = json.dumps(Push.Parameters.model_json_schema())
    assert "uptime_kuma" in schema
    assert "occurred_at" in schema
    with pytest.raises(ValidationError):
        push(mapping=5)
