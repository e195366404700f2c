"""Parked deliveries over REST and GraphQL, and a delivery worker that cancels them."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from urllib.parse import quote

import msgspec
import pytest
import pytest_asyncio

from control_api.access.actor import COMMAND_LINE, Actor
from control_api.migrate import upgrade
from control_api.parked import parked as parked_module
from control_api.parked.waiting import _parked
from notifier.delivery import OPERATORS
from notifier.errors import BrokerError, Conflict, OtherTeam, UnknownName
from notifier.record import now
from notifier.settings import Settings
from tests.rigs.delivery_rig import attempts, define_sink, make, park, parked, saw, wait_for_attempts, working
from tests.rigs.graphql_api import Api, serving
from tests.rigs.history_rig import record_at
from tests.rigs.kafka_tools import produce, wait_until
from tests.rigs.redrive_rig import define

pytest_plugins = ["tests.rigs.databases"]
LATER = now() + timedelta(days=30)


@pytest_asyncio.fixture
async def api(settings: Settings) -> AsyncIterator[Api]:
    await upgrade(settings)
    async with serving(settings) as api:
        yield api


async def listed(api: Api, **query: str) -> list[str]:
    async with api.client("read") as asking:
        answer = await asking.get("/api/v1/deliveries", params={"state": "parked", **query})
    assert answer.status_code == 200, answer.text
    return [item["id"] for item in answer.json()["items"]]


async def test_they_are_listed_shown_and_cancelled(
    api: Api, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parked_module, "_ANSWER_S", 0.5)
    path = await define_sink(settings)
    some = [
        make("x", number=number, lane=f"p{number}", not_before=LATER + timedelta(hours=number), why="held", attempt=2)
        for number in range(5)
    ]
    for delivery in [*reversed(some), make("y", not_before=LATER - timedelta(hours=1), why="retry")]:
        await park(settings, delivery)
    await produce(settings, "parked", ["no delivery"], key="k")
    await produce(settings, "parked", [None], key=some[4].id)
    retry, some = make("y").id, some[:4]
    ids = [retry, *(delivery.id for delivery in some)]

    async def all_are_read() -> bool:
        return await listed(api) == ids

    await wait_until(all_are_read)
    assert await listed(api, why="retry") == [retry]
    assert await listed(api, recipient="p2", consumer="sink", configuration="all", why="held") == [some[2].id]
    assert await listed(api, consumer="other") == []
    found = await api.data("{ parkedDeliveries(limit: 3) { items { id why attempt notBefore } nextCursor } }")
    assert [item["id"] for item in found["parkedDeliveries"]["items"]] == ids[:3]
    cursor = found["parkedDeliveries"]["nextCursor"]
    assert await listed(api, cursor=cursor) == ids[3:]
    at = f"/api/v1/deliveries/{quote(some[1].id, safe='')}"
    async with api.client("read") as reading, api.client("run") as asking:
        for wrong in ({"cursor": "x"}, {"state": "done"}, {"why": "bored"}, {"limit": "0"}):
            assert (await reading.get("/api/v1/deliveries", params=wrong)).status_code == 422
        one = (await reading.get(at)).json()
        assert (one["message"]["content"], one["attempt"], one["why"], one["state"]) == ("x", 2, "held", "parked")
        assert one["not_before"] == (LATER + timedelta(hours=1)).isoformat().replace("+00:00", "Z")
        assert (await reading.delete(at)).status_code == 403
        assert (await reading.get("/api/v1/deliveries/none")).status_code == 404
        assert (await asking.delete("/api/v1/deliveries/none")).status_code == 404
        # No delivery worker: it is asked for, and done by the next that comes.
        answer = await asking.delete(at)
        assert (answer.status_code, answer.json()) == (202, {"id": some[1].id, "state": "parked"})
        monkeypatch.setattr(parked_module, "_ANSWER_S", 120.0)
        async with working(settings):
            await wait_for_attempts(settings, 1, outcome="suppressed", reason="cancelled")
            assert (await asking.delete(f"/api/v1/deliveries/{quote(some[2].id, safe='')}")).status_code == 204
            query = "mutation ($id: String!) { cancelDelivery(id: $id) { id done } }"
            assert (await api.data(query, "run", id=retry))["cancelDelivery"] == {"id": retry, "done": True}
            assert (await asking.delete(at)).status_code == 404
            assert sorted(await listed(api)) == sorted([some[0].id, some[3].id])
    ended = [attempt for attempt in await attempts(settings) if attempt.reason == "cancelled"]
    assert {attempt.delivery for attempt in ended} == {some[1].id, some[2].id, retry}
    assert all(attempt.number == (1 if attempt.delivery == retry else 2) for attempt in ended)
    assert all((attempt.detail or "").startswith("cancelled by token") for attempt in ended)
    assert await saw(path, 0) == []
    async with api.client("admin") as admin:
        entries = (await admin.get("/api/v1/audit", params={"action": "cancel"})).json()["items"]
    assert {(entry["kind"], entry["name"]) for entry in entries} == {("configuration", "all")}
    assert len(entries) == 3


async def test_one_that_is_released_at_that_moment_is_not_cancelled(
    api: Api, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The request comes behind the release; what is parked anew under the id meanwhile stays."""
    path = await define_sink(settings, plan={"x": ["accept"]})
    due = now() + timedelta(seconds=3)
    await park(settings, make("x", not_before=due, why="held"))
    parts = api.parts.parked
    await wait_until(lambda: make("x").id in parts.waiting._known)
    asked, go_on = asyncio.Event(), asyncio.Event()
    ask = parts._ask

    async def late(*request: object) -> None:
        asked.set()
        await go_on.wait()
        await ask(*request)  # type: ignore[arg-type]

    monkeypatch.setattr(parts, "_ask", late)
    cancelling = asyncio.create_task(parts.cancel(COMMAND_LINE, make("x").id))
    await asked.wait()
    async with working(settings):
        await saw(path, 1)
        await park(settings, make("x", not_before=LATER, why="held", attempt=2))
        go_on.set()
        with pytest.raises(Conflict, match="released meanwhile"):
            await cancelling
        await park(
            settings, make("z", not_before=now(), why="held")
        )  # behind the request, if in another partition perhaps
        await saw(path, 2)
    assert [(one.id, one.attempt) for one in (await parked(settings)).values()] == [(make("x").id, 2)]
    assert [attempt.reason for attempt in await attempts(settings)].count("cancelled") == 0


async def test_another_team_sees_and_cancels_none(api: Api, settings: Settings) -> None:
    await define(api.parts.database, "configuration", "all", team="ops")
    told = msgspec.structs.replace(make("told"), configuration=OPERATORS)
    for delivery in (told, make("x", not_before=LATER, why="held")):
        await park(settings, delivery)
    parts = api.parts.parked
    await wait_until(lambda: len(parts.waiting._known) == 2)
    dev = Actor("dev", frozenset({"run", "read"}), team="dev", strict=True)
    assert (await parts.list(dev, parked_module.ParkedQuery()))[0] == []
    for act in (parts.get, parts.cancel):
        for delivery in (told, make("x")):
            with pytest.raises(UnknownName):
                await act(dev, delivery.id)
    with pytest.raises(OtherTeam, match="ops"):
        await parts.cancel(Actor("dev", frozenset({"run"}), team="dev"), make("x").id)


async def test_names_that_no_database_takes_are_no_hindrance(store_settings: Settings) -> None:
    """Any Kafka client may write such a record; to cancel it gets as far as the broker, which is away."""
    settings = store_settings.model_copy(update={"kafka": "127.0.0.1:1"})
    odd = msgspec.structs.replace(make("x"), id="a\0b", configuration="\0", not_before=LATER)
    found = _parked(replace(record_at("parked", 0, odd.encode()), key=b"a\0b"))
    assert found is not None
    async with serving(settings) as api:
        parts = api.parts.parked
        parts.waiting._known[found.id] = found
        parts.waiting._loaded.set()
        with pytest.raises(BrokerError):
            await parts.cancel(COMMAND_LINE, "a\0b")
