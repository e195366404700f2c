"""The database: one engine, sessions that only read and sessions that write. Used by the control API and the ticker.

SQLite in the data folder by default, PostgreSQL by `NOTIFIER_DATABASE_URL`. The tables are their owners' own
(`control_api.models`); this file knows none of them.

Writers of SQLite take the write lock when they begin (`BEGIN IMMEDIATE`). With SQLite's default, two transactions that
both read and then write end in "database is locked" at once, whatever the busy time-out, since neither may go on from
its snapshot.
"""

import os
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from sqlalchemy import Connection, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, InterfaceError, OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.pool import NullPool

from notifier.errors import DatabaseError, SettingsError
from notifier.one_line import one_line
from notifier.settings import Settings, variable

SQLITE_FILE = "notifier.sqlite3"  # in the data folder
BUSY_TIMEOUT_S = 30.0  # that a writer of SQLite waits for the one before it
CONNECT_S = 10.0  # that PostgreSQL has to take a connection
STATEMENT_S = 30.0  # that it has for one statement; a connection whose other end is gone says nothing for ever
_WRITES = "notifier_writes"  # execution option of the engine that writing sessions use


def database_url(settings: Settings) -> URL:
    """Where the database is. Raises SettingsError when NOTIFIER_DATABASE_URL is neither PostgreSQL nor SQLite."""
    if settings.database_url is None:
        return URL.create("sqlite+aiosqlite", database=str(settings.data_dir / SQLITE_FILE))
    try:
        url = make_url(settings.database_url)
    except ArgumentError:
        url = None
    family = url.get_backend_name() if url is not None else ""
    if url is not None and family in ("postgresql", "postgres"):
        return url.set(drivername="postgresql+asyncpg")
    if url is not None and family == "sqlite" and url.database and url.database != ":memory:":
        return url.set(drivername="sqlite+aiosqlite")
    # The value is not repeated: it may hold a password.
    raise SettingsError(
        f"{variable('database_url')} must be postgresql+asyncpg://user:password@host/name or sqlite:///path"
    )


class Database:
    """An engine and its sessions. Belongs to the event loop it is first used in; `close` gives its connections back."""

    def __init__(self, settings: Settings) -> None:
        """Connects to nothing yet, but makes the file of SQLite.

        Raises SettingsError as `database_url` does, and DatabaseError when the file cannot be made or is no database.
        """
        self.url = database_url(settings)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self.engine = _engine(self.url)
        writer = self.engine.execution_options(**{_WRITES: True})
        self._read = async_sessionmaker(self.engine, expire_on_commit=False)
        self._write = async_sessionmaker(writer, expire_on_commit=False)
        # A step of a migration may take as long as it takes.
        self._migrator = writer if self.is_sqlite else _postgresql(self.url, None, poolclass=NullPool)

    def __repr__(self) -> str:
        return f"Database({self.url!r})"  # SQLAlchemy masks the password

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncSession]:
        """A session for reading: one snapshot on SQLite, read committed on PostgreSQL. It writes nothing.

        Raises DatabaseError when the database cannot be reached.
        """
        async with self._reachable(), self._read() as session:
            await self._begin(session)
            yield session

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncSession]:
        """One transaction, committed at the end of the block and rolled back when it raises.

        On SQLite one writer works at a time; on PostgreSQL rows are locked as usual, and writers that need an order
        among themselves take a lock. Raises DatabaseError when the database cannot be reached or its lock is not given in time.
        """
        async with self._reachable(), self._write.begin() as session:
            await self._begin(session)
            yield session

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[AsyncConnection]:
        """One writing transaction below the ORM, for migrations."""
        async with self._reachable(), AsyncSession(self._migrator) as session:
            yield await self._begin(session)
            await session.commit()

    async def close(self) -> None:
        """Gives all connections back."""
        await self.engine.dispose()

    async def _begin(self, session: AsyncSession) -> AsyncConnection:
        try:
            return await session.connection()
        except OSError as error:  # asyncpg's own, for a refused connection or an unknown host
            raise DatabaseError(self._unreachable(error)) from error

    @asynccontextmanager
    async def _reachable(self) -> AsyncIterator[None]:
        try:
            yield
        except (OperationalError, InterfaceError) as error:
            # asyncpg's own check of a value raises ValueError, and SQLAlchemy shows it as an InterfaceError.
            if isinstance(getattr(error.orig, "__cause__", None), ValueError):
                raise
            raise DatabaseError(self._unreachable(error.orig)) from error
        except DBAPIError as error:
            if not error.connection_invalidated:
                raise
            raise DatabaseError(self._unreachable(error.orig)) from error
        except TimeoutError as error:  # asyncpg's own; it has no words
            raise DatabaseError(self._unreachable("a statement took too long")) from error

    def _unreachable(self, error: BaseException | str | None) -> str:
        text = one_line(error)
        if self.is_sqlite:
            return f"the database {self.url.database} cannot be used: {text}"
        place = f"{self.url.host or self.url.query.get('host', 'localhost')}:{self.url.port or 5432}"
        return f"the database at {place} does not answer: {text}; see {variable('database_url')}"


def _postgresql(url: URL, statement_s: float | None, **pool: Any) -> AsyncEngine:
    return create_async_engine(url, connect_args={"timeout": CONNECT_S, "command_timeout": statement_s}, **pool)


def _engine(url: URL) -> AsyncEngine:
    if url.get_backend_name() != "sqlite":
        return _postgresql(url, STATEMENT_S, pool_pre_ping=True, pool_size=5, max_overflow=15)
    _make_file(Path(url.database or ""))
    engine = create_async_engine(url, connect_args={"timeout": BUSY_TIMEOUT_S})

    @event.listens_for(engine.sync_engine, "connect")
    def set_up(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # the driver would begin late and commit before DDL; `begin` below does it
        cursor = connection.cursor()
        cursor.execute("PRAGMA synchronous = FULL")  # what was answered with 200 is on disk
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get(_WRITES, False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _make_file(path: Path) -> None:
    """Creates the file with mode 0600 before SQLite does with 0644; its `-wal` and `-shm` files take the mode over.

    The mode of the journal is kept in the file, so it is set here once. Its lock is the one that SQLite does not wait for,
    whatever the busy time-out: processes that start together on a new file would end in "database is locked".
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        with closing(sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None)) as connection:
            until = monotonic() + BUSY_TIMEOUT_S
            while not _write_ahead(connection, last_try=monotonic() > until):
                sleep(0.05)
    except OSError as error:
        raise DatabaseError(f"the database {path} cannot be made or opened: {error.strerror}") from None
    except sqlite3.Error as error:
        raise DatabaseError(f"the database {path} cannot be used: {error}") from error


def _write_ahead(connection: sqlite3.Connection, *, last_try: bool) -> bool:
    try:
        connection.execute("PRAGMA journal_mode = WAL")
    except sqlite3.OperationalError as error:
        if last_try or error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
            raise
        return False
    return True
