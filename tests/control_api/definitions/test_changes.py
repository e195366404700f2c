"""Changes: references, the audit log, revisions, and several writers at a time."""

import asyncio
import json
from collections.abc import Awaitable

import pytest
from sqlalchemy import func, select, text

from control_api.access.actor import COMMAND_LINE
from control_api.access.tokens import NewToken, mint
from control_api.definitions.services import Services
from control_api.migrate import upgrade_database
from control_api.models import AuditRow, ChangeRow, DefinitionRow, ReferenceRow
from notifier.database import Database
from notifier.errors import Duplicate, InputError, StaleVersion, StillReferenced
from notifier.seal import Seal
from notifier.settings import Settings
from tests.rigs.definitions_rig import CANARY, CHAT, EDITOR, REGISTRY, USER, create_all, rows

pytest_plugins = ["tests.rigs.databases"]


async def test_what_is_referred_to_stays(services: Services, store: Database) -> None:
    await create_all(services)
    with pytest.raises(StillReferenced, match="configuration/all") as caught:
        await services.delete(COMMAND_LINE, "user", "alice")
    assert caught.value.by == ("configuration/all",)
    with pytest.raises(StillReferenced, match="consumer/to-file"):
        await services.delete(COMMAND_LINE, "script", "append")
    await services.replace(EDITOR, "configuration", "all", {"producers": ["news"]})
    for kind, name in (
        ("user", "alice"),
        ("consumer", "to-file"),
        ("script", "append"),
        ("configuration", "all"),
        ("producer", "news"),
    ):
        await services.delete(COMMAND_LINE, kind, name)  # type: ignore[arg-type]  # the kinds above
    assert await rows(store, ReferenceRow) == []


async def test_fallbacks_are_references_and_make_no_circle(services: Services, store: Database) -> None:
    def chat(name: str, fallback: str | None = None) -> dict[str, object]:
        return {**CHAT, "name": name, "fallback": fallback}

    await services.create(COMMAND_LINE, "consumer", chat("c"))
    await services.create(COMMAND_LINE, "consumer", chat("b", "c"))
    await services.create(COMMAND_LINE, "consumer", {**chat("a", "b"), "retry": {"schedule_s": [], "ttl_s": 60}})
    stored = (await services.get("consumer", "a")).document
    assert (stored["fallback"], stored["retry"], stored["unknown"]) == ("b", {"schedule_s": [], "ttl_s": 60.0}, None)
    with pytest.raises(StillReferenced) as caught:
        await services.delete(COMMAND_LINE, "consumer", "c")
    assert caught.value.by == ("consumer/b",)
    for fallback in "abc":
        with pytest.raises(InputError) as refused:
            await services.patch(COMMAND_LINE, "consumer", "c", {"fallback": fallback})
        assert [one.pointer for one in refused.value.errors] == ["/fallback"]
        assert "'a'" not in str(refused.value)  # it may be another team's
    await services.patch(COMMAND_LINE, "consumer", "b", {"fallback": None})
    await services.patch(COMMAND_LINE, "consumer", "c", {"fallback": "a"})
    await services.delete(COMMAND_LINE, "consumer", "c")
    references = [(row.name, row.to_kind, row.to_name) for row in await rows(store, ReferenceRow)]
    assert references == [("a", "consumer", "b")]


async def test_every_change_is_in_the_audit_log_without_secrets(services: Services, store: Database) -> None:
    await services.create(EDITOR, "consumer", CHAT)
    await services.patch(EDITOR, "consumer", "team", {"parameters": {"chat_id": 5}})
    await services.patch(EDITOR, "consumer", "team", {"parameters": {"token": CANARY + "2"}})
    revision = await services.delete(EDITOR, "consumer", "team")
    log = await rows(store, AuditRow)
    assert [(row.actor, row.action, row.kind, row.name) for row in log] == [
        ("token editor", action, "consumer", "team") for action in ("create", "patch", "patch", "delete")
    ]
    assert [row.before is None for row in log] == [True, False, False, False]
    assert log[1].before["parameters"] == {"token": {"set": True}, "chat_id": -100}
    assert log[1].after["parameters"] == {"token": {"set": True}, "chat_id": 5}
    assert log[2].after["parameters"]["token"] == {"set": True, "changed": True}
    assert log[3].after is None
    assert log[3].revision == revision
    assert "sealed:" not in json.dumps([[row.before, row.after] for row in log])


async def test_a_token_with_the_longest_name_writes_and_keeps_its_id_in_the_audit_log(
    services: Services, store: Database
) -> None:
    async with store.write() as session:
        token, _ = await mint(session, COMMAND_LINE, NewToken(name="n" * 200, scopes=["write"]))
    await services.create(token.actor, "user", USER)
    (entry,) = [row for row in await rows(store, AuditRow) if row.kind == "user"]
    assert entry.actor == token.actor.name
    assert entry.actor.startswith(f"token {token.id} (nnn")


async def test_concurrent_writers_lose_nothing(services: Services, store: Database) -> None:
    await services.create(EDITOR, "user", USER)
    await asyncio.gather(
        *(services.patch(EDITOR, "user", "alice", {"additional_info": {f"world{n}": {"id": n}}}) for n in range(20))
    )
    info = (await services.get("user", "alice")).document["additional_info"]
    assert len(info) == 21
    revisions = [row.revision for row in await rows(store, ChangeRow)]
    assert len(set(revisions)) == 21


async def test_of_two_writers_with_the_same_version_one_wins(services: Services) -> None:
    created = await services.create(EDITOR, "user", USER)
    answers = await asyncio.gather(
        *(
            services.replace(EDITOR, "user", "alice", {"additional_info": {"w": {"id": n}}}, created.revision)
            for n in range(8)
        ),
        return_exceptions=True,
    )
    assert sum(isinstance(answer, StaleVersion) for answer in answers) == 7
    names = [services.create(EDITOR, "user", {"username": "bob"}) for _ in range(4)]
    outcomes = await asyncio.gather(*names, return_exceptions=True)
    assert sum(isinstance(outcome, Duplicate) for outcome in outcomes) == 3


async def test_a_reference_never_dangles(services: Services, store: Database) -> None:
    for number in range(10):
        await services.create(EDITOR, "user", {"username": f"u{number}"})
    work: list[Awaitable[object]] = []
    for number in range(10):
        work.append(services.create(EDITOR, "configuration", {"name": f"c{number}", "users": [f"u{number}"]}))
        work.append(services.delete(EDITOR, "user", f"u{number}"))
    answers = await asyncio.gather(*work, return_exceptions=True)
    assert all(isinstance(answer, InputError | StillReferenced) for answer in answers if isinstance(answer, Exception))
    users = {row.name for row in await rows(store, DefinitionRow) if row.kind == "user"}
    assert {row.to_name for row in await rows(store, ReferenceRow)} <= users


async def test_two_processes_write_one_sqlite_file(alone: Settings, seal: Seal) -> None:
    databases = [Database(alone) for _ in range(3)]
    await upgrade_database(databases[0])
    writers = [Services(database, REGISTRY, seal) for database in databases]
    await writers[0].create(EDITOR, "user", USER)
    await asyncio.gather(
        *(
            writer.patch(EDITOR, "user", "alice", {"additional_info": {f"w{place}x{n}": {}}})
            for place, writer in enumerate(writers)
            for n in range(10)
        )
    )
    assert len((await writers[1].get("user", "alice")).document["additional_info"]) == 31
    for database in databases:
        await database.close()


async def test_counting_up_never_gives_a_revision_twice(services: Services, store: Database) -> None:
    first = await services.create(EDITOR, "user", USER)
    last = await services.delete(EDITOR, "user", "alice")
    async with store.write() as session:
        await session.execute(text("DELETE FROM outbox"))
        await session.execute(text("DELETE FROM change"))
    again = await services.create(EDITOR, "user", USER)
    assert first.revision < last < again.revision
    async with store.read() as session:
        assert await session.scalar(select(func.count()).select_from(ChangeRow)) == 1
