"""People who answer a bot, from the code that links them to what they press: API, broker and delivery worker are real."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx

import consumers.telegram.bot  # noqa: F401 - importing it takes many seconds of a busy machine
from control_api.access import tokens
from control_api.app import create_app
from control_api.registry import load_registry
from notifier.settings import Settings
from notifier.wish import code_digest
from tests.rigs.bot_api import TOKEN, BotApi
from tests.rigs.bot_inbox import PERSON
from tests.rigs.delivery_rig import with_, working
from tests.rigs.kafka_tools import read_all, wait_until
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


async def _is_told(settings: Settings, key: bytes) -> bool:
    """Whether the newest record of a wish is a tombstone."""
    found = [record.value for record in await read_all(settings, "status") if record.key == key]
    return bool(found) and found[-1] is None
