"""What roles report, as the API and the command line show it."""

from collections.abc import AsyncIterator
from datetime import timedelta
from functools import partial
from typing import Any

import httpx
import pytest_asyncio

from control_api.statuses import Statuses
from notifier.record import now
from notifier.settings import Settings
from notifier.status import PassedOver, Status
from tests.rigs.api_rig import Api, client
from tests.rigs.kafka_tools import produce, wait_until
from tests.rigs.roles import run


@pytest_asyncio.fixture
async def admin(api: Api) -> AsyncIterator[httpx.AsyncClient]:
    async with api.client() as asking:
        yield asking


async def say(settings: Settings, name: str, **fields: Any) -> None:
    """Reports as a role does."""
    status = Status(**{"kind": "role", "name": name, "state": "ready", "at": now(), **fields})
    await produce(settings, "status", [status.encode()], key=f"role/{name}")


async def names(admin: httpx.AsyncClient) -> list[str]:
    return [f"{one['name']} {one['state']}" for one in (await admin.get("/api/v1/status")).json()["items"]]


async def is_(admin: httpx.AsyncClient, *wanted: str) -> bool:
    return await names(admin) == list(wanted)


async def test_what_a_role_cannot_use_is_marked_on_the_definition(api: Api, admin: httpx.AsyncClient) -> None:
    made = {"name": "odd", "type": "skip_keywords", "parameters": {"skip_keywords": ["x"]}}
    answer = await admin.post("/api/v1/filters", json=made)
    assert answer.status_code == 201
    plain = (await admin.get("/api/v1/filters/odd")).json()
    assert "problem" not in plain
    text = "there is no filter type 'skip_keywords'"
    for host in ("a", "b"):
        await say(api.settings, f"router@{host}", problems={"filter/odd": text, "filter/other": "no"})
    await wait_until(partial(is_, admin, "router@a ready", "router@b ready"))
    shown = (await admin.get("/api/v1/filters/odd")).json()
    assert shown == {**plain, "problem": f"{text} (router)"}
    listed = (await admin.get("/api/v1/filters")).json()["items"]
    assert [one["problem"] for one in listed] == [f"{text} (router)"]
    query = '{filter(name: "odd") {name problem} filters {items {problem}}}'
    data = (await admin.post("/graphql", json={"query": query})).json()["data"]
    assert data["filter"] == {"name": "odd", "problem": f"{text} (router)"}
    assert data["filters"]["items"] == [{"problem": f"{text} (router)"}]
    again = await admin.put("/api/v1/filters/odd", json=shown)  # what was shown may be written
    assert again.status_code == 200
    assert "problem" not in again.json()
    for host in ("a", "b"):
        await say(api.settings, f"router@{host}")
    await wait_until(lambda: _same(admin, plain))


async def _same(admin: httpx.AsyncClient, wanted: Any) -> bool:
    return bool((await admin.get("/api/v1/filters/odd")).json() == wanted)


async def test_a_role_that_stopped_is_named_until_another_works(api: Api, admin: httpx.AsyncClient) -> None:
    settings = api.settings
    for host in ("a", "b"):
        await produce(settings, "status", [None], key=f"role/router@{host}")
    over = PassedOver(topic="t", count=3, last="t/0/7", error="it is no definition")
    await say(settings, "ticker@a", passed_over=(over,))
    await say(settings, "delivery@a", at=now() - timedelta(minutes=2))  # gone
    await say(settings, "runner@a", state="stopped", detail="version 2 of Run is not known here")
    await produce(settings, "status", [b"junk", b"[]", b"{}", b'{"v":2}'], key="role/junk")
    await say(settings, "other@a", state="stopped")
    await say(settings, "router@b", state="stopped", at=now() + timedelta(days=1))
    await say(settings, "delivery@b")
    await produce(settings, "status", [Status(kind="role", name="x", state="ready", at=now()).encode()], key="role/y")
    await wait_until(partial(is_, admin, "delivery@b ready", "runner@a stopped", "ticker@a ready"))
    async with client(api.url) as nobody:
        ready = await nobody.get("/health/ready")
    assert ready.status_code == 503
    assert "runner" in ready.json()["parts"]["roles"]["detail"]
    status, out, _ = await run(settings, "check", "roles")
    assert status == 1
    assert "the runner cannot go on: version 2 of Run is not known here" in out
    status, out, _ = await run(settings, "status")
    assert status == 1
    assert "passed over 3 records of t, the last at t/0/7: it is no definition" in out
    await say(settings, "runner@b")
    await wait_until(partial(is_, admin, "delivery@b ready", "runner@b ready", "ticker@a ready"))
    async with client(api.url) as nobody:
        assert (await nobody.get("/health/ready")).status_code == 200
    status, out, _ = await run(settings, "check", "roles")
    assert (status, "delivery, runner, ticker" in out) == (0, True)


def take(statuses: Statuses, name: str, kind: str = "role", **fields: Any) -> None:
    """Has them read a record."""
    status = Status(**{"kind": kind, "name": name, "state": "ready", "at": now(), **fields})
    statuses._take(f"{kind}/{name}", status.encode())


def test_those_that_are_gone_make_room_for_others(settings: Settings) -> None:
    statuses = Statuses(settings)
    long_ago = now() - timedelta(minutes=5)
    take(statuses, "chat", "consumer", state="paused", at=long_ago)
    take(statuses, "runner@a", state="stopped", at=long_ago, detail="why")
    for number in range(1100):
        take(statuses, f"router@{number}", at=long_ago)
    take(statuses, "router@new")
    for number in range(1100):
        take(statuses, f"router@more-{number}", at=long_ago)
    take(statuses, "mail", "consumer", state="paused")
    assert [one.name for one in statuses.present()] == ["router@new", "runner@a"]
    assert [one.name for one in statuses.paused()] == ["chat", "mail"]
    for number in range(1100):
        take(statuses, f"delivery@{number}")
    assert [one.name for one in statuses.paused()] == ["chat", "mail"]
    assert len(statuses.present()) == 998


def test_little_is_kept_of_a_record(settings: Settings) -> None:
    statuses = Statuses(settings)
    text = "x" * 5000
    over = PassedOver(topic=text, last=text, error=text)
    take(statuses, "router@a", detail=text, problems={f"{n}{text}": text for n in range(300)}, passed_over=(over,) * 50)
    take(statuses, f"router@{text}")
    (kept,) = statuses.present()
    assert len(kept.encode()) < 700_000
    assert (len(str(kept.detail)), len(kept.problems), len(kept.passed_over)) == (1000, 200, 20)
    assert {len(value) for value in [*kept.problems, *kept.problems.values()]} == {1000}


def test_chats_that_moved_are_listed_and_are_no_pause(settings: Settings) -> None:
    statuses = Statuses(settings)
    take(statuses, "chat/-2", "chat", state="moved", became="-1002", detail="x" * 5000)
    take(statuses, "chat/-1", "chat", state="moved", became="-1001")
    take(statuses, "chat/-3", "chat", state="paused")
    take(statuses, "mail", "consumer", state="moved", became="-1001")
    assert [(one.name, one.became) for one in statuses.moved()] == [("chat/-1", "-1001"), ("chat/-2", "-1002")]
    assert len(str(statuses.moved()[1].detail)) == 1000
    assert (statuses.paused(), statuses.present()) == ([], [])
    statuses._take("chat/chat/-1", None)
    assert [one.name for one in statuses.moved()] == ["chat/-2"]


async def test_sources_that_fail_are_listed_and_marked_on_their_producers(api: Api, admin: httpx.AsyncClient) -> None:
    made = await admin.post("/api/v1/producers", json={"name": "source", "type": "pulled"})
    assert made.status_code == 201
    status = Status(kind="producer", name="source", state="failing", at=now(), since=now(), detail="it answers 503")
    await produce(api.settings, "status", [status.encode()], key="producer/source")

    async def shown(problem: str | None) -> bool:
        found = (await admin.get("/api/v1/producers/source")).json().get("problem")
        return found is None if problem is None else problem in (found or "")

    await wait_until(partial(shown, "its source is failing since"))
    listed = [one for one in (await admin.get("/api/v1/status")).json()["items"] if one["kind"] == "producer"]
    assert [(one["name"], one["state"], one["detail"]) for one in listed] == [("source", "failing", "it answers 503")]
    assert listed[0]["since"] is not None
    exit_status, out, _ = await run(api.settings, "status")
    assert (exit_status, "the producer source: its source is failing since" in out) == (0, True)
    exit_status, out, _ = await run(api.settings, "check", "sources")
    assert (exit_status, "it answers 503" in out) == (1, True)
    back = Status(kind="producer", name="source", state="ready", at=now(), detail="it is called other now")
    await produce(api.settings, "status", [back.encode()], key="producer/source")
    await wait_until(partial(shown, None))
    exit_status, out, _ = await run(api.settings, "status")
    assert "the producer source: its source answers: it is called other now" in out
    exit_status, out, _ = await run(api.settings, "check", "sources")
    assert (exit_status, "no source is failing" in out) == (0, True)


def test_sources_have_states_of_their_own(settings: Settings) -> None:
    statuses = Statuses(settings)
    for state in ("ready", "failing", "silent", "paused"):
        take(statuses, state, "producer", state=state)
    for state in ("stopped", "moved", "disabled", "resumed"):
        take(statuses, state, "producer", state=state)
    take(statuses, "mail", "consumer", state="failing")
    assert [one.name for one in statuses.sources()] == ["failing", "paused", "ready", "silent"]
    assert (statuses.paused(), statuses.present()) == ([], [])
