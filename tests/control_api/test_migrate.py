"""Migration: the steps lead to what the models say, once, and never back."""

import asyncio

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import text

from control_api.migrate import upgrade, upgrade_database
from control_api.models import Base
from notifier.database import Database
from notifier.errors import DatabaseError
from notifier.settings import Settings

pytest_plugins = ["tests.rigs.databases"]


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
