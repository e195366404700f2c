"""The database: its file, its URL, and its absence."""

import sqlite3
import stat
from threading import Timer

import pytest
from sqlalchemy import text

from control_api.migrate import upgrade
from notifier import database as database_module
from notifier.database import Database, database_url
from notifier.errors import DatabaseError, SettingsError
from notifier.settings import Settings

pytest_plugins = ["tests.rigs.databases"]


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


async def test_who_begins_while_another_makes_the_file_waits_for_it(alone: Settings) -> None:
    other = sqlite3.connect(alone.data_dir / "notifier.sqlite3", isolation_level=None, check_same_thread=False)
    other.execute("CREATE TABLE extra (x INTEGER)")
    other.execute("BEGIN IMMEDIATE")  # the lock that SQLite does not wait for when the journal's mode is set
    Timer(0.3, lambda: other.execute("COMMIT")).start()
    database = Database(alone)
    async with database.write() as session:
        await session.execute(text("INSERT INTO extra VALUES (1)"))
    await database.close()
    other.close()


def test_a_file_that_is_no_database_is_one_clear_line(alone: Settings) -> None:
    (alone.data_dir / "notifier.sqlite3").write_bytes(b"no database" * 100)
    with pytest.raises(DatabaseError, match=r"notifier\.sqlite3 cannot be used: file is not a database"):
        Database(alone)


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


async def test_a_statement_that_postgresql_does_not_answer_is_given_up_and_a_migration_is_not(
    alone: Settings, postgresql_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_module, "STATEMENT_S", 0.2)
    database = Database(alone.model_copy(update={"database_url": postgresql_url}))
    with pytest.raises(DatabaseError, match="does not answer: a statement took too long"):
        async with database.read() as session:
            await session.execute(text("SELECT pg_sleep(600)"))
    async with database.connection() as connection:
        assert await connection.scalar(text("SELECT 1 FROM pg_sleep(0.3)")) == 1
    await database.close()
