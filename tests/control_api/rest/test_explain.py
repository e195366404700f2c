"""`POST /explain`: a message on the topic, one that might be, a draft, and what is refused."""

import secrets
from typing import Any

import httpx
import pytest
from sqlalchemy import func, select

from control_api.models import ChangeRow
from notifier.database import Database
from tests.rigs.api_rig import Api
from tests.rigs.kafka_tools import produce, wait_until
from tests.rigs.problems import problem

ADDRESS = "/api/v1/explain"
TO_CHAT = "/api/v1/configurations/to-chat/explain"
HYPOTHETICAL = {"producer": "ci", "content": "build failed", "link": 7}


async def _explained(asking: httpx.AsyncClient, **body: Any) -> dict[str, Any]:
    answer = await asking.post(ADDRESS, json=body)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def _is_there(asking: httpx.AsyncClient, body: dict[str, Any]) -> bool:
    return (await asking.post(ADDRESS, json=body)).status_code == 200


async def _is_published(api: Api) -> bool:
    database = Database(api.settings)
    try:
        async with database.read() as session:
            query = select(func.count()).select_from(ChangeRow).where(ChangeRow.published_at.is_(None))
            return await session.scalar(query) == 0
    finally:
        await database.close()


async def test_a_message_on_the_topic_is_explained_as_it_was_and_as_it_is(api: Api) -> None:
    id_ = f"a/b {secrets.token_hex(4)}"
    meant = {"producer": "ci", "id": id_}
    await wait_until(lambda: _is_published(api))
    async with api.client("admin") as admin, api.client("read") as reader:
        sent = await admin.post("/api/v1/messages", json={**HYPOTHETICAL, "id": id_})
        assert sent.status_code == 202
        await wait_until(lambda: _is_there(reader, meant))
        found = await _explained(reader, **meant)
        assert found["message"] == {**HYPOTHETICAL, "id": id_}
        assert found["origin"]["topic"].endswith("messages")
        assert (found["as_of"], found["reason"], found["attempts"]) == ("then", "ok", [])
        assert found["text"] == "to-chat passed it on to chat. No consumer has answered yet."
        previewed = (await reader.post(TO_CHAT.replace("explain", "preview"), json=meant)).json()
        assert previewed["message"] == found["message"]
        assert [(one["consumer"], one["recipient"]) for one in previewed["texts"]] == [("chat", None)]
        (part,) = found["configurations"]
        assert (part["configuration"], part["verdict"]) == ("to-chat", "delivered")
        (recipient,) = part["recipients"]
        assert recipient["recipient"] is None
        (consumer,) = recipient["consumers"]
        assert consumer == {
            "consumer": "chat",
            "address": None,
            "lane": "chat",
            "verdict": "delivered",
            "reason": "ok",
            "text": "chat gets it once, for everyone",
            "rendered": "build failed",
        }
        filter_ = {"name": "quiet", "type": "skip_keywords", "parameters": {"skip_keywords": ["failed"]}}
        assert (await admin.post("/api/v1/filters", json=filter_)).status_code == 201
        assert (await admin.patch(TO_CHAT.removesuffix("/explain"), json={"filters": ["quiet"]})).status_code == 200
        later = await _explained(reader, **meant)
        assert later["configurations"] == found["configurations"]
        assert later["now"]["revision"] > later["revision"]
        said = "quiet says that the content contains 'failed'"
        assert later["now"]["text"] == f"Nobody would get it: to-chat would drop it, because {said}."
        now = await _explained(reader, **meant, as_of="now")
        assert (now["text"], now["now"]) == (later["now"]["text"], None)
        then = await _explained(reader, message=HYPOTHETICAL, as_of=found["at"])
        assert then["text"] == "to-chat would pass it on to chat."
        (step,) = now["configurations"][0]["recipients"][0]["steps"]
        assert (step["filter"], step["verdict"], step["reason"], step["reached"]) == (
            "quiet",
            "dropped",
            "filtered",
            True,
        )
        draft = await reader.post(TO_CHAT, json={**meant, "draft": {"producers": ["ci"], "consumers": ["chat"]}})
        assert draft.json()["text"] == "to-chat would pass it on to chat."
        assert draft.json()["configurations"][0]["version"] is None
        assert (await admin.patch(TO_CHAT.removesuffix("/explain"), json={"filters": []})).status_code == 200


async def test_a_message_without_an_id_is_found_by_its_place(api: Api) -> None:
    (sent,) = await produce(api.settings, "messages", [HYPOTHETICAL], partition=2)
    id_ = f"2-{sent.offset}-{sent.timestamp}"
    async with api.client("read") as reader:
        assert (await _explained(reader, producer="ci", id=id_))["message"]["id"] == id_
        problem(await reader.post(ADDRESS, json={"producer": "ci", "id": f"2-{sent.offset}-1"}), 404)
        problem(await reader.post(ADDRESS, json={"producer": "cd", "id": id_}), 404)


async def test_what_the_topic_holds_beside_ordinary_messages_is_told(api: Api) -> None:
    large = {**HYPOTHETICAL, "content": "x" * 900_000}
    odd = b'{"producer": "ci", "content": "x", "link": 7, "endless": 1e999, "deep": ' + b"[" * 300 + b"]" * 300 + b"}"
    wrong = {"producer": "ci", "id": "no-content"}
    sent = await produce(api.settings, "messages", [large, odd, wrong, b"no JSON"], partition=1)
    large_id, odd_id, wrong_id, other_id = [f"1-{one.offset}-{one.timestamp}" for one in sent]
    async with api.client("read") as reader:
        found = await _explained(reader, producer="ci", id=large_id)
        assert (found["reason"], found["configurations"]) == ("too_large", [])
        assert found["text"].startswith("Nobody got it: a message has at most 900000 bytes; this one has 9000")
        shown = (await _explained(reader, producer="ci", id=odd_id))["message"]
        assert shown["endless"].startswith("cannot be shown: ")
        assert shown["deep"].startswith("cannot be shown: ")
        assert (shown["content"], shown["link"], shown["id"]) == ("x", 7, odd_id)
        await wait_until(lambda: _is_refused(reader, {"producer": "ci", "id": "no-content"}))
        for id_, one, why in (("no-content", sent[2], "content"), (other_id, sent[3], "JSON")):
            refused = problem(await reader.post(ADDRESS, json={"producer": "ci", "id": id_}), 422)
            (error,) = refused["errors"]
            assert error["pointer"] == "/id"
            assert f"messages/1/{one.offset} is no message: " in error["detail"]
            assert why in error["detail"]
        problem(await reader.post(ADDRESS, json={"producer": "cd", "id": wrong_id}), 404)


async def _is_refused(asking: httpx.AsyncClient, body: dict[str, Any]) -> bool:
    return (await asking.post(ADDRESS, json=body)).status_code == 422


DRAFT = {"producers": ["ci"], "consumers": ["chat"]}


@pytest.mark.parametrize(
    ("address", "body", "status", "pointers"),
    [
        (ADDRESS, {}, 422, ["/message"]),
        (ADDRESS, {"producer": "ci"}, 422, ["/id"]),
        (ADDRESS, {"message": HYPOTHETICAL, "id": "m"}, 422, ["/message"]),
        (ADDRESS, {"message": {"producer": "ci"}}, 422, ["/message/content"]),
        (ADDRESS, {"message": {"producer": 7, "content": "x"}}, 422, ["/message/producer"]),
        (ADDRESS, {"message": {**HYPOTHETICAL, "content": "x" * 900_000}}, 422, ["/message"]),
        (ADDRESS, {"message": {**HYPOTHETICAL, "v": 9}}, 422, ["/message/v"]),
        (ADDRESS, {"message": HYPOTHETICAL, "as_of": "then"}, 422, ["/as_of"]),
        (ADDRESS, {"message": HYPOTHETICAL, "at": "2026-11-29T10:00:00"}, 422, ["/at"]),
        (ADDRESS, {"message": HYPOTHETICAL, "receiver": "nobody"}, 422, ["/receiver"]),
        (ADDRESS, {"message": HYPOTHETICAL, "configuration": "none"}, 422, ["/configuration"]),
        (ADDRESS, {"message": HYPOTHETICAL, "draft": DRAFT}, 422, ["/configuration"]),
        (ADDRESS, {"message": HYPOTHETICAL, "other": 1}, 422, ["/other"]),
        (ADDRESS, {"producer": "ci", "id": "none"}, 404, []),
        (ADDRESS, {"producer": "\0", "id": "\0"}, 404, []),
        (ADDRESS, {"producer": "ci", "id": "99-1-1"}, 404, []),
        (TO_CHAT.replace("to-chat", "none"), {"message": HYPOTHETICAL}, 404, []),
        (TO_CHAT, {"message": HYPOTHETICAL, "configuration": "to-chat"}, 422, ["/configuration"]),
        (TO_CHAT, {"message": HYPOTHETICAL, "draft": {"users": ["bob"]}}, 422, ["/draft/users/0"]),
        (TO_CHAT, {"message": HYPOTHETICAL, "draft": {"user": []}}, 422, ["/draft/user"]),
        (TO_CHAT, {"message": HYPOTHETICAL, "draft": {"template": "{{"}}, 422, ["/draft/template"]),
        (TO_CHAT, {"message": HYPOTHETICAL, "draft": {"name": "other"}}, 422, ["/draft/name"]),
        (TO_CHAT.replace("to-chat", "Not a name"), {"message": HYPOTHETICAL, "draft": DRAFT}, 422, ["/draft/name"]),
    ],
)
async def test_what_is_wrong_is_named(
    api: Api, address: str, body: dict[str, Any], status: int, pointers: list[str]
) -> None:
    async with api.client("read") as reader:
        refused = problem(await reader.post(address, json=body), status)
    assert [error["pointer"] for error in refused.get("errors", [])] == pointers


async def test_a_new_configuration_can_be_tried_as_a_draft(api: Api) -> None:
    async with api.client("read") as reader:
        answer = await reader.post(TO_CHAT.replace("to-chat", "fresh"), json={"message": HYPOTHETICAL, "draft": DRAFT})
        assert answer.json()["text"] == "fresh would pass it on to chat."
        for body in (
            "[]",
            '{"message": 1e999}',
            '{"message": {"producer": "ci", "content": "x", "n": 1' + "0" * 40 + "}}",
        ):
            refused = await reader.post(ADDRESS, content=body, headers={"Content-Type": "application/json"})
            assert refused.status_code in (200, 400, 422), refused.text
