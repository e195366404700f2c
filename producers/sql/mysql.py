"""MySQL and MariaDB: reading by aiomysql.

error number                       error
1045, 1698, 2059                   Permanent unauthorized
1044, 1142, 1143, 1227, 1370       Permanent forbidden
1792, 1290                         Permanent forbidden: the query writes
1049, 1146                         Permanent not_found
3024, 1969, 1317, 1205             Retryable timeout
2…                                 Retryable connection
other errors of a query            Permanent invalid_content
any other                          Retryable server_error
"""

import asyncio
import ssl
from collections.abc import AsyncGenerator, Sequence
from types import TracebackType
from typing import Any, ClassVar, Self

import aiomysql
from pymysql.constants import CLIENT

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

MAX_BYTES = 64_000_000  # that a server may send in all
_TLS_CAPABILITY = 2026  # the number that clients give it: a connection that cannot be encrypted
_UNAUTHORIZED = (1045, 1698, 2059)
_FORBIDDEN = (1044, 1142, 1143, 1227, 1370)
_WRITES = (1792, 1290)
_MISSING = (1049, 1146)
_SLOW = (3024, 1969, 1317, 1205)


class TooMuch(Exception):
    """The server sent more than MAX_BYTES."""


class Connection(aiomysql.Connection):  # type: ignore[misc]  # it has no types
    """A connection that takes one statement at a time, sends no file and no password in clear, and reads no more than it may."""

    must_encrypt = False
    _left = MAX_BYTES

    async def _request_authentication(self) -> None:
        if self.must_encrypt and not self.server_capabilities & CLIENT.SSL:
            raise aiomysql.OperationalError(_TLS_CAPABILITY, "the server speaks no TLS; see `tls`")
        # aiomysql allows several statements in one query, whose second one could end the transaction.
        self.client_flag &= ~(CLIENT.MULTI_STATEMENTS | CLIENT.LOCAL_FILES)
        await super()._request_authentication()

    async def _process_auth(self, plugin_name: bytes, auth_packet: Any) -> Any:
        if plugin_name == b"mysql_clear_password" and not self._secure:
            raise aiomysql.OperationalError(2059, "the server asks for the password in clear, without TLS")
        return await super()._process_auth(plugin_name, auth_packet)

    async def _read_bytes(self, num_bytes: int) -> bytes:
        self._left -= num_bytes
        if self._left < 0:
            raise TooMuch
        return bytes(await super()._read_bytes(num_bytes))


class _Cursor(aiomysql.SSCursor):  # type: ignore[misc]
    """A cursor of the server's that makes no Python warnings of the server's."""

    async def _show_warnings(self, conn: Any) -> None:
        return


class MySQL:
    """Reads in one transaction, row by row."""

    argument: ClassVar[str] = "%s"

    def __init__(self, source: Source) -> None:
        self._source = source
        self._connection: Any = None

    @staticmethod
    def quoted(name: str) -> str:
        """The name of a column as a query writes it."""
        return "`" + name.replace("`", "``") + "`"

    async def __aenter__(self) -> Self:
        try:
            async with asyncio.timeout(CONNECT_S):
                await self._connect()
                await self._begin()
        except TimeoutError:
            self._drop()
            raise Retryable("connection", f"the database does not answer within {CONNECT_S:g} s") from None
        except BaseException as error:
            self._drop()
            if isinstance(error, NotifierError) or not isinstance(error, Exception):
                raise
            raise self._failure(error) from None
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Not in order: aiomysql would read first whatever rows the server has left.
        self._drop()

    async def ask(self, query: str, *arguments: object, limit: int) -> Answer:
        """The answer to a query."""
        try:
            async with asyncio.timeout(self._source.timeout_s + GRACE_S):
                # Holds for a query without a LIMIT of its own.
                await self._tell(f"SET SESSION sql_select_limit = {limit}")
                cursor = await self._connection.cursor(_Cursor)
                # With arguments, and only then, a percent sign begins the place of one.
                await cursor.execute(query, arguments or None)
        except Exception as error:
            raise self._failure(error) from None
        return [column[0] for column in cursor.description or ()], self._rows(cursor)

    async def _rows(self, cursor: Any) -> AsyncGenerator[Sequence[Row], None]:
        chunk = Chunk()
        try:
            while rows := await cursor.fetchmany(chunk.rows):
                yield rows
                chunk.learn(rows)
        except Exception as error:
            raise self._failure(error) from None

    async def _connect(self) -> None:
        address, source = self._source.address, self._source
        infos = await source.network.resolve(address.host, address.port)
        context = context_of(source.tls, source.authority, address.host)
        reached: Exception | None = None
        for host in dict.fromkeys(info[4][0] for info in infos):
            connection = self._connection = Connection(
                host=host,
                port=address.port,
                user=address.username,
                # It is sent as Latin 1, and servers know it as UTF-8.
                password=address.password.encode().decode("latin-1"),
                db=address.name,
                charset="utf8mb4",
                ssl=context,
                auth_plugin="mysql_native_password",  # until the server asks for another one
                program_name="notifier",
                autocommit=None,
            )
            connection.must_encrypt = source.tls in ("require", "verify")
            try:
                await connection._connect()
            except aiomysql.OperationalError as error:
                if not isinstance(error.__cause__, OSError) or isinstance(error.__cause__, ssl.SSLError):
                    raise
                reached = error
            else:
                return
        raise reached or Retryable("connection", "no connection to the database")

    async def _begin(self) -> None:
        seconds = self._source.timeout_s
        maria = "mariadb" in self._connection.get_server_info().lower()
        limit = f"max_statement_time = {seconds:g}" if maria else f"max_execution_time = {int(seconds * 1000)}"
        await self._tell(f"SET SESSION {limit}")
        await self._tell("SET SESSION time_zone = '+00:00'")
        await self._tell("SET SESSION TRANSACTION READ ONLY")
        await self._tell("START TRANSACTION READ ONLY")

    async def _tell(self, statement: str) -> None:
        async with self._connection.cursor() as cursor:
            await cursor.execute(statement)

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()

    def _failure(self, error: Exception) -> Exception:
        match error:
            case NotifierError():
                return error
            case TooMuch():
                return too_much(MAX_BYTES)
            case TimeoutError():
                return too_slow(self._source.timeout_s)
            case aiomysql.Error():
                return self._answered(error, error.args[0] if error.args and isinstance(error.args[0], int) else 0)
            case ssl.SSLError():
                return Retryable(
                    "connection", f"no TLS with the database: {one_line(error, 300)}; see `tls` and `authority`"
                )
            case OSError():
                return Retryable("connection", f"no connection to the database: {one_line(error, 300)}")
            case _:
                return failed("server_error", f"{type(error).__name__}: {error}")

    def _answered(self, error: aiomysql.Error, number: int) -> Permanent | Retryable:
        said = error.args[-1] if error.args else error
        if number in _UNAUTHORIZED:
            return refused("unauthorized", said, WRONG_LOGIN)
        if number in _FORBIDDEN:
            return refused("forbidden", said, RIGHTS)
        if number in _WRITES:
            return refused("forbidden", said, WRITES)
        if number in _MISSING:
            return refused("not_found", said, WRONG_QUERY)
        if number in _SLOW:
            return too_slow(self._source.timeout_s)
        if 2000 <= number < 3000:
            cause = error.__cause__
            return Retryable("connection", f"no connection to the database: {one_line(cause or said, 300)}")
        if isinstance(error, aiomysql.ProgrammingError | aiomysql.DataError | aiomysql.NotSupportedError) or number in (
            1064,
            1054,
        ):
            return refused("invalid_content", said, WRONG_QUERY)
        return failed("server_error", said)
