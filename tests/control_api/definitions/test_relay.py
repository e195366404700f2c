"""Definitions in the control API: schema, services, secrets, files, publication. On SQLite and on PostgreSQL."""

import asyncio
import json
import logging
import os
import shutil
import signal
import stat
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiokafka import AIOKafkaConsumer, TopicPartition
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pydantic import Field, SecretStr
from sqlalchemy import func, select, text

from control_api.access.actor import COMMAND_LINE, Actor
from control_api.definitions.apply import apply, apply_command, export, export_command
from control_api.definitions.documents import dump, load
from control_api.definitions.json_value import merge_patch
from control_api.definitions.outbox import OutboxRecord
from control_api.definitions.plan import ApplyPlan, Planner, Progress
from control_api.definitions.relay import Relay, publish_pending
from control_api.definitions.services import Services
from control_api.migrate import upgrade, upgrade_database
from control_api.models import AuditRow, Base, ChangeRow, DefinitionRow, LeaseRow, OutboxRow, ReferenceRow
from notifier.catalog import Catalog
from notifier.database import SQLITE_FILE, Database, database_url
from notifier.definition import Definition
from notifier.errors import (
    BrokerError,
    DatabaseError,
    Duplicate,
    Forbidden,
    InputError,
    NotifierError,
    SecretError,
    SettingsError,
    StaleVersion,
    StillReferenced,
    UnknownName,
)
from notifier.kafka import kafka_admin, kafka_consumer
from notifier.outcome import Kind
from notifier.plugin import Consumer, ConsumerParameters, Filter, FilterParameters, Producer, WorldParameters
from notifier.record import JsonObject
from notifier.registry import Registry
from notifier.seal import Seal, generate_key, is_sealed
from notifier.settings import Settings, load_settings
from streams.broker.broker import EmbeddedBroker
from streams.definitions import Definitions
from tests.rigs.kafka_tools import read_all, wait_for_records, wait_until

pytest_plugins = ["tests.rigs.databases"]

EDITOR = Actor("token editor", frozenset({"read", "write"}))
CANARY = "canary-7d1f0c"


class FeedParameters(WorldParameters):
    url: str
    token: SecretStr
    webhook_secret: SecretStr | None = None


class Feed(Producer[FeedParameters]):
    """Pulls a feed."""

    type = "feed"
    Parameters = FeedParameters


class WordsParameters(FilterParameters):
    words: list[str]


class Words(Filter[WordsParameters]):
    """Passes what has a word."""

    type = "words"
    Parameters = WordsParameters


class ChatParameters(ConsumerParameters):
    token: SecretStr
    chat_id: int = 0
    urls: list[SecretStr] = Field(default_factory=list)
    headers: dict[str, SecretStr] = Field(default_factory=dict)


class Chat(Consumer[ChatParameters]):
    """Writes to a chat."""

    type = "chat"
    Parameters = ChatParameters


class ProgramParameters(ConsumerParameters):
    script: str
    network: bool = False
    write: list[str] = Field(default_factory=list)


class Program(Consumer[ProgramParameters]):
    """Runs a script."""

    type = "program"
    Parameters = ProgramParameters


REGISTRY = Registry([Feed, Words, Chat, Program])


@pytest.fixture
def alone(tmp_path: Path) -> Settings:
    """Settings on SQLite in an empty folder, for tests that need no broker."""
    return load_settings(
        env_file=None, data_dir=tmp_path, kafka="127.0.0.1:1", database_url=None, secret_key=generate_key()
    )


@pytest.fixture
async def offline(alone: Settings, upgraded_file: Path) -> AsyncIterator[Database]:
    """The database of `alone`, upgraded."""
    shutil.copy(upgraded_file, alone.data_dir / SQLITE_FILE)
    database = Database(alone)
    yield database
    await database.close()


@pytest.fixture
def seal() -> Seal:
    return Seal(generate_key())


@pytest.fixture
def services(store: Database, seal: Seal) -> Services:
    """On a database alone."""
    return Services(store, REGISTRY, seal)


@pytest.fixture
def published(database: Database, seal: Seal) -> Services:
    """On the database of settings that have a broker too."""
    return Services(database, REGISTRY, seal)


USER = {"username": "alice", "additional_info": {"github": {"username": "octocat"}}}
SCRIPT = {"name": "append", "executor": "bash", "content": "cat >> out\n"}
FEED = {"name": "news", "type": "feed", "parameters": {"url": "https://news", "token": CANARY}}
FILTER = {"name": "short", "type": "words", "parameters": {"words": ["now"]}}
CHAT = {"name": "team", "type": "chat", "parameters": {"token": CANARY, "chat_id": -100}}
PROGRAM = {"name": "to-file", "type": "program", "parameters": {"script": "append"}}
CONFIGURATION = {
    "name": "all",
    "users": ["alice"],
    "producers": ["news"],
    "filters": ["short"],
    "consumers": ["team", "to-file"],
    "schedule": {"cron": "*/5 * * * *"},
}
EXAMPLES: dict[Kind, JsonObject] = {
    "user": USER,
    "script": SCRIPT,
    "producer": FEED,
    "filter": FILTER,
    "consumer": CHAT,
    "configuration": CONFIGURATION,
}


async def create_all(services: Services) -> None:
    for kind, document in [*list(EXAMPLES.items())[:-1], ("consumer", PROGRAM), ("configuration", CONFIGURATION)]:
        await services.create(COMMAND_LINE, kind, document)


async def rows(database: Database, table: type[Base]) -> list[Any]:
    async with database.read() as session:
        return list(await session.scalars(select(table)))


async def publish(settings: Settings, database: Database) -> None:
    relay = Relay(settings, database)
    assert await relay.publish()
    await relay.close()


# --------------------------------------------------------------------------------------------------------------- schema


async def test_models_and_migrations_agree(database: Database) -> None:
    async with database.connection() as connection:
        found = await connection.run_sync(
            lambda sync: compare_metadata(MigrationContext.configure(sync, opts={"compare_type": True}), Base.metadata)
        )
    assert found == []


async def test_processes_that_start_together_upgrade_once(database_settings: Settings) -> None:
    await asyncio.gather(*(upgrade(database_settings) for _ in range(5)))
    database = Database(database_settings)
    async with database.read() as session:
        assert await session.scalar(text("SELECT count(*) FROM alembic_version")) == 1
    await database.close()


async def test_a_database_of_a_newer_program_is_refused(database: Database) -> None:
    async with database.write() as session:
        await session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(DatabaseError, match="newer Notifier"):
        await upgrade_database(database)


async def test_the_sqlite_file_is_private(alone: Settings) -> None:
    await upgrade(alone)
    database = Database(alone)
    async with database.write() as session:
        await session.execute(text("CREATE TABLE extra (x INTEGER)"))
        files = list(alone.data_dir.glob("notifier.sqlite3*"))
        assert len(files) == 3  # the file, its log and its index
        assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
        assert await session.scalar(text("PRAGMA journal_mode")) == "wal"
        assert await session.scalar(text("PRAGMA foreign_keys")) == 1
    await database.close()


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param(None, "sqlite+aiosqlite", id="unset"),
        pytest.param("postgresql+asyncpg://u:p@host/db", "postgresql+asyncpg", id="postgresql"),
        pytest.param("postgresql://u:p@host/db", "postgresql+asyncpg", id="without the driver"),
        pytest.param("sqlite:///x.db", "sqlite+aiosqlite", id="another file"),
        pytest.param("mysql://u:hunter2@host/db", None, id="another kind"),
        pytest.param("sqlite://", None, id="in memory"),
        pytest.param("hunter2", None, id="no URL"),
    ],
)
def test_database_urls(alone: Settings, given: str | None, expected: str | None) -> None:
    alone = alone.model_copy(update={"database_url": given})
    if expected is not None:
        assert database_url(alone).drivername == expected
        return
    with pytest.raises(SettingsError, match="NOTIFIER_DATABASE_URL must be") as caught:
        database_url(alone)
    assert "hunter2" not in str(caught.value)


async def test_a_database_that_is_away_is_one_clear_line(alone: Settings) -> None:
    alone = alone.model_copy(update={"database_url": "postgresql://u:hunter2@127.0.0.1:1/db"})
    with pytest.raises(DatabaseError, match=r"127\.0\.0\.1:1 does not answer.*NOTIFIER_DATABASE_URL") as caught:
        await upgrade(alone)
    assert "hunter2" not in str(caught.value)
    assert "\n" not in str(caught.value)


# ------------------------------------------------------------------------------------------------------------- services


async def test_each_kind_can_be_created_and_read(services: Services) -> None:
    await create_all(services)
    for kind, written in EXAMPLES.items():
        name = str(written.get("name", written.get("username")))
        stored = await services.get(kind, name)
        assert stored.kind == kind
        assert stored.etag == f'"{stored.revision}"'
        assert stored.changed_by == "cli"
        assert stored.created_at == stored.updated_at
        assert stored.created_at.tzinfo is not None
        for key, value in written.items():
            if key not in ("parameters", "schedule"):
                assert stored.document[key] == value
    team = await services.get("consumer", "team")
    assert team.document["parameters"] == {"token": {"set": True}, "chat_id": -100}
    assert (await services.get("configuration", "all")).document["schedule"]["missed"] == "last"


WRONG: list[Any] = [
    ("user", {"username": "a b"}, "/username"),
    ("user", {}, "/username"),
    ("user", {"username": 7}, "/username"),
    ("user", "alice", ""),
    ("user", {"username": "a", "on_leave": "x"}, "/on_leave"),
    ("user", {"username": "a", "color": "red"}, "/color"),
    (
        "user",
        {"username": "a", "working_time": {"start": "09:00", "end": "18:00", "timezone": "Mars"}},
        "/working_time/timezone",
    ),
    ("user", {"username": "a", "additional_info": {"x": {"y": "\x00"}}}, "/additional_info/x/y"),
    ("user", {"username": "a", "additional_info": {"x": {"\x00": 1}}}, "/additional_info/x"),
    ("user", {"username": "a", "additional_info": {"x": {"y": "\ud800"}}}, "/additional_info/x/y"),
    ("user", {"username": "a", "additional_info": {"x": {"y": 10**30}}}, "/additional_info/x/y"),
    ("user", {"username": "a", "additional_info": {"x": {"y": float("nan")}}}, "/additional_info/x/y"),
    ("user", {"username": "a", "additional_info": {"x": {"y": "z" * 900_000}}}, ""),
    ("script", {"name": "s", "content": ""}, "/content"),
    ("script", {"name": "s", "content": "x", "executor": "perl"}, "/executor"),
    ("producer", {"name": "Upper", "type": "feed"}, "/name"),
    ("producer", {"name": "-x", "type": "feed"}, "/name"),
    ("producer", {"name": "x", "type": "nope"}, "/type"),
    ("producer", {"name": "x", "type": "feed", "parameters": {"url": "u"}}, "/parameters/token"),
    ("producer", {"name": "x", "type": "feed", "parameters": {"url": "u", "token": None}}, "/parameters/token"),
    (
        "producer",
        {"name": "x", "type": "feed", "parameters": {"url": "u", "token": {"set": True}}},
        "/parameters/token",
    ),
    ("producer", {"name": "x", "type": "feed", "parameters": {"url": "u", "token": "sealed:a:b"}}, "/parameters/token"),
    ("producer", {"name": "x", "type": "feed", "parameters": {"url": "u", "token": 5}}, "/parameters/token"),
    ("producer", {"name": "x", "type": "feed", "parameters": {"url": "u", "token": "t", "z": 1}}, "/parameters/z"),
    ("filter", {"name": "x", "type": "words", "parameters": {"words": "now"}}, "/parameters/words"),
    ("consumer", {"name": "x" * 64, "type": "chat", "parameters": {"token": "t"}}, "/name"),
    ("consumer", {"name": "..", "type": "chat", "parameters": {"token": "t"}}, "/name"),
    ("consumer", {"name": "x", "type": "program", "parameters": {"script": "none"}}, "/parameters/script"),
    ("configuration", {"name": "x", "users": ["nobody"]}, "/users/0"),
    ("configuration", {"name": "x", "filters": ["one", "two"]}, "/filters/0"),
    ("configuration", {"name": "x", "filters": ["one", "one"]}, "/filters"),
    ("configuration", {"name": "x", "schedule": {"cron": "every day"}}, "/schedule/cron"),
]


@pytest.mark.parametrize(
    ("kind", "document", "pointer"), WRONG, ids=[f"{case[0]} {case[2]} {n}" for n, case in enumerate(WRONG)]
)
async def test_what_does_not_fit_is_refused_and_named(
    offline: Database, kind: Kind, document: Any, pointer: str
) -> None:
    services = Services(offline, REGISTRY, Seal(generate_key()))
    with pytest.raises(InputError) as caught:
        await services.create(COMMAND_LINE, kind, document)
    assert caught.value.errors[0].pointer == pointer
    assert "\n" not in str(caught.value)
    assert CANARY not in str(caught.value)
    assert await rows(offline, ChangeRow) == []


async def test_deep_nesting_is_refused(services: Services) -> None:
    deep: Any = 1
    for _ in range(10_000):
        deep = [deep]
    with pytest.raises(InputError, match="nested more than 64 deep"):
        await services.create(EDITOR, "user", {"username": "a", "additional_info": {"x": {"y": deep}}})


async def test_a_name_is_given_once_and_not_changed(services: Services) -> None:
    await services.create(EDITOR, "user", USER)
    with pytest.raises(Duplicate, match="already"):
        await services.create(EDITOR, "user", USER)
    with pytest.raises(Duplicate, match="upper and lower case"):
        await services.create(EDITOR, "user", {"username": "Alice"})
    with pytest.raises(InputError, match="cannot be changed"):
        await services.replace(EDITOR, "user", "alice", {"username": "bob"})
    for name in ("bob", "a\x00b", "../x"):
        with pytest.raises(UnknownName):
            await services.get("user", name)
    with pytest.raises(UnknownName):
        await services.replace(EDITOR, "user", "bob", {})
    with pytest.raises(UnknownName):
        await services.delete(EDITOR, "user", "bob")


async def test_replacing_changes_what_is_stored_and_nothing_is_no_change(services: Services, store: Database) -> None:
    created = await services.create(EDITOR, "user", USER)
    same = await services.replace(EDITOR, "user", "alice", USER)
    assert same.revision == created.revision
    # written out or left to its default is the same
    assert (await services.replace(EDITOR, "user", "alice", {**USER, "on_leave": False})).revision == created.revision
    changed = await services.replace(EDITOR, "user", "alice", {"on_leave": True})
    assert changed.revision > created.revision
    assert changed.document["additional_info"] == {}
    assert changed.created_at == created.created_at
    assert len(await rows(store, ChangeRow)) == 2


async def test_patches_follow_rfc_7396(services: Services) -> None:
    await services.create(EDITOR, "user", {**USER, "working_time": {"start": "09:00", "end": "18:00"}})
    patched = await services.patch(
        EDITOR, "user", "alice", {"additional_info": {"telegram": {"id": 5}}, "on_leave": True}
    )
    assert patched.document["additional_info"] == {"github": {"username": "octocat"}, "telegram": {"id": 5}}
    patched = await services.patch(EDITOR, "user", "alice", {"working_time": None, "additional_info": {"github": None}})
    assert patched.document["working_time"] is None
    assert patched.document["additional_info"] == {"telegram": {"id": 5}}
    wrongs: list[Any] = [[], "x", None]
    for wrong in wrongs:
        with pytest.raises(InputError):
            await services.patch(EDITOR, "user", "alice", wrong)


@pytest.mark.parametrize(  # the table of RFC 7396, appendix A
    ("target", "patch", "result"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        (["a", "b"], ["c", "d"], ["c", "d"]),
        ({"a": "b"}, ["c"], ["c"]),
        ({"a": "foo"}, None, None),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_merge_patch(target: Any, patch: Any, result: Any) -> None:
    assert merge_patch(target, patch) == result


async def test_a_stale_version_is_refused(services: Services) -> None:
    first = await services.create(EDITOR, "user", USER)
    second = await services.patch(EDITOR, "user", "alice", {"on_leave": True}, expected=first.revision)
    for change in (
        services.patch(EDITOR, "user", "alice", {"on_leave": False}, expected=first.revision),
        services.replace(EDITOR, "user", "alice", {}, expected=first.revision),
        services.delete(EDITOR, "user", "alice", expected=first.revision),
    ):
        with pytest.raises(StaleVersion) as caught:
            await change
        assert caught.value.revision == second.revision
    await services.delete(EDITOR, "user", "alice", expected=second.revision)


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


async def test_lists_are_pages_by_name(services: Services) -> None:
    for number in range(7):
        await services.create(EDITOR, "user", {"username": f"user{number}"})
    await services.create(EDITOR, "filter", {**FILTER, "name": "percent", "title": "Ünder 50%_off"})
    await services.create(EDITOR, "filter", {**FILTER, "name": "plain"})
    names: list[str] = []
    cursor = None
    while True:
        page = await services.list("user", limit=3, cursor=cursor)
        names += [item.name for item in page.items]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert names == [f"user{number}" for number in range(7)]
    assert [item.name for item in (await services.list("user", q="SER3")).items] == ["user3"]
    assert [item.name for item in (await services.list("filter", q="50%_")).items] == ["percent"]
    assert (await services.list("filter", q="_")).items[0].name == "percent"
    assert (await services.list("producer")).items == []
    for wrong in ({"limit": 0}, {"limit": 501}, {"cursor": "%"}, {"cursor": "AAA"}):
        with pytest.raises(InputError):
            await services.list("user", **wrong)


async def test_scripts_and_their_powers_need_admin(services: Services) -> None:
    with pytest.raises(Forbidden) as caught:
        await services.create(EDITOR, "script", SCRIPT)
    assert caught.value.scope == "admin"
    await services.create(COMMAND_LINE, "script", SCRIPT)
    for patch in ({"content": "x"}, {"title": "x"}):
        with pytest.raises(Forbidden):
            await services.patch(EDITOR, "script", "append", patch)
    await services.create(EDITOR, "consumer", PROGRAM)
    for power in ({"network": True}, {"network": "yes"}, {"write": ["/srv"]}):
        with pytest.raises(Forbidden, match="needs the scope 'admin'"):
            await services.patch(EDITOR, "consumer", "to-file", {"parameters": power})
    await services.patch(COMMAND_LINE, "consumer", "to-file", {"parameters": {"network": True}})
    with pytest.raises(Forbidden):  # another script would inherit the network
        await services.patch(EDITOR, "consumer", "to-file", {"title": "x"})
    await services.patch(EDITOR, "consumer", "to-file", {"parameters": {"network": None}})
    await services.delete(EDITOR, "consumer", "to-file")
    with pytest.raises(Forbidden):
        await services.delete(EDITOR, "script", "append")


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


async def test_what_an_older_program_stored_can_be_seen_and_mended(services: Services, store: Database) -> None:
    await services.create(EDITOR, "user", USER)
    async with store.write() as session:
        await session.execute(text('UPDATE definition SET spec = \'{"on_leave": "perhaps"}\''))
    assert (await services.get("user", "alice")).document == {"username": "alice", "on_leave": "perhaps"}
    assert len((await services.list("user")).items) == 1
    with pytest.raises(InputError, match="/on_leave"):
        await services.patch(EDITOR, "user", "alice", {"working_time": None})
    await services.patch(EDITOR, "user", "alice", {"on_leave": True})


# -------------------------------------------------------------------------------------------------------------- secrets


async def token_of(services: Services, seal: Seal, field: str = "token") -> Any:
    value = (await services.get("consumer", "team")).spec["parameters"].get(field)
    return None if value is None else seal.open(value, f"consumer/team/{field}")


async def test_secrets_are_kept_replaced_and_cleared(services: Services, seal: Seal) -> None:
    created = await services.create(EDITOR, "consumer", CHAT)
    assert is_sealed(created.spec["parameters"]["token"])
    kept: list[Callable[[], Awaitable[Any]]] = [
        lambda: services.replace(EDITOR, "consumer", "team", {"type": "chat", "parameters": {"chat_id": 1}}),
        lambda: services.replace(EDITOR, "consumer", "team", {"type": "chat"}),
        lambda: services.replace(EDITOR, "consumer", "team", {"type": "chat", "parameters": {"token": {"set": True}}}),
        lambda: services.patch(EDITOR, "consumer", "team", {"parameters": {"chat_id": 2}}),
        lambda: services.patch(EDITOR, "consumer", "team", {"parameters": None}),
        lambda: services.patch(EDITOR, "consumer", "team", {"parameters": {"token": {"set": True}}}),
    ]
    for change in kept:
        await change()
        assert await token_of(services, seal) == CANARY
    # what is shown can be written back
    shown = (await services.get("consumer", "team")).document
    assert (await services.replace(EDITOR, "consumer", "team", shown)).spec["parameters"] == {
        "token": created.spec["parameters"]["token"]
    }
    revision = (await services.get("consumer", "team")).revision
    # the same secret again is no change, though sealing it again would give another text
    assert (await services.patch(EDITOR, "consumer", "team", {"parameters": {"token": CANARY}})).revision == revision
    await services.patch(EDITOR, "consumer", "team", {"parameters": {"token": "new", "urls": ["a", "b"]}})
    assert await token_of(services, seal) == "new"
    for required in (
        services.patch(EDITOR, "consumer", "team", {"parameters": {"token": None}}),
        services.replace(EDITOR, "consumer", "team", {"type": "chat", "parameters": {"token": None}}),
    ):
        with pytest.raises(InputError) as caught:
            await required
        assert [error.pointer for error in caught.value.errors] == ["/parameters/token"]
    cleared = await services.patch(EDITOR, "consumer", "team", {"parameters": {"urls": None}})
    assert set(cleared.spec["parameters"]) == {"token"}
    mapped = await services.patch(EDITOR, "consumer", "team", {"parameters": {"headers": {"X-Key": "one"}}})
    assert mapped.document["parameters"]["headers"] == {"set": True}
    mapped = await services.patch(EDITOR, "consumer", "team", {"parameters": {"headers": {"X-Other": "two"}}})
    assert set(mapped.spec["parameters"]["headers"]) == {"X-Other"}


async def test_a_secret_does_not_follow_to_another_type(services: Services) -> None:
    await services.create(EDITOR, "consumer", CHAT)
    other = Registry([Chat2, *REGISTRY])
    services.registry = other
    for change in (
        services.replace(EDITOR, "consumer", "team", {"type": "chat2"}),
        services.patch(EDITOR, "consumer", "team", {"type": "chat2"}),
    ):
        with pytest.raises(InputError) as caught:
            await change
        assert caught.value.errors[0].pointer == "/parameters/token"


class Chat2(Consumer[ChatParameters]):
    """Writes to another service."""

    type = "chat2"
    Parameters = ChatParameters


async def test_a_secret_whose_key_is_gone_can_be_written_again(services: Services, store: Database) -> None:
    await services.create(EDITOR, "consumer", CHAT)
    new = Services(store, REGISTRY, Seal(generate_key()))
    with pytest.raises(SecretError, match="NOTIFIER_SECRET_KEY"):
        await new.patch(EDITOR, "consumer", "team", {"parameters": {"chat_id": 3}})
    assert (await new.get("consumer", "team")).document["parameters"]["token"] == {"set": True}
    await new.patch(EDITOR, "consumer", "team", {"parameters": {"token": CANARY}})
    await new.patch(EDITOR, "consumer", "team", {"parameters": {"chat_id": 3}})


async def test_a_type_that_is_not_installed_any_more_shows_no_secret(
    services: Services, store: Database, seal: Seal
) -> None:
    await services.create(EDITOR, "consumer", CHAT)
    bare = Services(store, Registry(), seal)
    shown = (await bare.get("consumer", "team")).document
    assert shown["parameters"] == {"token": {"set": True}, "chat_id": -100}
    await bare.delete(EDITOR, "consumer", "team")


async def test_a_planted_secret_is_nowhere_in_clear(
    database_settings: Settings,
    database: Database,
    published: Services,
    seal: Seal,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    secrets = {"token": CANARY, "urls": [CANARY + "a", CANARY + "b"], "headers": {"X": CANARY + "c"}}
    (tmp_path / "d.yaml").write_text(
        yaml.dump({"consumers": [{"name": "filed", "type": "chat", "parameters": secrets}], "producers": [FEED]})
    )
    plans = [
        await apply(database, load(tmp_path / "d.yaml"), Planner(registry=REGISTRY, seal=seal), dry_run=dry)
        for dry in (True, False)
    ]
    stored = await published.create(EDITOR, "consumer", {"name": "rest", "type": "chat", "parameters": secrets})
    await published.patch(EDITOR, "consumer", "rest", {"parameters": {"token": CANARY + "d"}})
    with pytest.raises(InputError) as caught:
        await published.patch(EDITOR, "consumer", "rest", {"parameters": {"token": CANARY, "chat_id": "x"}})
    await publish(database_settings, database)
    async with database.read() as session:
        exported = await export(session, REGISTRY)
        everything = []
        for table in Base.metadata.sorted_tables:
            everything += [str(tuple(row)) for row in await session.execute(select(table))]
    async with kafka_admin(database_settings) as admin:
        topics = [name for name in await admin.list_topics() if name.startswith(database_settings.topic_prefix)]
    records = [
        str(record)
        for topic in topics
        for record in await read_all(database_settings, topic.removeprefix(database_settings.topic_prefix))
    ]
    assert len(records) == 4  # two consumers and a producer, and one of them again
    places = {
        "plans": [str([plan.lines(), plan.summary]) for plan in plans],
        "answer": [str(stored.document)],
        "error": [str(caught.value)],
        "export": [exported],
        "database": everything,
        "topics": records,
        "log": [caplog.text],
        "repr": [repr(published), repr(database), repr(seal)],
    }
    if database.is_sqlite:
        places["file"] = [
            file.read_bytes().decode("latin-1") for file in database_settings.data_dir.glob("notifier.sqlite3*")
        ]
        assert len(places["file"]) == 3
    assert [place for place, texts in places.items() if any(CANARY in text for text in texts)] == []


# ---------------------------------------------------------------------------------------------------- writers at a time


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


# ---------------------------------------------------------------------------------------------------------------- files


def write(folder: Path, **files: str) -> Path:
    for name, content in files.items():
        path = folder / name.replace("__", "/").replace("_yaml", ".yaml").replace("_sh", ".sh")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(content))
    return folder


EXAMPLE = """\
    users:
      - username: alice
        working_time: {start: 09:00, end: 18:00, days: [mon, tue], timezone: Europe/Moscow}
        additional_info: {github: {username: octocat}, telegram: {id: 123}}
    scripts:
      - {name: append, executor: bash, file: append.sh}
      - name: inline
        executor: python
        content: |
          print("on: 1")

          print('x')
    producers:
      - {name: news, type: feed, parameters: {url: "https://x", token: "${NEWS_TOKEN}"}}
    filters:
      - {name: short, type: words, parameters: {words: [on, "no", 1e5x, "18:00", "0o17", "null", "1e5"]}}
    consumers:
      - {name: team, type: chat, parameters: {token: "${file:token.txt}", urls: ["${NEWS_TOKEN}", "plain"]}}
      - {name: to-file, type: program, parameters: {script: append, write: [/srv/out]}}
    configurations:
      - name: all
        title: Everything
        users: [alice]
        producers: [news]
        filters: [short]
        consumers: [team, to-file]
        schedule: {cron: "*/10 9-18 * * mon-fri", missed: all}
    """
ENVIRONMENT = {"NEWS_TOKEN": CANARY}


@pytest.fixture
def example(tmp_path: Path) -> Path:
    folder = tmp_path / "definitions"
    write(folder, d_yaml=EXAMPLE, append_sh="cat >> /srv/out\n")
    (folder / "token.txt").write_text(CANARY + "-file\n")
    return folder


Apply = Callable[..., Awaitable[Any]]


@pytest.fixture
def applied(store: Database, seal: Seal) -> Apply:
    return applying(store, seal)


def applying(database: Database, seal: Seal) -> Apply:
    async def run(
        path: Path,
        environment: Mapping[str, str] = ENVIRONMENT,
        progress: Progress | None = None,
        *,
        prune: bool = False,
        dry_run: bool = False,
    ) -> ApplyPlan:
        planner = Planner(registry=REGISTRY, seal=seal, environment=environment, progress=progress)
        return await apply(database, load(path), planner, prune=prune, dry_run=dry_run)

    return run


async def exported(database: Database) -> str:
    async with database.read() as session:
        return await export(session, REGISTRY)


async def test_files_are_applied_as_one_change(
    store: Database, services: Services, seal: Seal, applied: Apply, example: Path
) -> None:
    progress: list[tuple[int, int]] = []
    plan = await applied(example, progress=lambda done, of: progress.append((done, of)))
    assert progress[-1] == (8, 8)
    assert plan.lines() == [
        "+ user alice", "+ script append", "+ script inline", "+ producer news", "+ filter short", "+ consumer team",
        "+ consumer to-file", "+ configuration all",
    ]  # fmt: skip
    assert plan.summary == "8 created, 0 changed, 0 deleted, 0 unchanged"
    assert len(await rows(store, ChangeRow)) == 1
    assert {row.revision for row in await rows(store, OutboxRow)} == {plan.revision}
    user = (await services.get("user", "alice")).document
    assert user["working_time"] == {
        "start": "09:00",
        "end": "18:00",
        "days": ["mon", "tue"],
        "timezone": "Europe/Moscow",
    }
    assert (await services.get("script", "append")).document["content"] == "cat >> /srv/out\n"
    assert (await services.get("script", "inline")).document["content"] == "print(\"on: 1\")\n\nprint('x')\n"
    words = (await services.get("filter", "short")).document["parameters"]["words"]
    assert words == ["on", "no", "1e5x", "18:00", "0o17", "null", "1e5"]
    team = (await services.get("consumer", "team")).spec["parameters"]
    assert seal.open(team["token"], "consumer/team/token") == CANARY + "-file"
    assert [seal.open(url, "consumer/team/urls") for url in team["urls"]] == [CANARY, "plain"]
    again = await applied(example)
    assert again.summary == "0 created, 0 changed, 0 deleted, 8 unchanged"
    assert again.revision is None
    assert len(await rows(store, ChangeRow)) == 1


@pytest.mark.predecessor("S-77")
async def test_an_export_applied_changes_nothing(
    store: Database, applied: Apply, example: Path, tmp_path: Path
) -> None:
    await applied(example)
    text_ = await exported(store)
    assert CANARY not in text_
    assert "sealed:" not in text_
    assert "  content: |\n" in text_
    (tmp_path / "export.yaml").write_text(text_)
    plan = await applied(tmp_path / "export.yaml", prune=True, environment={})
    assert plan.summary == "0 created, 0 changed, 0 deleted, 8 unchanged"


async def test_a_plan_tells_each_field(store: Database, services: Services, applied: Apply, example: Path) -> None:
    await applied(example)
    changed = (
        textwrap.dedent(EXAMPLE)
        .replace("words: [on,", "negate: true, words: [off,")
        .replace("title: Everything", "enabled: false")
        .replace('print("on: 1")', 'print("off")')
        .replace("https://x", "https://y")
        .replace(', urls: ["${NEWS_TOKEN}", "plain"]', ", urls: null")
        .replace("write: [/srv/out]", "")
    )
    (example / "d.yaml").write_text(changed + "  - {name: new, users: [alice]}\n")
    options = {"prune": True, "environment": {"NEWS_TOKEN": "another"}}
    before = await rows(store, ChangeRow)
    plan = await applied(example, dry_run=True, **options)
    assert plan.lines() == [
        "~ script inline: content (4 lines) → (4 lines)",
        '~ producer news: parameters.url "https://x" → "https://y", parameters.token (secret) → (new secret)',
        "~ filter short: parameters.negate (none) → true, "
        'parameters.words ["on", "no", "1e5x", "18:00", "0o17", "null", "1e5"] → '
        '["off", "no", "1e5x", "18:00", "0o17", "null", "1e5"]',
        "~ consumer team: parameters.urls (secret) → (none)",
        '~ consumer to-file: parameters.write ["/srv/out"] → (none)',
        '~ configuration all: enabled (none) → false, title "Everything" → (none)',
        "+ configuration new",
    ]
    assert plan.revision is None
    assert len(await rows(store, ChangeRow)) == len(before)
    assert (await services.get("producer", "news")).document["parameters"]["url"] == "https://x"
    done = await applied(example, **options)
    assert done.lines() == plan.lines()
    assert (await services.get("producer", "news")).document["parameters"]["url"] == "https://y"


async def test_pruning_deletes_what_the_files_do_not_name(
    store: Database, services: Services, applied: Apply, example: Path, tmp_path: Path
) -> None:
    await applied(example)
    await services.create(EDITOR, "configuration", {"name": "by-hand", "users": ["alice"], "filters": ["short"]})
    less = tmp_path / "less.yaml"
    less.write_text("users: [{username: bob}]\n")
    assert (await applied(less)).summary == "1 created, 0 changed, 0 deleted, 0 unchanged"
    plan = await applied(less, prune=True)
    assert plan.summary == "0 created, 0 changed, 9 deleted, 1 unchanged"
    assert [row.name for row in await rows(store, DefinitionRow)] == ["bob"]
    less.write_text("# nothing\n")
    with pytest.raises(InputError, match="would delete everything"):
        await applied(less, prune=True)


async def test_pruning_cannot_leave_a_reference_to_nothing(applied: Apply, example: Path, tmp_path: Path) -> None:
    await applied(example)
    some = tmp_path / "some.yaml"
    some.write_text("configurations: [{name: other, users: [alice]}]\n")
    with pytest.raises(InputError, match=r"some\.yaml:1 configuration other /users/0: there is no user 'alice'"):
        await applied(some, prune=True)


WRONG_FILES = [
    ("not YAML", "users: [", r"d\.yaml:\d+: is not YAML"),
    ("key twice", "users: []\nusers: []\n", r"d\.yaml:2: the field 'users' is there already, in line 1"),
    ("field twice", "users:\n  - username: a\n    on_leave: true\n    on_leave: false\n", r"d\.yaml:4: the field 'on_leave'"),
    ("deep field twice", "users: [{username: a, additional_info: {x: {y: 1, y: 2}}}]", r"d\.yaml:1: the field 'y'"),
    ("unknown kind", "user: []\n", r"'user' is not a kind of definition; did you mean 'users'\?"),
    ("unknown field", "users: [{username: a, onleave: true}]", r"d\.yaml:1 user a /onleave: is not a field here"),
    ("name twice", "users:\n- {username: a}\n- {username: a}\n", r"d\.yaml:3: the user 'a' is there already, at d\.yaml:2"),
    ("case only", "users:\n- {username: a}\n- {username: A}\n", r"d\.yaml:3: the user 'A' would differ from 'a'"),
    ("no name", "users:\n- {on_leave: true}\n", r"d\.yaml:2 user /username: is required"),
    ("number as name", "users:\n- {username: 7}\n", r"/username: must be 1 to 150"),
    ("no list", "users: {username: a}", "users must be a list"),
    ("no object", "- users", "must be an object with users"),
    ("text item", "users: [alice]", r"d\.yaml:1 user : must be an object|d\.yaml:1 user"),
    ("tag", "users: [{username: !!python/object/apply:os.system [x]}]", "the tag .* is not read here"),
    ("binary", "users: [{username: a, additional_info: {x: {y: !!binary aGk=}}}]", "the tag .* is not read here"),
    ("key not text", "users: [{username: a, additional_info: {1: {}}}]", "a field's name must be text"),
    ("alias to itself", "users: [{username: a, additional_info: &x {y: *x}}]", "an alias must not hold itself"),
    ("not a number", "users: [{username: a, additional_info: {x: {y: .nan}}}]", r"/additional_info/x/y: must be a number"),
    ("missing variable", "producers: [{name: p, type: feed, parameters: {url: x, token: '${NO_SUCH}'}}]",
     r"d\.yaml:1 producer p /parameters/token: the environment variable NO_SUCH is not set"),
    ("odd variable", "producers: [{name: p, type: feed, parameters: {url: x, token: '${a-b}'}}]",
     r"/parameters/token: 'a-b' is neither the name of a variable nor file:PATH"),
    ("secret file outside", "producers: [{name: p, type: feed, parameters: {url: x, token: '${file:../outside.txt}'}}]",
     r"/parameters/token: '../outside.txt' is outside the folder"),
    ("secret file missing", "producers: [{name: p, type: feed, parameters: {url: x, token: '${file:none}'}}]",
     r"/parameters/token: there is no file 'none'"),
    ("script outside", "scripts: [{name: s, file: ../outside.txt}]", r"d\.yaml:1 script /file: '../outside.txt' is outside"),
    ("script by a link outside", "scripts: [{name: s, file: link.sh}]", "is outside the folder"),
    ("script absolute", "scripts: [{name: s, file: /etc/hostname}]", "is outside the folder"),
    ("script is a folder", "scripts: [{name: s, file: .}]", "is not a file"),
    ("script not there", "scripts: [{name: s, file: none.sh}]", "there is no file 'none.sh'"),
    ("script not UTF-8", "scripts: [{name: s, file: latin.sh}]", "is not UTF-8"),
    ("file and content", "scripts: [{name: s, file: a.sh, content: x}]", "keep one"),
    ("file elsewhere", "users: [{username: a, file: a.sh}]", "/file: is not a field here"),
    ("required secret", "producers: [{name: p, type: feed, parameters: {url: x}}]",
     r"d\.yaml:1 producer p /parameters/token: is required"),
    ("unknown type", "producers: [{name: p, type: fee}]", r"d\.yaml:1 producer p /type: there is no producer type 'fee'"),
    ("reference", "configurations: [{name: c, users: [x]}]", r"d\.yaml:1 configuration c /users/0: there is no user 'x'"),
    ("script reference", "consumers: [{name: c, type: program, parameters: {script: x}}]",
     r"d\.yaml:1 consumer c /parameters/script: there is no script 'x'"),
]  # fmt: skip


@pytest.mark.predecessor("S-59")
@pytest.mark.parametrize(
    ("content", "expected"), [case[1:] for case in WRONG_FILES], ids=[case[0] for case in WRONG_FILES]
)
async def test_a_wrong_file_is_refused_whole_naming_the_place(
    offline: Database, tmp_path: Path, content: str, expected: str
) -> None:
    folder = tmp_path / "f"
    folder.mkdir()
    (tmp_path / "outside.txt").write_text("x")
    (folder / "link.sh").symlink_to(tmp_path / "outside.txt")
    (folder / "latin.sh").write_bytes(b"\xe9")
    (folder / "a.yaml").write_text("users: [{username: good}]\n")
    (folder / "d.yaml").write_text(content)
    planner = Planner(registry=REGISTRY, seal=Seal(generate_key()), environment={})
    with pytest.raises(NotifierError, match=expected) as caught:
        await apply(offline, load(folder), planner)
    assert "\n" not in str(caught.value)
    assert await rows(offline, DefinitionRow) == []


def test_all_faults_of_all_files_are_told_at_once(tmp_path: Path) -> None:
    write(tmp_path, a_yaml="users: [{}]\nscript: []\n", b__c_yaml="users: [\n", _hidden__d_yaml="users: [{}]")
    (tmp_path / "_hidden").rename(tmp_path / ".hidden")
    with pytest.raises(InputError) as caught:
        load(tmp_path)
    assert len(caught.value.errors) == 3
    assert "b/c.yaml" in str(caught.value)
    assert ".hidden" not in str(caught.value)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"has no file that ends in \.yaml"):
        load(tmp_path / "empty")


def test_aliases_cannot_grow_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("control_api.definitions.documents.MAX_VALUES", 10_000)
    lines = ["users: [{username: a, additional_info: {x: &a0 {y: 1}"]
    lines += [f", x{n}: &a{n} {{p: *a{n - 1}, q: *a{n - 1}, r: *a{n - 1}, s: *a{n - 1}}}" for n in range(1, 20)]
    (tmp_path / "bomb.yaml").write_text("".join(lines) + "}}]\n")
    with pytest.raises(InputError, match="more than 10000 values"):
        load(tmp_path / "bomb.yaml")


def test_aliases_and_several_documents_are_read(tmp_path: Path) -> None:
    (tmp_path / "d.yaml").write_text(
        "users:\n- {username: a, working_time: &hours {start: 09:00, end: 18:00}}\n"
        "- {username: b, working_time: *hours}\n---\nusers: [{username: c}]\n---\n"
    )
    documents = load(tmp_path / "d.yaml")
    assert [document.name for document in documents] == ["a", "b", "c"]
    assert documents[1].value == {"working_time": {"start": "09:00", "end": "18:00"}}
    assert documents[2].place == "d.yaml:5"


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8"))
    | st.sampled_from(["on", "18:00", "1e5", "0o7", "~", "", "a\n b\n", "\n", " x\ny"]),
    lambda below: st.lists(below, max_size=4) | st.dictionaries(st.text(st.characters(codec="utf-8")), below, max_size=4),
    max_leaves=12,
)  # fmt: skip


@hypothesis_settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.text(st.characters(codec="utf-8")), JSON_VALUES, max_size=5))
def test_what_is_dumped_is_read_back_the_same(tmp_path: Path, info: JsonObject) -> None:
    path = tmp_path / "x.yaml"
    path.write_bytes(dump({"user": [("alice", {"additional_info": info})]}).encode())
    (document,) = load(path)
    assert document.value == {"additional_info": info}
    assert json.dumps(document.value) == json.dumps({"additional_info": info})


async def test_a_large_apply_and_export(store: Database, applied: Apply, tmp_path: Path) -> None:
    path = tmp_path / "large.yaml"
    path.write_text(large(1000))
    assert (await applied(path)).summary == "1000 created, 0 changed, 0 deleted, 0 unchanged"
    path.write_text(large(1000, on_leave="true"))
    assert (await applied(path)).summary == "0 created, 500 changed, 0 deleted, 500 unchanged"
    (tmp_path / "export.yaml").write_text(await exported(store))
    assert (await applied(tmp_path / "export.yaml")).summary == "0 created, 0 changed, 0 deleted, 1000 unchanged"
    path.write_text("users: [{username: last}]")
    assert (await applied(path, prune=True)).summary == "1 created, 0 changed, 1000 deleted, 0 unchanged"


def large(objects: int, on_leave: str = "false") -> str:
    users = "".join(f"- {{username: u{n}, on_leave: {on_leave}}}\n" for n in range(objects // 2))
    configurations = "".join(f"- {{name: c{n}, users: [u{n}]}}\n" for n in range(objects // 2))
    return f"users:\n{users}configurations:\n{configurations}"


# ---------------------------------------------------------------------------------------------------------- publication


def shape(records: list[Any]) -> list[tuple[str, bool, int, bool]]:
    """(key, is a tombstone, revision, is the last one of its transaction) of records."""
    return [
        (
            record.key.decode(),
            record.value is None,
            int(dict(record.headers)["revision"]),
            dict(record.headers).get("last") == b"1",
        )
        for record in records
    ]


async def test_each_revision_is_published_in_order(
    database_settings: Settings, database: Database, published: Services, seal: Seal
) -> None:
    await create_all(published)
    await published.patch(EDITOR, "user", "alice", {"on_leave": True})
    await published.replace(EDITOR, "configuration", "all", {})
    last = await published.delete(COMMAND_LINE, "consumer", "team")
    relay = Relay(database_settings, database)
    assert await relay.pending() == 10
    assert await relay.publish()
    assert relay.leads
    assert await relay.pending() == 0
    await relay.close()
    records = await read_all(database_settings, "definitions")
    assert shape(records) == [
        (key, key == "consumer/team" and place == 9, place + 1, True)
        for place, key in enumerate(
            ["user/alice", "script/append", "producer/news", "filter/short", "consumer/team", "consumer/to-file",
             "configuration/all", "user/alice", "configuration/all", "consumer/team"]
        )
    ]  # fmt: skip
    definition = Definition.decode(records[2].value)
    assert (definition.kind, definition.name, definition.revision) == ("producer", "news", 3)
    assert seal.open(definition.spec["parameters"]["token"], "producer/news/token") == CANARY
    assert await rows(database, OutboxRow) == []
    assert all(row.published_at is not None for row in await rows(database, ChangeRow))
    assert last == 10
    assert await rows(database, LeaseRow) == []


async def test_a_topic_of_deliveries_is_there_before_its_consumer(
    database_settings: Settings, database: Database, published: Services
) -> None:
    await published.create(EDITOR, "consumer", {**CHAT, "parameters": {"token": "t", "partitions": 3}})

    class Watching(Relay):
        """Looks for the topic when the definition is on its way."""

        async def _close_kafka(self) -> None:
            async with kafka_admin(self._settings) as admin:
                (described,) = await admin.describe_topics([f"{self._settings.topic_prefix}deliveries.team"])
                partitions.append(len(described["partitions"]))
            await super()._close_kafka()

    partitions: list[int] = []
    relay = Watching(database_settings, database)
    await relay.publish()
    await relay.close()
    assert partitions == [3]


async def test_a_running_relay_publishes_what_is_committed(
    database_settings: Settings, database: Database, seal: Seal
) -> None:
    relay = Relay(database_settings, database, poll_s=60)
    services = Services(database, REGISTRY, seal, changed=relay.wake)
    await relay.start()
    await wait_until(lambda: relay.leads)
    await services.create(EDITOR, "user", USER)  # a look each minute would be too late
    await wait_for_records(database_settings, "definitions", 1)
    await services.delete(EDITOR, "user", "alice")
    await wait_for_records(database_settings, "definitions", 2)
    assert relay.problem is None
    await relay.stop()


async def test_another_process_change_is_found_by_polling(
    database_settings: Settings, database: Database, published: Services
) -> None:
    relay = Relay(database_settings, database, poll_s=0.1)
    await relay.start()
    await wait_until(lambda: relay.leads)
    await published.create(EDITOR, "user", USER)
    await wait_for_records(database_settings, "definitions", 1)
    await relay.stop()


async def test_a_broker_that_is_away_is_waited_for(
    database_settings: Settings, database: Database, published: Services
) -> None:
    away = database_settings.model_copy(update={"kafka": "127.0.0.1:1"})
    relay = Relay(away, database, poll_s=0.05)
    await relay.start()
    await published.create(EDITOR, "user", USER)
    await wait_until(lambda: relay.problem is not None)
    assert await relay.pending() == 1
    relay._settings = database_settings  # the broker is back
    await wait_for_records(database_settings, "definitions", 1)
    await wait_until(lambda: relay.problem is None)
    await relay.stop()


async def test_a_broker_that_stops_and_starts_again_gets_what_it_missed(tmp_path: Path) -> None:
    settings = load_settings(
        env_file=None, data_dir=tmp_path, kafka=None, kafka_port=0, database_url=None, secret_key=generate_key()
    )
    broker = EmbeddedBroker(settings)
    await asyncio.to_thread(broker.start, die_with_parent=True)
    database = Database(settings)
    await upgrade_database(database)
    relay = Relay(settings, database, poll_s=0.1)
    services = Services(database, REGISTRY, Seal(generate_key()), changed=relay.wake)
    await relay.start()
    await services.create(EDITOR, "user", USER)
    await wait_for_records(settings, "definitions", 1)
    await asyncio.to_thread(broker.stop)
    await services.patch(EDITOR, "user", "alice", {"on_leave": True})
    await services.delete(EDITOR, "user", "alice")
    await wait_until(lambda: relay.problem is not None)
    await asyncio.to_thread(broker.start, die_with_parent=True)
    records = await wait_for_records(settings, "definitions", 3, timeout_s=60)
    assert shape(records) == [("user/alice", place == 3, place, True) for place in (1, 2, 3)]
    await relay.stop()
    await database.close()
    await asyncio.to_thread(broker.stop)


async def test_one_relay_works_and_another_takes_over(
    database_settings: Settings, database: Database, published: Services
) -> None:
    first, second = Relay(database_settings, database), Relay(database_settings, database)
    assert await first.publish()
    assert not await second.publish()
    await published.create(EDITOR, "user", USER)
    assert not await second.publish()
    await first.close()
    assert await second.publish()
    assert shape(await read_all(database_settings, "definitions")) == [("user/alice", False, 1, True)]
    await second.close()


async def test_a_stale_relay_is_fenced(database_settings: Settings, database: Database, published: Services) -> None:
    stale = Relay(database_settings, database)
    assert await stale.publish()
    async with database.write() as session:  # its lease ran out while it was away
        await session.execute(text("DELETE FROM lease"))
    await published.create(EDITOR, "user", USER)
    successor = Relay(database_settings, database)
    assert await successor.publish()
    with pytest.raises(BrokerError):  # it still believes that it leads, and Kafka knows better
        await send_as(stale)
    assert not await stale.publish()
    await stale.close()
    assert len(await rows(database, LeaseRow)) == 1  # the successor's
    await successor.close()
    assert shape(await read_all(database_settings, "definitions")) == [("user/alice", False, 1, True)]


async def send_as(relay: Relay) -> None:
    """Publishes something as a relay that does not know that it lost its lease."""

    async def waiting() -> tuple[int, list[OutboxRecord]]:
        return 1, [OutboxRecord(key="user/alice", value=b"{}")]

    relay._outbox.oldest = waiting  # type: ignore[method-assign]  # what it read before it was away
    try:
        await relay.publish()
    finally:
        del relay._outbox.oldest


CRASHING = """
import asyncio, os, signal, sys
from control_api.definitions.relay import Relay
from notifier.database import Database
from notifier.settings import load_settings

point = sys.argv[1]


def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)


class Crashing(Relay):
    async def _open_kafka(self):
        await super()._open_kafka()
        mark = self._outbox.mark

        async def crashing(first, last):
            if point == "before the mark":
                die()
            await mark(first, last)
            if point == "after the mark":
                die()

        self._outbox.mark = crashing
        if point == "before the commit":
            self._producer.commit_transaction = die
        if point == "before sending":
            self._producer.begin_transaction = die


async def main():
    settings = load_settings(env_file=None)
    await Crashing(settings, Database(settings), lease_s=0.5).publish()


asyncio.run(main())
"""


@pytest.mark.parametrize(
    ("database_settings", "point"),
    [
        ("sqlite", "before sending"),
        ("sqlite", "before the commit"),
        ("sqlite", "before the mark"),
        ("sqlite", "after the mark"),
        ("postgresql", "before the mark"),
    ],
    indirect=["database_settings"],
)
async def test_a_killed_relay_loses_nothing(
    database_settings: Settings, database: Database, published: Services, point: str
) -> None:
    await create_all(published)
    environment = {
        **os.environ,
        "NOTIFIER_KAFKA": database_settings.kafka or "",
        "NOTIFIER_TOPIC_PREFIX": database_settings.topic_prefix,
        "NOTIFIER_DATA_DIR": str(database_settings.data_dir),
        "NOTIFIER_DATABASE_URL": database_settings.database_url or "",
    }
    child = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", CRASHING, point], env=environment, capture_output=True, timeout=120
    )
    assert child.returncode == -signal.SIGKILL, child.stderr.decode()
    relay = Relay(database_settings, database)
    await wait_until(relay.publish)  # once the dead one's lease has run out
    await relay.close()
    records = shape(await read_all(database_settings, "definitions"))
    expected = [
        (key, False, place, True)
        for place, key in enumerate(
            ["user/alice", "script/append", "producer/news", "filter/short", "consumer/team", "consumer/to-file",
             "configuration/all"], 1,
        )
    ]  # fmt: skip
    assert records == ([expected[0], *expected] if point == "before the mark" else expected)
    assert await rows(database, OutboxRow) == []


async def test_what_a_new_broker_lost_is_published_again_whole(
    database_settings: Settings, database: Database, published: Services
) -> None:
    await create_all(published)
    await publish(database_settings, database)
    await published.patch(EDITOR, "user", "alice", {"on_leave": True})  # waits, and goes out with the rest
    async with kafka_admin(database_settings) as admin:
        name = f"{database_settings.topic_prefix}definitions"
        await admin.delete_topics([name, f"{database_settings.topic_prefix}deliveries.team"])

        async def gone() -> bool:
            return name not in await admin.list_topics()

        await wait_until(gone)
    await publish(database_settings, database)
    records = shape(await read_all(database_settings, "definitions"))
    assert sorted(key for key, *_ in records) == [
        "configuration/all", "consumer/team", "consumer/to-file", "filter/short", "producer/news", "script/append",
        "user/alice",
    ]  # fmt: skip
    assert {revision for _, _, revision, _ in records} == {8}
    assert [last for *_, last in records] == [False] * 6 + [True]
    assert await rows(database, OutboxRow) == []
    await publish(database_settings, database)  # nothing is missing now
    assert len(await read_all(database_settings, "definitions")) == 7


async def test_what_only_the_topic_has_is_reported_and_kept(
    database_settings: Settings, database: Database, published: Services, caplog: pytest.LogCaptureFixture
) -> None:
    await published.create(EDITOR, "user", USER)
    await published.create(EDITOR, "user", {"username": "bob"})
    await publish(database_settings, database)
    async with database.write() as session:  # as if the database came from an older backup
        await session.execute(text("DELETE FROM definition WHERE name = 'bob'"))
        await session.execute(text("UPDATE definition SET spec = '{\"on_leave\": true}'"))
    await publish(database_settings, database)
    assert "1 definitions on the topic are not in the database, for instance user/bob" in caplog.text
    assert [key for key, *_ in shape(await read_all(database_settings, "definitions"))] == [
        "user/alice",
        "user/bob",
        "user/alice",
    ]


async def test_a_reader_sees_a_large_apply_whole_or_not_at_all(
    database_settings: Settings, database: Database, seal: Seal, tmp_path: Path
) -> None:
    path = tmp_path / "large.yaml"
    applied = applying(database, seal)
    reader = Definitions(database_settings, Catalog(registry=REGISTRY, seal=seal))
    seen: list[tuple[int, int, int]] = []
    reader.on_change(
        lambda catalog: seen.append(
            (len(catalog.users), len(catalog.configurations), sum(user.on_leave for user in catalog.users.values()))
        )
    )
    await reader.load()
    for content, expected in ((large(2000), (1000, 1000, 0)), (large(2000, "true"), (1000, 1000, 1000))):
        path.write_text(content)
        plan = await applied(path)
        await publish_pending(database_settings, database, plan.revision)
        await wait_until(partial(ends_with, seen, expected), otherwise=lambda: str(seen))
    path.write_text("users: [{username: last}]\n")
    plan = await applied(path, prune=True)
    await publish_pending(database_settings, database, plan.revision)
    await wait_until(lambda: seen[-1:] == [(1, 0, 0)], otherwise=lambda: str(seen))
    assert seen == [(1000, 1000, 0), (1000, 1000, 1000), (1, 0, 0)]
    await reader.stop()


def ends_with(seen: list[Any], expected: object) -> bool:
    return seen[-1:] == [expected]


async def test_a_transaction_that_is_not_committed_is_not_seen(
    database_settings: Settings, database: Database, published: Services, seal: Seal
) -> None:
    await published.create(EDITOR, "user", USER)

    class Stuck(Relay):
        """Sends and never commits."""

        async def _send(self, revision: int, records: Any) -> None:
            assert self._producer is not None
            await self._producer.begin_transaction()
            await self._producer.send_and_wait(
                f"{self._settings.topic_prefix}definitions", key=b"user/ghost", value=b"{}", partition=0
            )
            raise TimeoutError

    stuck = Stuck(database_settings, database)
    with pytest.raises(BrokerError):
        await stuck.publish()
    await stuck.close()
    raw = kafka_consumer(database_settings, isolation_level="read_uncommitted")
    assert await uncommitted(raw, database_settings) == 1
    await publish(database_settings, database)
    reader = Definitions(database_settings, Catalog(registry=REGISTRY, seal=seal))
    catalog = await reader.load()
    assert list(catalog.users) == ["alice"]
    await reader.stop()


async def uncommitted(consumer: AIOKafkaConsumer, settings: Settings) -> int:
    """How many records lie on `definitions`, committed or not."""
    partition = TopicPartition(f"{settings.topic_prefix}definitions", 0)
    async with consumer:
        consumer.assign([partition])
        await consumer.seek_to_beginning(partition)
        return len((await consumer.getmany(partition, timeout_ms=10_000)).get(partition, []))


async def test_apply_waits_for_the_relay_that_leads(
    database_settings: Settings, database: Database, published: Services
) -> None:
    relay = Relay(database_settings, database, poll_s=0.1)
    await relay.start()
    await wait_until(lambda: relay.leads)
    revision = (await published.create(EDITOR, "user", USER)).revision
    await publish_pending(database_settings, database, revision)
    assert len(await read_all(database_settings, "definitions")) == 1
    assert relay.leads
    await relay.stop()
    idle = Relay(database_settings, database)
    assert await idle.publish()
    revision = (await published.patch(EDITOR, "user", "alice", {"on_leave": True})).revision
    with pytest.raises(BrokerError, match="has not done it in time"):
        await publish_pending(database_settings, database, revision, timeout_s=0.3)
    await idle.close()


# ------------------------------------------------------------------------------------------------------------- commands

REAL = """\
    users: [{username: alice}]
    scripts: [{name: append, executor: bash, content: cat}]
    producers: [{name: ci, type: push}]
    filters: [{name: no-drafts, type: skip_keywords, parameters: {skip_keywords: [draft]}}]
    consumers: [{name: to-file, type: script, parameters: {script: append}}]
    configurations: [{name: builds, users: [alice], producers: [ci], filters: [no-drafts], consumers: [to-file]}]
    """


async def test_the_apply_command_stores_and_publishes(database_settings: Settings, tmp_path: Path) -> None:
    folder = write(tmp_path / "f", d_yaml=REAL)
    dry = await apply_command(database_settings, folder, dry_run=True)
    assert dry.lines[-1] == "6 created, 0 changed, 0 deleted, 0 unchanged; dry run: nothing is changed"
    done = await apply_command(database_settings, folder)
    assert done.published
    assert list(done.lines[:-1]) == list(dry.lines[:-1])
    assert done.lines[-1].startswith("6 created, 0 changed, 0 deleted, 0 unchanged; revision ")
    assert done.lines[-1].endswith(" is published")
    records = await read_all(database_settings, "definitions")
    assert len(records) == 6
    assert [last for *_, last in shape(records)] == [False] * 5 + [True]
    again = await apply_command(database_settings, folder)
    assert list(again.lines) == ["0 created, 0 changed, 0 deleted, 6 unchanged; nothing to change"]
    (tmp_path / "export.yaml").write_text(await export_command(database_settings))
    assert (await apply_command(database_settings, tmp_path / "export.yaml", prune=True)).plan.revision is None


async def test_the_apply_command_without_a_broker_stores_and_says_so(
    database_settings: Settings, tmp_path: Path
) -> None:
    folder = write(tmp_path / "f", d_yaml=REAL)
    away = database_settings.model_copy(update={"kafka": "127.0.0.1:1"})
    stored = await apply_command(away, folder)
    assert not stored.published
    assert " is stored and will be published later: " in stored.lines[-1]
    done = await apply_command(database_settings, folder)  # the broker is back: what waited goes out
    assert done.published
    assert len(await read_all(database_settings, "definitions")) == 6


async def test_an_export_of_nothing_is_a_file_with_nothing(alone: Settings) -> None:
    text_ = await export_command(alone)
    assert yaml.safe_load(text_) is None


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
