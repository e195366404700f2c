"""What the API tells of producers from which nothing comes, by the real topics."""

import json
from typing import Any

import httpx

from control_api.access.tokens import create_token
from control_api.silence.arrivals import unread
from notifier.database import Database
from notifier.settings import Settings
from tests.rigs.api_rig import client, define, running
from tests.rigs.kafka_tools import produce, read_all, wait_until


async def told(settings: Settings) -> list[dict[str, Any]]:
    """The notices of all producers, in the order in which they came."""
    records = [
        record for record in await read_all(settings, "messages") if b"notifier-silence" in (record.value or b"")
    ]
    return [json.loads(record.value) for record in sorted(records, key=lambda record: record.timestamp)]


async def is_told(settings: Settings, count: int) -> bool:
    return len(await told(settings)) >= count


async def put(asking: httpx.AsyncClient, name: str, type_: str, every: str | None) -> None:
    answer = await asking.put(f"/api/v1/producers/{name}", json={"type": type_, "expect_every": every})
    assert answer.status_code == 200, answer.text


async def state(asking: httpx.AsyncClient) -> str | None:
    found = (await asking.get("/api/v1/status")).json()["items"]
    return next((one["state"] for one in found if (one["kind"], one["name"]) == ("producer", "ci")), None)


async def test_a_silence_is_told_once_and_so_is_its_end(settings: Settings) -> None:
    await define(settings)
    token = await create_token(settings, name="t", scopes=["admin"])
    async with running(settings) as url, running(settings) as other, client(url, token) as asking:
        await put(asking, "reviews", "pulled", "1s")  # no runner works, so nothing can come
        await put(asking, "ci", "pushed", "2s")
        await wait_until(lambda: is_told(settings, 1))
        (silent,) = await told(settings)
        assert (silent["producer"], silent["severity"], silent["labels"]) == ("ci", "warning", {"silence": "silent"})

        async def is_silent() -> bool:
            problem = (await asking.get("/api/v1/producers/ci")).json().get("problem") or ""
            return await state(asking) == "silent" and "its source is silent since" in problem

        await wait_until(is_silent)
        shown = (await asking.get("/api/v1/producers/ci")).json()
        assert shown["expect_every"] == "2s"
        async with client(other, token) as beside:
            assert (await beside.get("/api/v1/producers/ci")).status_code == 200
    # Others take over: it is told no second time, and what comes now ends it.
    async with running(settings) as url, client(url, token) as asking:

        async def is_sent() -> bool:
            return (await asking.post("/api/v1/messages", json={"producer": "ci", "content": "x"})).status_code == 202

        await wait_until(lambda: _is_silent(asking))
        assert len(await told(settings)) == 1
        await put(asking, "ci", "pushed", "30m")
        await wait_until(is_sent)
        await wait_until(lambda: is_told(settings, 2))
        back = (await told(settings))[1]
        assert (back["producer"], back["severity"], back["labels"]) == ("ci", "info", {"silence": "over"})

        async def is_well() -> bool:
            return await state(asking) == "ready" and "problem" not in (await asking.get("/api/v1/producers/ci")).json()

        await wait_until(is_well)
        await put(asking, "ci", "pushed", None)
    assert [one["producer"] for one in await told(settings)] == ["ci", "ci"]
    database = Database(settings)
    try:
        await produce(settings, "messages", [{"producer": "reviews", "content": "not indexed"}, b"junk"])
        assert await unread(settings, database, {"ci", "reviews"}) == {"reviews"}  # our own notices are no arrivals
    finally:
        await database.close()


async def _is_silent(asking: httpx.AsyncClient) -> bool:
    return await state(asking) == "silent"
