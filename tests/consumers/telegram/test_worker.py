"""Telegram with a real delivery worker, and with a router before it, on a real broker."""

import logging
from typing import Any

import pytest

import consumers.telegram.bot  # noqa: F401 - importing it takes many seconds of a busy machine, which no wait in here allows for
from consumers.telegram.telegram import Telegram
from notifier.kafka import ensure_topics
from notifier.registry import Registry, close_secrets
from notifier.seal import load_seal
from notifier.settings import Settings
from notifier.status import Status
from notifier.topics import deliveries
from tests.rigs.bot_api import GROUP, OK, TOKEN, BotApi, make, says
from tests.rigs.delivery_rig import define, send, wait_for_attempts, with_, working
from tests.rigs.kafka_tools import produce, read_all, wait_until
from tests.rigs.roles import roles


async def define_chat(settings: Settings, template: str | None = None) -> None:
    await ensure_topics(settings, [deliveries("chat", 1)])
    await define_consumer(settings, GROUP)
    await define(settings, "all", {"consumers": ["chat"], "template": template}, kind="configuration")


async def define_consumer(settings: Settings, chat_id: int, revision: int = 1) -> None:
    sealed = close_secrets(load_seal(settings), "consumer", "chat", {"bot_token": TOKEN}, frozenset({"bot_token"}))
    spec = {"type": "telegram", "parameters": {"chat_id": chat_id, **sealed}}
    await define(settings, "chat", spec, revision=revision)


@pytest.mark.predecessor("S-47")
async def test_the_worker_renders_waits_as_told_and_records(
    settings: Settings, api: BotApi, caplog: pytest.LogCaptureFixture
) -> None:
    settings = with_(settings, telegram_api=api.url, retry_schedule_s=(60.0,))
    await define(settings, "alice", {"additional_info": {"telegram": {"username": "al", "id": 123}}}, kind="user")
    await define_chat(settings, "{{ message.content }} for {{ receiver }}{{ 1 / (message.content == 'good') }}")
    api.answers = [says(429, "Too Many Requests: retry after 2", retry_after=2), OK, OK, says(403, "Forbidden: kicked")]
    with caplog.at_level(logging.DEBUG):
        async with working(settings, Registry([Telegram])):
            await send(settings, [make("good", 1), make("bad", 2), make("dead", 3)])
            found = await wait_for_attempts(settings, 1, outcome="refused")
    assert api.texts == ["good for al1.0", "good for al1.0", "From octocat to al: bad", "From octocat to al: dead"]
    deferred, good, bad, dead = found
    assert (deferred.outcome, deferred.reason, deferred.number) == ("deferred", "rate_limited", 1)
    assert deferred.not_before is not None
    assert (deferred.not_before - deferred.ended_at).total_seconds() == 2.0  # exactly as told
    assert good.started_at >= deferred.not_before
    assert (good.outcome, good.number, good.detail) == ("accepted", 2, None)
    assert bad.outcome == "accepted"
    assert bad.detail is not None
    assert "the template of the configuration all failed" in bad.detail
    assert "division by zero" in bad.detail
    assert (dead.outcome, dead.reason) == ("refused", "forbidden")
    assert "Forbidden: kicked" in str(dead.detail)
    own = [record for record in caplog.records if record.name != "aiohttp.access"]
    assert not [record for record in own if "CANARY" in repr(record.__dict__)]
    assert "CANARY" not in repr(found)


@pytest.mark.predecessor("S-10", "S-13", "S-14", "S-25", "S-46")
async def test_from_a_message_to_groups_and_people(settings: Settings, api: BotApi) -> None:
    settings = with_(settings, telegram_api=api.url)
    seal = load_seal(settings)
    users = {
        "alice": {"telegram": {"username": "al", "id": 123}, "github": {"username": "octocat"}},
        "bob": {"telegram": {"username": "bobby"}, "github": {"username": "bob-gh"}},
        "carol": {"telegram": [{"id": 777}], "github": {"username": "carol-gh"}},
        "dave": {"github": {"username": "dave-gh"}},
    }
    await ensure_topics(settings, [deliveries("chat", 1), deliveries("direct", 1)])
    for name, info in users.items():
        await define(settings, name, {"additional_info": info}, kind="user")
    for name, chat_id in (("chat", GROUP), ("direct", "recipient")):
        sealed = close_secrets(seal, "consumer", name, {"bot_token": TOKEN}, frozenset({"bot_token"}))
        await define(settings, name, {"type": "telegram", "parameters": {"chat_id": chat_id, **sealed}})
    await define(settings, "gh", {"type": "push", "parameters": {"world": "github"}}, kind="producer")
    spec = {"users": ["alice", "bob"], "producers": ["gh"], "consumers": ["chat", "direct"]}
    await define(settings, "all", spec, kind="configuration")
    async with roles(settings, "router", "delivery"):
        messages: list[dict[str, Any]] = [
            {"producer": "gh", "sender": "Bob-GH", "receiver": "octocat", "content": "review me"},
            {"producer": "gh", "sender": "stranger", "content": "to everyone"},
            {"producer": "gh", "sender": "carol-gh", "receiver": "dave-gh", "content": "no name there"},
            {"producer": "gh", "receiver": "carol-gh", "content": "a number there"},
        ]
        await produce(settings, "messages", messages)
        found = await wait_for_attempts(settings, 7, outcome="accepted")
        found = await wait_for_attempts(settings, 2, outcome="suppressed")
    sent = sorted((form["chat_id"], form["text"]) for _, form in api.calls)
    assert sent == [
        (str(GROUP), "From bobby to al: review me"),
        (str(GROUP), "From carol-gh to dave: no name there"),
        (str(GROUP), "From stranger: to everyone"),
        (str(GROUP), "To carol: a number there"),
        ("123", "From bobby to al: review me"),
        ("123", "From stranger to al: to everyone"),
        ("777", "To carol: a number there"),
    ]
    suppressed = sorted((a.recipient, a.reason) for a in found if a.outcome == "suppressed")
    assert suppressed == [("bob", "no_address"), ("dave", "no_address")]


async def test_a_group_that_became_a_supergroup_stays_one_until_its_consumer_is_changed(
    settings: Settings, api: BotApi
) -> None:
    settings = with_(settings, telegram_api=api.url)
    await define_chat(settings)
    new = -1009876543210
    api.answers = [says(400, "Bad Request: group chat was upgraded to a supergroup chat", migrate_to_chat_id=new)]
    for number in (1, 2):  # the second time by a worker that was not told by Telegram
        async with working(settings, Registry([Telegram])):
            await send(settings, [make("text", number)])
            found = await wait_for_attempts(settings, number, outcome="accepted")
    assert [form["chat_id"] for _, form in api.calls] == [str(GROUP), str(new), str(new)]
    assert {str(attempt.detail) for attempt in found} == {
        f"the group became the supergroup {new}; write that as chat_id of the consumer"
    }
    (moved,) = await of_the_chat(settings)
    assert moved is not None
    assert (moved.state, moved.became) == ("moved", str(new))
    async with working(settings, Registry([Telegram])):
        await define_consumer(settings, new, revision=3)
        await wait_until(lambda: is_over(settings))
        await send(settings, [make("text", 3)])
        found = await wait_for_attempts(settings, 3, outcome="accepted")
    assert api.calls[3][1]["chat_id"] == str(new)
    assert [attempt.detail for attempt in found if attempt.delivery == make("text", 3).id] == [None]


async def of_the_chat(settings: Settings) -> list[Status | None]:
    """What was written of the chat, in order."""
    key = f"chat/chat/{GROUP}".encode()
    records = [record for record in await read_all(settings, "status") if record.key == key]
    return [None if record.value is None else Status.decode(record.value) for record in records]


async def is_over(settings: Settings) -> bool:
    return (await of_the_chat(settings))[-1] is None
