"""PostgreSQL: reading by asyncpg.

SQLSTATE                     error
28…                          Permanent unauthorized
42501                        Permanent forbidden
25006                        Permanent forbidden: the query writes
3D000, 42P01, 3F000          Permanent not_found
57014                        Retryable timeout
other 42…, 22…, 26…, 34…     Permanent invalid_content
any other                    Retryable server_error
no connection                Retryable connection
"""

import asyncio
import ssl
from collections.abc import AsyncGenerator, Sequence
from types import TracebackType
from typing import Any, ClassVar, Self

import asyncpg
from asyncpg.prepared_stmt import PreparedStatement

from notifier import Permanent, Retryable
from notifier.errors import NotifierError
from notifier.one_line import one_line
from producers.sql.reading import (
    CONNECT_S,
    GRACE_S,
    RIGHTS,
    WRITES,
    WRONG_LOGIN,
    WRONG_QUERY,
    Answer,
    Chunk,
    Row,
    Source,
    failed,
    refused,
    too_much,
    too_slow,
)
from producers.sql.tls import context_of

_MISSING = frozenset({"3D000", "42P01", "3F000"})
_CLOSE_S = 2.0
MAX_BYTES = 64_000_000  # that a server may send at a time, which is some rows
# Python has no time before the year 1 or after 9999, and none that is infinite. As texts they cost no other row.
_AS_TEXTS = ("timestamptz", "timestamp", "date", "timetz", "time", "interval")


class _Counted(asyncio.Protocol):
    """A connection's protocol that takes no more than it may: asyncpg keeps what comes, however long a value is."""

    def __init__(self, inner: asyncio.Protocol, transport: asyncio.Transport) -> None:
        self.left = MAX_BYTES
        self._inner = inner
        self._transport = transport
        self.connection_lost = inner.connection_lost  # type: ignore[method-assign]
        self.eof_received = inner.eof_received  # type: ignore[method-assign]
        self.pause_writing = inner.pause_writing  # type: ignore[method-assign]
        self.resume_writing = inner.resume_writing  # type: ignore[method-assign]

    def data_received(self, data: bytes) -> None:
        """Called by the event loop."""
        self.left -= len(data)
        if self.left < 0:
            self._transport.abort()
        else:
            self._inner.data_received(data)


class PostgreSQL:
    """Reads in one transaction, by a cursor of the server's."""

    argument: ClassVar[str] = "$1"

    def __init__(self, source: Source) -> None:
        self._source = source
        self._connection: Any = None
        self._counted: _Counted | None = None

    @staticmethod
    def quoted(name: str) -> str:
        """The name of a column as a query writes it."""
        return '"' + name.replace('"', '""') + '"'

    async def __aenter__(self) -> Self:
        try:
            connection = self._connection = await self._connect()
            self._counted = _Counted(connection._protocol, connection._transport)
            connection._transport.set_protocol(self._counted)
            await self._begin()
        except BaseException as error:
            self._drop()
            if isinstance(error, NotifierError) or not isinstance(error, Exception):
                raise
            raise self._failure(error) from None
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            try:
                await self._connection.close(timeout=_CLOSE_S)  # the server forgets the transaction
            except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
                self._drop()
        else:
            self._drop()

    async def ask(self, query: str, *arguments: object, limit: int) -> Answer:
        """The answer to a query."""
        try:
            statement = await self._connection.prepare(query)
            columns = [attribute.name for attribute in statement.get_attributes()]
        except Exception as error:
            raise self._failure(error) from None
        return columns, self._rows(statement, arguments)

    async def _rows(
        self, statement: PreparedStatement, arguments: Sequence[object]
    ) -> AsyncGenerator[Sequence[Row], None]:
        assert self._counted is not None
        chunk = Chunk()
        try:
            cursor = await statement.cursor(*arguments)
            while rows := await cursor.fetch(chunk.rows):
                self._counted.left = MAX_BYTES
                found = [tuple(row.values()) for row in rows]
                yield found
                chunk.learn(found)
        except Exception as error:
            raise self._failure(error) from None

    async def _connect(self) -> Any:
        source = self._source
        infos = await source.network.resolve(source.address.host, source.address.port)
        context = context_of(source.tls, source.authority, source.address.host)
        try:
            return await self._connect_to([info[4][0] for info in infos], context)
        except ConnectionError as error:
            # asyncpg has no type of its own for it.
            if source.tls != "prefer" or "rejected SSL upgrade" not in str(error):
                raise
        return await self._connect_to([info[4][0] for info in infos], None)

    async def _connect_to(self, addresses: Sequence[str], context: ssl.SSLContext | None) -> Any:
        address = self._source.address
        return await asyncpg.connect(
            host=list(addresses),
            port=address.port,
            user=address.username,
            password=address.password,  # an empty one too, or asyncpg takes one of the machine's
            database=address.name,
            ssl=context if context is not None else False,
            direct_tls=False,
            target_session_attrs="any",
            timeout=CONNECT_S,
            command_timeout=self._source.timeout_s + GRACE_S,
            statement_cache_size=0,  # a pool before the server may give each transaction another connection
            server_settings={"application_name": "notifier"},
        )

    async def _begin(self) -> None:
        await self._connection.transaction(readonly=True).start()
        milliseconds = int(self._source.timeout_s * 1000)
        await self._connection.execute(
            f"SET LOCAL statement_timeout = {milliseconds}; SET LOCAL lock_timeout = {milliseconds};"
            f" SET LOCAL idle_in_transaction_session_timeout = {milliseconds + 60_000};"
            " SET LOCAL TimeZone = 'UTC'; SET LOCAL DateStyle = 'ISO'; SET LOCAL IntervalStyle = 'iso_8601'"
        )
        for name in _AS_TEXTS:
            await self._connection.set_type_codec(name, schema="pg_catalog", encoder=str, decoder=str, format="text")

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.terminate()

    def _failure(self, error: Exception) -> Exception:
        if self._counted is not None and self._counted.left < 0:
            return too_much(MAX_BYTES)
        match error:
            case NotifierError():
                return error
            case asyncpg.PostgresError():
                return self._answered(error, getattr(error, "sqlstate", None) or "")
            case TimeoutError():
                if self._connection is None:
                    return Retryable("connection", f"the database does not answer within {CONNECT_S:g} s")
                return too_slow(self._source.timeout_s)
            case ssl.SSLError():
                return Retryable(
                    "connection", f"no TLS with the database: {one_line(error, 300)}; see `tls` and `authority`"
                )
            case asyncpg.InterfaceError() | asyncpg.DataError() | ValueError():
                return refused("invalid_content", error, WRONG_QUERY)
            case OSError() if self._source.tls in ("require", "verify") and "SSL" in str(error):
                return Retryable("connection", "the database speaks no TLS; see `tls`")
            case OSError():
                return Retryable("connection", f"no connection to the database: {one_line(error, 300)}")
            case _:
                return failed("server_error", error)

    def _answered(self, error: asyncpg.PostgresError, state: str) -> Permanent | Retryable:
        if state.startswith("28"):
            return refused("unauthorized", error, WRONG_LOGIN)
        if state == "42501":
            return refused("forbidden", error, RIGHTS)
        if state == "25006":
            return refused("forbidden", error, WRITES)
        if state in _MISSING:
            return refused("not_found", error, WRONG_QUERY if state != "3D000" else WRONG_LOGIN)
        if state == "57014":
            return too_slow(self._source.timeout_s)
        if state[:2] in ("42", "22", "26", "34", "0A", "21"):
            return refused("invalid_content", error, WRONG_QUERY)
        return failed("server_error", error)
