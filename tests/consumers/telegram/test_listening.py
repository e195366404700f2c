"""People who answer a bot, from the code that links them to what they press: API, broker and delivery worker are real."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import msgspec
from msgspec.structs import replace

import consumers.telegram.bot  # noqa: F401 - importing it takes many seconds of a busy machine
from control_api.access import tokens
from control_api.app import create_app
from control_api.registry import load_registry
from notifier.settings import Settings
from notifier.wish import code_digest
from tests.rigs.bot_api import TOKEN, BotApi
from tests.rigs.bot_inbox import PERSON
from tests.rigs.delivery_rig import make, wait_for_attempts, with_, working
from tests.rigs.kafka_tools import produce, read_all, wait_until
from tests.rigs.rest_rig import serving as api_serving

BOT: dict[str, Any] = {"name": "direct", "type": "telegram", "parameters": {"bot_token": TOKEN, "chat_id": "recipient"}}


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    """An API and a delivery worker, with a bot that listens and three people; a client of the API."""
    registry = load_registry()
    async with api_serving(create_app(settings, registry=registry), {"admin": ""}) as rest:
        token = await tokens.create_token(settings, name="test", scopes=["admin"])
        client = rest.client(None)
        client.headers["Authorization"] = f"Bearer {token}"
        for kind, document in (
            ("users", {"username": "alice", "additional_info": {"telegram": {"username": "old_name"}}}),
            ("users", {"username": "bob"}),
            ("consumers", BOT),
            ("producers", {"name": "ci", "type": "push"}),
            ("configurations", {"name": "all", "producers": ["ci"], "consumers": ["direct"], "users": ["alice"]}),
        ):
            answer = await client.post(f"/api/v1/{kind}", json=document)
            assert answer.status_code == 201, answer.text
        async with working(settings, registry):
            yield client


async def listen(client: httpx.AsyncClient, **parameters: Any) -> None:
    answer = await client.patch("/api/v1/consumers/direct", json={"parameters": {"listen": True, **parameters}})
    assert answer.status_code == 200, answer.text


async def user(client: httpx.AsyncClient, name: str = "alice") -> dict[str, Any]:
    document: dict[str, Any] = (await client.get(f"/api/v1/users/{name}")).json()
    return document


async def test_a_person_is_linked_by_a_code_and_answers(settings: Settings, api: BotApi) -> None:
    settings = with_(settings, telegram_api=api.url)
    inbox = api.inbox
    async with running(settings) as client:
        refused = await client.post("/api/v1/users/alice/link")
        assert (refused.status_code, "listen: true" in refused.text) == (409, True)
        await listen(client)
        made = (await client.post("/api/v1/users/alice/link")).json()
        assert (made["username"], made["consumers"], made["command"]) == ("alice", ["direct"], f"/start {made['code']}")

        # What is odd, or not for us, costs itself.
        inbox.updates += [None, 7, {}, {"update_id": 1, "message": None}, {"update_id": 2, "callback_query": {"id": 3}}]
        inbox.write("/start", person=1)
        inbox.write(f"/start {made['code']}", chat={"id": -100, "type": "supergroup"})
        inbox.write("/start not_a_code_of_ours_at_all", person=2)
        await inbox.told("Send /start")
        await inbox.told("This code is not valid")
        assert (await user(client))["additional_info"] == {"telegram": {"username": "old_name"}}

        inbox.write(f"/start@TheBot {made['code']}")
        assert await inbox.told("Done") == "Done. Messages for alice come here from now on."
        assert (await user(client))["additional_info"] == {"telegram": {"username": "alice_t", "id": PERSON}}
        inbox.write(f"/start {made['code']}", person=3)
        await wait_until(lambda: len([text for text in inbox.texts() if text.startswith("This code is not")]) == 2)
        audit = (await client.get("/api/v1/audit", params={"kind": "user", "name": "alice"})).json()["items"]
        assert [one["action"] for one in audit[:2]] == ["patch", "link"]
        assert audit[0]["actor"] == "consumer direct"

        # Nobody takes another one's chat, and the code is good still.
        other = (await client.post("/api/v1/users/bob/link")).json()
        inbox.write(f"/start {other['code']}")
        await inbox.told("This chat belongs to alice already")
        assert inbox.conflicts == 0
        records = await read_all(settings, "status")
        assert made["code"] not in repr(records)
        key = f"link/{code_digest(made['code'])}".encode()
        await wait_until(lambda: _is_told(settings, key))


async def test_presses_are_answers_and_messages(settings: Settings, api: BotApi) -> None:
    settings = with_(settings, telegram_api=api.url)
    inbox = api.inbox
    async with running(settings) as client:
        info = {"telegram": {"username": "alice_t", "id": PERSON}}
        assert (await client.patch("/api/v1/users/alice", json={"additional_info": info})).status_code == 200
        for producer in ({"name": "heard", "type": "answers", "parameters": {"buttons": ["acknowledge"]}},):
            assert (await client.post("/api/v1/producers", json=producer)).status_code == 201
        buttons = ["acknowledge", "mute_hour", "mute_day", "link"]
        await listen(client, buttons=buttons)
        await wait_until(lambda: inbox.offsets)  # the worker knows all that
        keys = await sent_with_buttons(settings, api, 1)
        assert [(key["text"], key.get("url")) for key in keys] == [
            ("Acknowledge", None),
            ("Mute for 1 h", None),
            ("Mute until tomorrow", None),
            ("Open", "https://ci.example.com/42"),
        ]
        data = [key["callback_data"] for key in keys if "callback_data" in key]
        assert max(map(len, data)) <= 64

        # Whatever else a client of one's own sends names no delivery.
        forged = data[0].replace(data[0][2:6], "0000")
        for odd in (forged, data[1].replace("h.", "a.", 1), data[0] + "0", "a", "", "é" * 64):
            inbox.press(odd)
        await wait_until(
            lambda: inbox.texts("answerCallbackQuery").count("This message is too old to be answered.") == 6
        )
        inbox.press(data[0])
        inbox.press(data[0], person=7)
        await wait_until(lambda: inbox.texts("answerCallbackQuery").count("Acknowledged.") == 2)

        async def listed(**conditions: str) -> list[dict[str, Any]]:
            answer = await client.get("/api/v1/answers", params=conditions)
            assert answer.status_code == 200, answer.text
            items: list[dict[str, Any]] = answer.json()["items"]
            return items

        async def both() -> list[dict[str, Any]] | None:
            items = await listed()
            return items if len(items) == 2 else None

        items = await wait_until(both)
        assert {(one["user"], one["called"], one["button"]) for one in items} == {
            ("alice", "alice_t", "acknowledge"),
            (None, "alice_t", "acknowledge"),
        }
        assert {
            (one["producer"], one["message"], one["configuration"], one["consumer"], one["recipient"]) for one in items
        } == {("ci", "1", "all", "direct", "alice")}
        assert len(await listed(user="alice", message="1")) == 1
        assert await listed(button="mute_day") == []
        query = '{answers(user: "alice") {items {user button delivery at}}}'
        found = (await client.post("/graphql", json={"query": query})).json()["data"]["answers"]["items"]
        assert [(one["user"], one["button"]) for one in found] == [("alice", "acknowledge")]
        written = [json.loads(record.value) for record in await read_all(settings, "messages")]
        assert sorted(one["content"] for one in written) == [
            "alice acknowledged: build failed",
            "alice_t acknowledged: build failed",
        ]
        assert {(one["producer"], one["receiver"], one["url"]) for one in written} == {
            ("heard", "bob", "https://ci.example.com/42")
        }
        assert {one["id"] for one in written} == {one["id"] for one in items}

        # Who mutes a configuration, or everything, gets nothing of it.
        inbox.press(data[2])
        await inbox.told("Nothing more of all comes to you until", "answerCallbackQuery")

        async def document(**fields: Any) -> dict[str, Any] | None:
            found = await user(client)
            return found if all(bool(found[name]) is wanted for name, wanted in fields.items()) else None

        muted = await wait_until(lambda: document(muted=True, muted_until=False))
        assert list(muted["muted"]) == ["all"]
        await wait_for_attempts(settings, 1, outcome="accepted")
        await sent(settings, 2)
        (suppressed,) = [
            one for one in await wait_for_attempts(settings, 1, outcome="suppressed") if one.reason == "muted"
        ]
        assert (suppressed.recipient, suppressed.number) == ("alice", 1)
        for text, end in (
            ("/unmute", "Messages come to you again."),
            ("/mute 2h", "Nothing comes to you until"),
            ("/mute for ever", "Send /mute 30m"),
            ("/hours 9-18 mon-fri Europe/Moscow", "Your hours are changed."),
        ):
            inbox.write(text)
            await inbox.told(end)
        found = await user(client)
        assert (found["muted"], bool(found["muted_until"])) == ({}, True)
        assert found["working_time"] == {
            "start": "09:00",
            "end": "18:00",
            "days": ["mon", "tue", "wed", "thu", "fri"],
            "timezone": "Europe/Moscow",
        }
        assert found["additional_info"] == info
        assert len(api.texts) == 1


async def sent(settings: Settings, number: int) -> None:
    """Sends a message from bob to alice on its way."""
    message = {
        "producer": "ci",
        "id": str(number),
        "content": "build failed",
        "sender": "bob",
        "url": "https://ci.example.com/42",
    }
    made = make("build failed", consumer="direct", lane=str(PERSON), number=number)
    made = replace(made, message=msgspec.Raw(json.dumps(message).encode()), message_id=str(number), recipient="alice")
    await produce(settings, "deliveries.direct", [made.encode()], key=made.lane)


async def sent_with_buttons(settings: Settings, api: BotApi, number: int) -> list[dict[str, Any]]:
    """The buttons under such a message."""
    await sent(settings, number)
    await wait_for_attempts(settings, number, outcome="accepted")
    rows = json.loads([form for method, form in api.calls if method == "sendMessage"][-1]["reply_markup"])[
        "inline_keyboard"
    ]
    return [key for row in rows for key in row]


async def _is_told(settings: Settings, key: bytes) -> bool:
    """Whether the newest record of a wish is a tombstone."""
    found = [record.value for record in await read_all(settings, "status") if record.key == key]
    return bool(found) and found[-1] is None
