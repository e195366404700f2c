"""Versions of definitions: what changed, and going back."""

import json
import random
import threading
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from control_api.access.actor import COMMAND_LINE
from control_api.definitions import audit
from control_api.definitions.audit import AuditQuery
from control_api.definitions.differences import differences
from control_api.definitions.services import Services
from control_api.definitions.versions import Rollback, history, rollback
from control_api.page_query import PageQuery, close_cursor
from notifier.database import Database
from notifier.errors import Conflict, Forbidden, InputError, StaleVersion, UnknownName
from notifier.outcome import Kind
from notifier.plugin import Producer, WorldParameters
from notifier.pointer import pointer_parts
from notifier.registry import Registry
from notifier.seal import Seal
from tests.rigs.definitions_rig import (
    CANARY,
    CHAT,
    CONFIGURATION,
    EDITOR,
    FEED,
    FILTER,
    PROGRAM,
    REGISTRY,
    SCRIPT,
    USER,
    Chat,
    create_all,
)

pytest_plugins = ["tests.rigs.databases"]


async def _versions(store: Database, kind: Kind, name: str) -> list[dict[str, Any]]:
    async with store.read() as session:
        items, cursor = await history(session, COMMAND_LINE, kind, name, PageQuery(limit=100), REGISTRY)
    assert cursor is None
    return items


async def _back(store: Database, services: Services, kind: Kind, name: str, version: int, **more: Any) -> Any:
    actor = more.pop("actor", EDITOR)
    return await rollback(store, services, actor, Rollback(kind=kind, name=name, version=version, **more))


async def test_each_change_is_a_version_that_names_every_field(services: Services, store: Database) -> None:
    first = await services.create(EDITOR, "user", USER)
    hours = {"start": "09:00", "end": "18:00", "days": ["mon"], "timezone": "Europe/Moscow"}
    second = await services.patch(EDITOR, "user", "alice", {"working_time": hours, "on_leave": True})
    third = await services.patch(EDITOR, "user", "ALICE", {"working_time": {"end": "17:00"}, "on_leave": None})
    last = await services.delete(COMMAND_LINE, "user", "alice")
    found = await _versions(store, "user", "alice")
    assert [(one["version"], one["actor"], one["action"]) for one in found] == [
        (last, "cli", "delete"),
        (third.revision, "token editor", "patch"),
        (second.revision, "token editor", "patch"),
        (first.revision, "token editor", "create"),
    ]
    changes = [[(one["op"], one["pointer"]) for one in item["changes"]] for item in found]
    assert changes == [
        [("remove", "")],
        [("replace", "/on_leave"), ("replace", "/working_time/end")],
        [("replace", "/on_leave"), ("replace", "/working_time")],
        [("add", "")],
    ]
    assert found[3]["changes"][0]["after"]["additional_info"] == USER["additional_info"]
    assert found[1]["changes"][1] == {
        "op": "replace", "pointer": "/working_time/end", "before": "18:00", "after": "17:00",
    }  # fmt: skip
    assert found[0]["changes"][0]["before"]["working_time"]["end"] == "17:00"


async def test_a_secret_that_changed_is_told_and_not_shown(services: Services, store: Database) -> None:
    await services.create(EDITOR, "consumer", CHAT)
    await services.patch(EDITOR, "consumer", "team", {"parameters": {"token": CANARY + "2", "chat_id": 5}})
    await services.patch(EDITOR, "consumer", "team", {"parameters": {"urls": [CANARY]}})
    await services.patch(EDITOR, "consumer", "team", {"parameters": {"urls": None}})
    found = await _versions(store, "consumer", "team")
    told = [{one["pointer"]: one["after"] for one in item["changes"]} for item in found[:3]]
    assert told == [
        {"/parameters/urls": None},
        {"/parameters/urls": {"set": True, "changed": True}},
        {"/parameters/token": {"set": True, "changed": True}, "/parameters/chat_id": 5},
    ]
    assert CANARY not in json.dumps(found)
    assert "sealed:" not in json.dumps(found)


async def test_history_of_nobody_is_unknown(services: Services, store: Database) -> None:
    for name in ("nobody", "NO WAY", "nul\0"):
        with pytest.raises(UnknownName):
            await _versions(store, "filter", name)
        with pytest.raises(UnknownName):
            await _back(store, services, "filter", name, 1)


async def test_history_comes_page_by_page(services: Services, store: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    await services.create(EDITOR, "filter", FILTER)
    for number in range(5):
        await services.patch(EDITOR, "filter", "short", {"parameters": {"words": [str(number)]}})
    whole = await _versions(store, "filter", "short")
    assert len(whole) == 6
    for limit, most in ((2, audit.MAX_PAGE_BYTES), (100, 1)):  # by the number of items, and by their size
        monkeypatch.setattr(audit, "MAX_PAGE_BYTES", most)
        found: list[dict[str, Any]] = []
        cursor = None
        while cursor is not None or not found:
            async with store.read() as session:
                items, cursor = await history(
                    session, COMMAND_LINE, "filter", "short", PageQuery(limit=limit, cursor=cursor), REGISTRY
                )
            assert 0 < len(items) <= 2
            found += items
        assert found == whole
    async with store.read() as session:
        with pytest.raises(InputError, match="/cursor"):
            await history(session, COMMAND_LINE, "filter", "short", PageQuery(limit=10, cursor="x"), REGISTRY)


async def test_a_page_ends_by_the_size_of_what_it_answers_and_does_not_hold_up_the_loop(
    services: Services, store: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await services.create(EDITOR, "user", USER)
    for number in range(3):
        await services.patch(
            EDITOR, "user", "alice", {"additional_info": {"w": {f"k{key}": number for key in range(50)}}}
        )
    loop = threading.get_ident()
    at: list[int] = []

    def spied(*arguments: Any) -> Any:
        at.append(threading.get_ident())
        return differences(*arguments)

    monkeypatch.setattr(audit, "differences", spied)
    monkeypatch.setattr(
        audit, "MAX_PAGE_BYTES", 3_000
    )  # the documents of two versions have less; their changes have more
    async with store.read() as session:
        items, cursor = await history(session, COMMAND_LINE, "user", "alice", PageQuery(limit=10), REGISTRY)
    assert len(items) == 1
    assert cursor is not None
    assert at
    assert loop not in at


async def test_what_has_become_a_secret_is_masked_in_what_was_before(store: Database, seal: Seal) -> None:
    class Open(WorldParameters):
        key: str | None = None

    class Closed(WorldParameters):
        key: SecretStr | None = None

    def of(model: type[WorldParameters]) -> Registry:
        return Registry([type("Thing", (Producer,), {"__doc__": "A thing.", "type": "thing", "Parameters": model})])

    thing = {"name": "t", "type": "thing", "parameters": {"key": CANARY}}
    before, after = Services(store, of(Open), seal), Services(store, of(Closed), seal)
    await before.create(COMMAND_LINE, "producer", thing)
    await after.replace(COMMAND_LINE, "producer", "t", {**thing, "parameters": {"key": "another"}})
    async with store.read() as session:
        versions, _ = await history(session, EDITOR, "producer", "t", PageQuery(), after.registry)
        log, _ = await audit.audit(session, COMMAND_LINE, AuditQuery(kind="producer"), after.registry)
    assert CANARY not in json.dumps([versions, log])
    assert versions[1]["changes"][0]["after"]["parameters"] == {"key": {"set": True}}
    assert versions[0]["changes"][0]["after"] == {"set": True, "changed": True}


async def test_a_rollback_is_a_new_version_that_says_the_same(services: Services, store: Database) -> None:
    first = await services.create(EDITOR, "filter", FILTER)
    second = await services.replace(EDITOR, "filter", "short", {"type": "words", "parameters": {"words": ["late"]}})
    back = await _back(store, services, "filter", "short", first.revision)
    assert back.document == first.document
    assert back.revision > second.revision
    assert (await _versions(store, "filter", "short"))[0]["action"] == "rollback"
    again = await _back(store, services, "filter", "short", first.revision)
    assert again.revision == back.revision  # it says so already
    with pytest.raises(StaleVersion):
        await _back(store, services, "filter", "short", second.revision, expected=first.revision)
    forth = await _back(store, services, "filter", "short", second.revision, expected=back.revision)
    assert forth.document == second.document


async def test_the_history_has_every_document_there_ever_was(services: Services, store: Database) -> None:
    """By nothing but its changes, undone one after another; and a rollback to each gives the same document."""
    chance = random.Random(7)
    there = {(await services.create(EDITOR, "user", USER)).revision: (await services.get("user", "alice")).document}
    for _ in range(12):
        value = chance.choice(
            [None, 1, True, "a/b~c", ["x", {"id": 2}], {"id": chance.randrange(3), "deep": {"er": []}}]
        )
        world = {
            chance.choice(["github", "a/b", "c~d"]): value if isinstance(value, dict) else {"id": 1, "more": value}
        }
        patch = {"on_leave": chance.random() < 0.5, "additional_info": chance.choice([world, None, world])}
        stored = await services.patch(EDITOR, "user", "alice", patch)
        there[stored.revision] = stored.document
    found = await _versions(store, "user", "alice")
    assert [one["version"] for one in found] == sorted(there, reverse=True)
    document = json.loads(json.dumps(there[found[0]["version"]]))
    for item in found[:-1]:
        assert document == there[item["version"]]
        for change in reversed(item["changes"]):
            undo(document, change)
    assert document == found[-1]["changes"][0]["after"] == there[min(there)]
    for version in chance.sample(sorted(there), 4):
        assert (await _back(store, services, "user", "alice", version)).document == there[version]


def undo(document: dict[str, Any], change: dict[str, Any]) -> None:
    *above, last = pointer_parts(change["pointer"])
    target = document
    for part in above:
        target = target[part]
    if change["op"] == "add":
        assert target.pop(last) == change["after"]
    else:
        assert change["op"] == "remove" or target[last] == change["after"]
        target[last] = change["before"]


async def test_what_is_no_version_is_refused_in_words(services: Services, store: Database) -> None:
    first = await services.create(EDITOR, "filter", FILTER)
    other = await services.create(EDITOR, "user", USER)
    gone = await services.delete(EDITOR, "filter", "short")
    for version, words in ((other.revision, "none of its versions"), (gone, "deleted it"), (2**63 - 1, "none of")):
        with pytest.raises(InputError, match=rf"/version: {version} is .*{words}.* are {first.revision}$"):
            await _back(store, services, "filter", "short", version)


async def test_a_rollback_brings_back_what_was_deleted(services: Services, store: Database) -> None:
    await create_all(services)
    whole = await services.get("configuration", "all")
    await services.delete(EDITOR, "configuration", "all")
    gone = await services.delete(EDITOR, "filter", "short")
    filter_version = (await _versions(store, "filter", "short"))[-1]["version"]
    with pytest.raises(Conflict, match=r"not there any more: filter/short; bring that back first"):
        await _back(store, services, "configuration", "all", whole.revision)
    with pytest.raises(StaleVersion, match="deleted since"):
        await _back(store, services, "filter", "short", filter_version, expected=filter_version)
    assert (await _back(store, services, "filter", "short", filter_version)).revision > gone
    assert (await _back(store, services, "configuration", "all", whole.revision)).document == whole.document


async def test_secrets_stay_as_they_are_stored_now(services: Services, store: Database, seal: Seal) -> None:
    first = await services.create(
        EDITOR, "consumer", {**CHAT, "parameters": {"token": CANARY, "chat_id": -100, "urls": [CANARY]}}
    )
    await services.patch(
        EDITOR, "consumer", "team", {"parameters": {"token": "another", "urls": None, "headers": {"h": "kept"}, "chat_id": 7}}
    )  # fmt: skip
    now = await services.get("consumer", "team")
    back = await _back(store, services, "consumer", "team", first.revision)
    assert back.spec["parameters"] == {**now.spec["parameters"], "chat_id": -100}
    built = REGISTRY.build("consumer", "team", "chat", back.spec["parameters"], seal)
    assert isinstance(built, Chat)
    assert built.parameters.token.get_secret_value() == "another"
    await services.delete(EDITOR, "consumer", "team")
    with pytest.raises(
        InputError, match=f"/parameters/token: the secret of version {first.revision} is stored nowhere"
    ):
        await _back(store, services, "consumer", "team", first.revision)


async def test_a_rollback_clears_no_secret_unsaid(store: Database, seal: Seal) -> None:
    class Hooked(WorldParameters):
        url: str
        key: SecretStr | None = None

    thing = type("Thing", (Producer,), {"__doc__": "A thing.", "type": "thing", "Parameters": Hooked})
    services = Services(store, Registry([thing, *REGISTRY]), seal)

    async def write(url: str, **more: Any) -> Any:
        parameters = {"url": url, **more}
        if "t" not in await services.get_many("producer", ["t"]):
            return await services.create(EDITOR, "producer", {"name": "t", "type": "thing", "parameters": parameters})
        return await services.patch(EDITOR, "producer", "t", {"parameters": parameters})

    first = await write("https://a", key="of-a")
    await write("https://b", key="of-b")
    with pytest.raises(Conflict, match=r"^/parameters/key of the producer 't' was given for another address"):
        await _back(store, services, "producer", "t", first.revision)
    assert "key" in (await services.get("producer", "t")).spec["parameters"]
    await write("https://a", key="again")
    assert "key" in (await _back(store, services, "producer", "t", first.revision)).spec["parameters"]
    await write("https://b", key=None)
    assert "key" not in (await _back(store, services, "producer", "t", first.revision)).spec["parameters"]
    # One that is required is refused as every such write is.
    feed = await services.create(EDITOR, "producer", FEED)
    moved = {"url": "https://other", "token": "anew"}
    await services.patch(EDITOR, "producer", "news", {"parameters": moved})
    with pytest.raises(InputError, match="/parameters/token: was given for another `url`"):
        await _back(store, services, "producer", "news", feed.revision)


async def test_a_rollback_needs_what_writing_it_would_need(services: Services, store: Database) -> None:
    script = await services.create(COMMAND_LINE, "script", SCRIPT)
    await services.patch(COMMAND_LINE, "script", "append", {"content": "true"})
    open_ = await services.create(
        COMMAND_LINE, "consumer", {**PROGRAM, "parameters": {"script": "append", "network": True}}
    )
    await services.patch(COMMAND_LINE, "consumer", "to-file", {"parameters": {"network": False}})
    for kind, stored in (("script", script), ("consumer", open_)):
        with pytest.raises(Forbidden, match="admin"):
            await _back(store, services, kind, stored.name, stored.revision)  # type: ignore[arg-type]
    assert (await _back(store, services, "script", "append", script.revision, actor=COMMAND_LINE)).spec == script.spec


async def test_a_rollback_takes_no_partition_away(services: Services, store: Database) -> None:
    first = await services.create(EDITOR, "consumer", CHAT)
    await services.patch(EDITOR, "consumer", "team", {"parameters": {"partitions": 4}})
    with pytest.raises(InputError, match="/parameters/partitions: must be 4 or more"):
        await _back(store, services, "consumer", "team", first.revision)


async def test_a_type_that_is_not_installed_any_more_has_a_history(
    services: Services, store: Database, seal: Seal
) -> None:
    first = await services.create(EDITOR, "consumer", CHAT)
    await services.patch(EDITOR, "consumer", "team", {"parameters": {"chat_id": 3}})
    bare = Services(store, Registry(), seal)
    assert len(await _versions(store, "consumer", "team")) == 2
    with pytest.raises(InputError, match="/type"):
        await _back(store, bare, "consumer", "team", first.revision)


@pytest.mark.parametrize("statement", ["UPDATE audit SET actor = 'nobody'", "DELETE FROM audit"])
async def test_the_database_refuses_to_change_the_audit_log(
    services: Services, store: Database, statement: str
) -> None:
    await services.create(EDITOR, "filter", FILTER)
    with pytest.raises(DBAPIError, match="append-only"):
        async with store.write() as session:
            await session.execute(text(statement))
    assert len(await _versions(store, "filter", "short")) == 1


async def test_no_row_of_the_audit_log_is_replaced(services: Services, store: Database) -> None:
    await services.create(EDITOR, "filter", FILTER)
    columns = "INTO audit (id, at, actor, action, kind, name) SELECT id, at, 'forged', action, kind, name FROM audit"
    # PostgreSQL has its own words for it, which the trigger of UPDATE refuses; a second row of an id it never takes.
    sqlite = store.is_sqlite
    statement = (
        f"INSERT OR REPLACE {columns}" if sqlite else f"INSERT {columns} ON CONFLICT (id) DO UPDATE SET actor = 'x'"
    )
    with pytest.raises(DBAPIError, match="append-only"):
        async with store.write() as session:
            await session.execute(text(statement))
    assert (await _versions(store, "filter", "short"))[0]["actor"] == "token editor"


async def test_the_audit_log_is_found_by_every_condition(services: Services, store: Database) -> None:
    await create_all(services)
    await services.patch(EDITOR, "configuration", "all", {"title": "All"})

    async def ask(**conditions: Any) -> list[tuple[str, str, str]]:
        async with store.read() as session:
            items, _ = await audit.audit(session, COMMAND_LINE, AuditQuery(**conditions), REGISTRY)
        return [(item["action"], item["kind"], item["name"]) for item in items]

    everything = await ask()
    assert everything[0] == ("patch", "configuration", "all")
    assert len(everything) == 8
    assert await ask(actor="token editor") == everything[:1]
    assert await ask(kind="configuration") == everything[:2]
    assert await ask(name="all", action="create") == everything[1:2]
    async with store.read() as session:
        items, cursor = await audit.audit(session, COMMAND_LINE, AuditQuery(limit=3), REGISTRY)
        assert cursor == close_cursor(items[-1]["id"])
        rest, _ = await audit.audit(session, COMMAND_LINE, AuditQuery(cursor=cursor), REGISTRY)
    assert [item["name"] for item in [*items, *rest]] == [name for _, _, name in everything]
    at = items[0]["at"]
    assert ("patch", "configuration", "all") in await ask(since=at)
    assert ("patch", "configuration", "all") not in await ask(until=at)
    assert await ask(since="2999-01-01T00:00:00Z") == []
    assert CONFIGURATION["name"] == "all"
