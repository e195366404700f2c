"""Migration: brings a database to the newest schema. Every command that needs the database does so first.

The steps are in `control_api/migrations/versions`, one file each. They are packaged with the program, so that an installed
one upgrades its database without the source tree.
"""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from notifier.database import Database
from notifier.errors import DatabaseError
from notifier.settings import Settings

logger = logging.getLogger(__name__)

_LOCK = 7_306_874_210_001  # any number that nothing else in the database uses as an advisory lock


async def upgrade(settings: Settings) -> None:
    """Brings the database of the settings to the newest step; see `upgrade_database`."""
    async with upgraded(settings):
        pass


@asynccontextmanager
async def upgraded(settings: Settings) -> AsyncIterator[Database]:
    """The database of the settings, at the newest step, for a command. Closed at the end of the block."""
    database = Database(settings)
    try:
        await upgrade_database(database)
        yield database
    finally:
        await database.close()


async def upgrade_database(database: Database) -> None:
    """Brings a database to the newest step, in one transaction. Processes that start together wait for each other.

    Raises DatabaseError when the database cannot be reached or was upgraded by a newer program.
    """
    async with database.connection() as connection:
        if not database.is_sqlite:  # SQLite's writers wait for each other anyway
            await connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        await connection.run_sync(_upgrade)


def _upgrade(connection: Connection) -> None:
    logging.getLogger("alembic").setLevel(logging.WARNING)  # it logs the kind of database at each start
    config = migration_config(connection)
    known = {step.revision for step in ScriptDirectory.from_config(config).walk_revisions()}
    current = MigrationContext.configure(connection).get_current_revision()
    if current is not None and current not in known:
        raise DatabaseError(
            f"the database was upgraded by a newer Notifier (step {current}): update this program, or restore a backup"
        )
    command.upgrade(config, "head")
    reached = MigrationContext.configure(connection).get_current_revision()
    if reached != current:
        logger.info("The database is at step %s now.", reached, extra={"action": "upgrade_database"})


def migration_config(connection: Connection | None = None) -> Config:
    """Alembic's configuration; `env.py` works on `connection`, whose transaction stays its owner's."""
    config = Config()
    folder = str(Path(__file__).with_name("migrations"))
    config.set_main_option("script_location", folder.replace("%", "%%"))  # Alembic reads % as the start of a variable
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config
