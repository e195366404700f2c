"""SQLite: reading a file of this machine by aiosqlite.

error code                 error
READONLY, AUTH             Permanent forbidden: the query writes
INTERRUPT                  Retryable timeout
BUSY, LOCKED, IOERR, …     Retryable server_error
any other                  Permanent invalid_content
a file that may not be read, or is not there: see `notifier.allowed_files`
"""

import asyncio
import sqlite3
import time
from collections.abc import AsyncGenerator, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self
from urllib.parse import quote

import aiosqlite

from notifier.allowed_files import AllowedFiles
from notifier.errors import NotifierError
from producers.sql.reading import (
    RIGHTS,
    WRITES,
    WRONG_QUERY,
    Answer,
    Chunk,
    Row,
    Source,
    failed,
    refused,
    too_slow,
)

_STEPS = 10_000  # of SQLite's machine, after each of which the time is looked at
_BUSY_S = 5.0
_MAX_VALUE = 4_000_000  # bytes of a value
_AGAIN = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_FULL)


class SQLite:
    """Reads in one transaction. The file is opened for reading only, and no other file can be."""

    argument: ClassVar[str] = "?"

    def __init__(self, source: Source, files: AllowedFiles) -> None:
        self._source = source
        self._files = files
        self._connection: aiosqlite.Connection | None = None
        self._until = 0.0  # of the monotonic clock

    @staticmethod
    def quoted(name: str) -> str:
        """The name of a column as a query writes it."""
        return '"' + name.replace('"', '""') + '"'

    async def __aenter__(self) -> Self:
        path = await asyncio.to_thread(self._files.find, Path(self._source.address.name))
        self._until = time.monotonic() + self._source.timeout_s
        try:
            self._connection = aiosqlite.Connection(partial(self._open, path), iter_chunk_size=1)
            await self._connection
        except BaseException as error:
            await self._close()
            if isinstance(error, NotifierError) or not isinstance(error, Exception):
                raise
            raise self._failure(error) from None
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._close()

    async def ask(self, query: str, *arguments: object, limit: int) -> Answer:
        """The answer to a query."""
        assert self._connection is not None
        try:
            cursor = await self._connection.execute(query, arguments)
        except Exception as error:
            raise self._failure(error) from None
        return [column[0] for column in cursor.description or ()], self._rows(cursor)

    async def _rows(self, cursor: aiosqlite.Cursor) -> AsyncGenerator[Sequence[Row], None]:
        chunk = Chunk()
        try:
            while rows := list(await cursor.fetchmany(chunk.rows)):
                yield rows
                chunk.learn(rows)
        except Exception as error:
            raise self._failure(error) from None

    def _open(self, path: Path) -> sqlite3.Connection:
        """Runs in the connection's thread."""
        place = f"file:{quote(str(path))}?mode=ro"
        connection = sqlite3.connect(place, uri=True, timeout=_BUSY_S, isolation_level=None)
        connection.text_factory = lambda data: data.decode(errors="replace")
        connection.set_progress_handler(self._is_late, _STEPS)
        connection.execute("PRAGMA query_only = ON")
        connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _MAX_VALUE)
        connection.execute("BEGIN")
        return connection

    def _is_late(self) -> bool:
        return time.monotonic() > self._until

    async def _close(self) -> None:
        if self._connection is not None:
            self._until = 0.0  # what still runs ends
            await self._connection.close()

    def _failure(self, error: Exception) -> Exception:
        if isinstance(error, NotifierError):
            return error
        code = (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF
        if code == sqlite3.SQLITE_INTERRUPT:
            return too_slow(self._source.timeout_s)
        if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_AUTH):
            return refused("forbidden", error, WRITES)
        if code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
            return refused("forbidden", error, RIGHTS)
        if code in _AGAIN:
            return failed("server_error", error)
        return refused("invalid_content", error, WRONG_QUERY)
