"""Migration: the steps lead to what the models say, once, and never back."""

import asyncio
import unicodedata
from datetime import UTC, datetime, timedelta

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import text

from control_api.access.actor import COMMAND_LINE
from control_api.definitions.services import Services
from control_api.history.messages import messages
from control_api.history.queries import MessageQuery
from control_api.history.sight import Sight
from control_api.migrate import migration_config, upgrade, upgrade_database
from control_api.models import Base, ChangeRow, DefinitionRow, TokenRow
from notifier.database import Database
from notifier.errors import DatabaseError
from notifier.folded import folded
from notifier.registry import Registry
from notifier.seal import Seal, generate_key
from notifier.settings import Settings
from tests.rigs.definitions_rig import rows
from tests.rigs.history_rig import store_messages

pytest_plugins = ["tests.rigs.databases"]


def _is_a_model_s(name: str | None, type_: str, parents: object) -> bool:
    """Whether a model has it: not the indices of words, which each kind of database has in a way of its own."""
    return not str(name).startswith(("message_search", "ix_message_words"))


async def test_models_and_migrations_agree(database: Database) -> None:
    async with database.connection() as connection:
        found = await connection.run_sync(
            lambda sync: compare_metadata(
                MigrationContext.configure(sync, opts={"compare_type": True, "include_name": _is_a_model_s}),
                Base.metadata,
            )
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


async def test_names_that_only_look_different_to_a_computer_are_both_kept(database_settings: Settings) -> None:
    """Names of Korean letters could be stored in both forms before they were folded."""
    names = ["Jos\u00e9", "각하", unicodedata.normalize("NFD", "각하"), "\u212b", "İrem", "irem"]
    await upgrade(database_settings)
    database = Database(database_settings)
    at = datetime(2026, 11, 29, tzinfo=UTC)
    async with database.write() as session:
        change = ChangeRow(at=at, actor="cli", summary="apply")
        session.add(change)
        await session.flush()
        for place, name in enumerate(names):
            times = {"created_at": at + timedelta(seconds=place), "updated_at": at}
            row = DefinitionRow(
                kind="user",
                name=name,
                name_key=name.casefold(),
                spec={},
                revision=change.revision,
                changed_by="cli",
                **times,
            )
            session.add(row)
    async with database.connection() as connection:
        await connection.run_sync(lambda sync: command.downgrade(migration_config(sync), "0003"))
    await database.close()
    await upgrade(database_settings)
    database = Database(database_settings)
    services = Services(database, Registry(), Seal(generate_key()))
    for name in names:
        assert (await services.get("user", name)).name == name
    assert (await services.get("user", "JOSE\u0301")).name == names[0]
    assert (await services.get("user", "\u00e5")).name == names[3]
    keys = {row.name: row.name_key for row in await rows(database, DefinitionRow)}
    assert (keys[names[1]], keys[names[2]]) == (folded(names[1]), names[2])
    assert (keys["İrem"], keys["irem"]) == ("İrem".casefold(), "irem")
    await services.delete(COMMAND_LINE, "user", names[2])
    assert (await services.get("user", names[2])).name == names[1]
    await database.close()


async def _go(store: Database, step: str) -> None:
    async with store.connection() as connection:
        turn = command.upgrade if step == "head" else command.downgrade
        await connection.run_sync(lambda sync: turn(migration_config(sync), step))


async def test_a_token_of_one_producer_does_not_become_one_of_all(store: Database) -> None:
    async with store.write() as session:
        for name, producer in (("bound", "ci"), ("free", None)):
            new = {"name": name, "hash": name, "scopes": ["push"], "producer": producer}
            session.add(TokenRow(id=name, created_at=datetime(2026, 11, 29, tzinfo=UTC), **new))
    await _go(store, "0012")
    await _go(store, "head")
    found = {row.name: (row.producer, row.revoked_at is not None) for row in await rows(store, TokenRow)}
    assert found == {"bound": (None, True), "free": (None, False)}


async def test_dead_letters_of_a_filter_or_a_run_name_their_configuration(store: Database) -> None:
    expected = {
        ("ci/1/to%20chat%00", "route", "filter_failed"): "to chat\u2400",
        ("ci/1", "route", "unknown_producer"): None,
        ("nightly/2026-11-29T09:00:00Z", "run", "script_failed"): "nightly",
        ("n.ticks/0/7", "run", "invalid"): None,
    }
    await _go(store, "0008")
    async with store.write() as session:
        for offset, (letter, stage, reason) in enumerate(expected):
            values = {"offset": offset, "letter": letter, "stage": stage, "reason": reason}
            values |= {"at": datetime(2026, 11, 29, tzinfo=UTC)}
            columns = 'generation, partition, "offset", letter, stage, reason, error, topic, at, attempts'
            query = (
                f"INSERT INTO dead_letter ({columns}) VALUES (0, 0, :offset, :letter, :stage, :reason, '', '', :at, 0)"
            )
            await session.execute(text(query), values)
    await _go(store, "head")
    async with store.read() as session:
        found = await session.execute(text("SELECT letter, stage, reason, configuration FROM dead_letter"))
        assert {(letter, stage, reason): name for letter, stage, reason, name in found} == expected


async def test_messages_that_were_kept_without_their_texts_stay(store: Database) -> None:
    place = {"generation": 1, "partition": 2, "offset": 3, "digest": -4, "at": datetime(2026, 11, 29, tzinfo=UTC)}
    old = 'SELECT generation, partition, "offset", digest FROM message'

    await store_messages(store, [{"producer": "ci", "id": "m", "content": "build failed"}])
    await _go(store, "0008")
    async with store.write() as session:
        columns = ", ".join(f'"{name}"' for name in place)
        values = ", ".join(f":{name}" for name in place)
        await session.execute(text(f"INSERT INTO message ({columns}) VALUES ({values})"), place)
        assert len((await session.execute(text(old))).all()) == 2
    await _go(store, "head")
    async with store.read() as session:
        assert sorted((await session.execute(text(old))).all())[1] == (1, 2, 3, -4)
        assert (await messages(session, MessageQuery(), Sight()))[0] == []  # their texts are not there
    await store_messages(store, [{"producer": "ci", "id": "m", "content": "once more"}] * 2)
    async with store.read() as session:
        found, _ = await messages(session, MessageQuery(q="more"), Sight())
        assert [one["offset"] for one in found] == [1]
