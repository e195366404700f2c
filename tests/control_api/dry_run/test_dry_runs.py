"""Dry runs over REST: begun, followed, cancelled, and what becomes of those whose processes die."""

import json
import os
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest
import pytest_asyncio

from control_api.access.actor import COMMAND_LINE
from control_api.app import create_app
from control_api.dry_run import dry_runs
from control_api.dry_run.dry_runs import DryRuns
from control_api.models import DryRunRow
from control_api.parts import Parts
from control_api.registry import load_registry
from notifier.database import Database
from notifier.record import now, rfc3339
from notifier.seal import generate_key
from notifier.settings import Settings, load_settings
from tests.rigs.kafka_tools import delete_topics, produce, wait_until
from tests.rigs.rest_rig import Rest, prepare, serving

pytestmark = pytest.mark.asyncio(loop_scope="module")

DEFINED: list[tuple[str, dict[str, Any]]] = [
    ("users", {"username": "ann"}),
    ("users", {"username": "ben", "on_leave": True}),
    ("producers", {"name": "builds", "type": "push"}),
    ("filters", {"name": "no-wip", "type": "skip_keywords", "parameters": {"skip_keywords": ["wip"]}}),
    ("filters", {"name": "at-work", "type": "receiver_working"}),
    ("consumers", {"name": "chat", "type": "telegram", "parameters": {"bot_token": "123:abc", "chat_id": 7}}),
    ("configurations", {"name": "told", "users": ["ann", "ben"], "producers": ["builds"], "consumers": ["chat"]}),
]  # fmt: skip
DRAFT = {"users": ["ann", "ben"], "producers": ["builds"], "filters": ["no-wip", "at-work"], "consumers": ["chat"]}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def rest(broker: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Rest]:
    """An API with `DEFINED`, and 300 messages on the topic: a third of them for Ben, a third about what is not done."""
    settings = _settings(broker, tmp_path_factory)
    values = [
        {"producer": "builds", "id": f"m{number}", "receiver": "ben" if number % 3 == 1 else "ann",
         "content": "wip" if number % 3 == 0 else "done"}
        for number in range(300)
    ]  # fmt: skip
    await produce(settings, "messages", [json.dumps(value) for value in values], partition=0)
    async with _serving(settings, await prepare(settings, load_registry())) as rest:
        yield rest
    await delete_topics(settings)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def rest_without_broker(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Rest]:
    """An API with `DEFINED` whose broker is away."""
    settings = _settings("127.0.0.1:1", tmp_path_factory)
    async with _serving(settings, await prepare(settings, load_registry())) as rest:
        yield rest


def _settings(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return load_settings(
        env_file=None,
        kafka=kafka,
        topic_prefix=f"t{secrets.token_hex(4)}.",
        data_dir=tmp_path_factory.mktemp("dry"),
        database_url=None,
        secret_key=generate_key(),
    )


@asynccontextmanager
async def _serving(settings: Settings, bearer: dict[str, str]) -> AsyncIterator[Rest]:
    async with serving(create_app(settings), bearer) as rest:
        for kind, document in DEFINED:
            answer = await rest.client("admin").post(f"/api/v1/{kind}", json=document)
            assert answer.status_code == 201, answer.text
        yield rest


async def begin(rest: Rest, name: str = "told", **asked: Any) -> str:
    answer = await rest.client("run").post(f"/api/v1/configurations/{name}/dry_run", json=asked)
    assert answer.status_code == 202, answer.text
    id_ = answer.json()["id"]
    assert answer.headers["location"] == f"/api/v1/dry_runs/{id_}"
    return str(id_)


async def get(rest: Rest, id_: str) -> dict[str, Any]:
    answer = await rest.client("read").get(f"/api/v1/dry_runs/{id_}")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def ended(rest: Rest, id_: str) -> dict[str, Any]:
    found: dict[str, Any] = {}

    async def is_over() -> bool:
        nonlocal found
        found = await get(rest, id_)
        return bool(found["state"] != "running")

    await wait_until(is_over, otherwise=lambda: str(found))
    return found


def parts_of(rest: Rest) -> Parts:
    parts: Parts = rest._app.state.parts
    return parts


def children() -> list[psutil.Process]:
    """The processes that judge."""
    found = []
    for process in psutil.Process().children():
        try:
            if "control_api.dry_run.child" in process.cmdline():
                found.append(process)
        except psutil.Error:
            pass  # it has ended meanwhile
    return found


async def stopped_child() -> psutil.Process:
    """The child that has just been started, standing still."""
    await wait_until(lambda: len(children()) == 1)  # those of the test before have gone
    (child,) = children()
    child.suspend()
    return child


async def test_a_draft_is_compared_with_what_is_stored(rest: Rest) -> None:
    done = await ended(rest, await begin(rest, draft=DRAFT))
    assert done["state"] == "done", done
    assert (done["progress"], done["messages"], done["considered"]) == (1, 300, 300)
    assert (done["delivers_now"], done["would_deliver"], done["added"], done["dropped"]) == (300, 100, 0, 200)
    samples = done["samples"]["dropped"]
    assert (len(samples), done["samples"]["added"]) == (100, [])
    assert samples[0] | {"at": ""} == {
        "producer": "builds", "message": "m0", "at": "", "text": "wip", "consumer": "chat", "recipient": "ann",
        "why": "ann would not get it: told would drop it, because no-wip says that the content contains 'wip'.",
    }  # fmt: skip
    assert "at-work says that ben is on leave" in samples[1]["why"]
    assert children() == []
    as_stored = await ended(rest, await begin(rest))
    assert (as_stored["delivers_now"], as_stored["would_deliver"], as_stored["dropped"]) == (300, 300, 0)
    new = await ended(rest, await begin(rest, "new", draft=DRAFT, since=rfc3339(now() - timedelta(hours=1))))
    assert (new["configuration"], new["delivers_now"], new["would_deliver"]) == ("new", 0, 100)


CASES: list[tuple[str, dict[str, Any], int, str | None]] = [
    ("told", {"draft": {**DRAFT, "filters": ["no-such"]}}, 422, "/draft/filters/0"),
    ("told", {"draft": {**DRAFT, "colour": "red"}}, 422, "/draft/colour"),
    ("told", {"draft": {**DRAFT, "name": "other"}}, 422, "/draft/name"),
    ("new", {"draft": {**DRAFT, "name": "other"}}, 422, "/draft/name"),
    ("No!", {"draft": DRAFT}, 422, "/draft/name"),
    ("told", {"draft": []}, 422, "/draft"),
    ("told", {"since": "2999-01-01T00:00:00Z"}, 422, "/since"),
    ("told", {"since": "2026-01-02T00:00:00Z", "until": "2026-01-01T00:00:00Z"}, 422, "/since"),
    ("told", {"since": "yesterday"}, 422, "/since"),
    ("told", {"extra": 1}, 422, "/extra"),
    ("new", {}, 404, None),
]


async def test_what_cannot_be_asked_names_the_field(rest_without_broker: Rest) -> None:
    for name, asked, status, pointer in CASES:
        answer = await rest_without_broker.client("run").post(f"/api/v1/configurations/{name}/dry_run", json=asked)
        assert answer.status_code == status, (name, asked, answer.text)
        if pointer is not None:
            assert answer.json()["errors"][0]["pointer"] == pointer


async def test_it_is_cancelled_in_the_middle_by_any_process(rest: Rest) -> None:
    id_ = await begin(rest, draft=DRAFT)
    child = await stopped_child()
    for asking in ("run", "read"):
        answer = await rest.client(asking).get(f"/api/v1/dry_runs/{id_}")
        assert answer.status_code == (200 if asking == "read" else 403)
    parts = parts_of(rest)
    other = Database(parts.settings)
    try:  # another API process, which has not started it
        await DryRuns(parts.settings, other, parts.services).cancel(COMMAND_LINE, id_)
    finally:
        await other.close()
    assert (await get(rest, id_))["state"] == "cancelled"
    await wait_until(lambda: not child.is_running())
    id_ = await begin(rest, draft=DRAFT)
    child = await stopped_child()
    for _ in range(2):
        assert (await rest.client("run").delete(f"/api/v1/dry_runs/{id_}")).status_code == 204
    await wait_until(lambda: not child.is_running())
    found = await get(rest, id_)
    assert (found["state"], found["error"]) == ("cancelled", None)
    assert found["ended_at"] is not None


async def test_so_many_at_once_and_no_more(rest: Rest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dry_runs, "MOST_AT_ONCE", 1)
    id_ = await begin(rest, draft=DRAFT)
    await stopped_child()
    answer = await rest.client("run").post("/api/v1/configurations/told/dry_run", json={})
    assert answer.status_code == 409
    assert "1 dry runs are at work" in answer.json()["detail"]
    assert (await rest.client("run").delete(f"/api/v1/dry_runs/{id_}")).status_code == 204
    assert (await ended(rest, await begin(rest)))["state"] == "done"


async def test_a_child_that_is_killed_is_a_failure_with_a_reason(rest: Rest) -> None:
    id_ = await begin(rest, draft=DRAFT)
    (await stopped_child()).kill()
    found = await ended(rest, id_)
    assert found["state"] == "failed"
    assert "killed" in found["error"]


async def test_one_whose_api_is_gone_fails(rest: Rest) -> None:
    """Stopped in order it says so at once; killed, once nobody has heard of it for a while."""
    id_ = await begin(rest, draft=DRAFT)
    child = await stopped_child()
    await parts_of(rest).dry_runs.stop()
    found = await get(rest, id_)
    assert (found["state"], "stopped" in found["error"]) == ("failed", True)
    await wait_until(lambda: not child.is_running())
    async with parts_of(rest).database.write() as session:
        row = await session.get(DryRunRow, id_)
        assert row is not None
        row.state, row.error, row.alive_at = "running", None, now() - timedelta(seconds=31)
    found = await get(rest, id_)
    assert (found["state"], "gone" in found["error"]) == ("failed", True)


async def test_one_is_begun_once_under_an_idempotency_key(rest: Rest) -> None:
    client = rest.client("run")
    answers = [
        await client.post("/api/v1/configurations/told/dry_run", json={}, headers={"Idempotency-Key": "k"})
        for _ in range(2)
    ]
    assert answers[0].json() == answers[1].json()
    assert (await ended(rest, answers[0].json()["id"]))["state"] == "done"


async def test_what_a_plugin_prints_harms_nothing(rest: Rest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "loud.py").write_text("print('loaded')\nraise ImportError('it is only loud')\n")
    announced = tmp_path / "loud-1.0.dist-info"
    announced.mkdir()
    (announced / "METADATA").write_text("Metadata-Version: 2.1\nName: loud\nVersion: 1.0\n")
    (announced / "entry_points.txt").write_text("[notifier.filters]\nloud = loud:Loud\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    done = await ended(rest, await begin(rest, draft=DRAFT))
    assert (done["state"], done["error"], done["dropped"]) == ("done", None, 200)


async def test_a_broker_that_is_away_is_a_failure(rest_without_broker: Rest) -> None:
    found = await ended(rest_without_broker, await begin(rest_without_broker, draft=DRAFT))
    assert found["state"] == "failed"
    assert "127.0.0.1:1" in found["error"]


async def test_an_unknown_one_is_not_found(rest_without_broker: Rest) -> None:
    for id_ in ("x", "0" * 36, "x" * 1000):
        for answer in (
            await rest_without_broker.client("read").get(f"/api/v1/dry_runs/{id_}"),
            await rest_without_broker.client("run").delete(f"/api/v1/dry_runs/{id_}"),
        ):
            assert answer.status_code == 404, answer.text


async def test_graphql_begins_follows_and_cancels(rest: Rest) -> None:
    async def ask(query: str, scope: str, **variables: Any) -> Any:
        answer = await rest.client(scope).post("/graphql", json={"query": query, "variables": variables})
        assert "errors" not in answer.json(), answer.text
        return answer.json()["data"]

    start = """mutation($draft: ConfigurationInput) {
      startDryRun(configuration: "told", draft: $draft) { dryRun { id state } errors { field pointer messages } }
    }"""
    shown = """query($id: String!) { dryRun(id: $id) {
      state progress wouldDeliver deliversNow dropped samples { dropped { recipient why } }
    } }"""
    wrong = (await ask(start, "run", draft={**DRAFT, "filters": ["gone"]}))["startDryRun"]
    assert (wrong["dryRun"], wrong["errors"][0]["pointer"]) == (None, "/draft/filters/0")
    id_ = (await ask(start, "run", draft=DRAFT))["startDryRun"]["dryRun"]["id"]
    assert (await ended(rest, id_))["state"] == "done"
    found = (await ask(shown, "read", id=id_))["dryRun"]
    assert (found["progress"], found["wouldDeliver"], found["deliversNow"], found["dropped"]) == (1, 100, 300, 200)
    assert len(found["samples"]["dropped"]) == 100
    id_ = (await ask(start, "run", draft=DRAFT))["startDryRun"]["dryRun"]["id"]
    await stopped_child()
    cancelled = await ask("mutation($id: String!) { cancelDryRun(id: $id) { dryRun { state } } }", "run", id=id_)
    assert cancelled["cancelDryRun"]["dryRun"]["state"] == "cancelled"
