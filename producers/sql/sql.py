"""SQL: a producer that makes a message of each row that a query gives.

What each kind of database does is in a file of its own, how rows become messages in `producers.rows`.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from typing import Annotated, Any, ClassVar
from urllib.parse import quote, quote_plus

from pydantic import AfterValidator, Field, SecretStr, StringConstraints

from notifier import Context, JsonObject, Producer, WorldParameters
from notifier.plugin.authority import Authority
from notifier.seal import is_sealed
from producers.rows import RowParameters, Rows, Told
from producers.sql.address import Tls, read_address
from producers.sql.query import behind, check_query
from producers.sql.reading import CONNECT_S, GRACE_S, Reading, Source, too_slow

_CHECK_ROWS = 1


def _check_url(url: SecretStr) -> SecretStr:
    text = url.get_secret_value()
    if not is_sealed(text):  # as the router sees it, which has no key
        read_address(text)
    return url


class SqlParameters(RowParameters, WorldParameters):
    """Parameters of a SQL producer."""

    url: Annotated[SecretStr, AfterValidator(_check_url)] = Field(
        max_length=2000,
        description="The database, as a URL of SQLAlchemy's: `postgresql://`, `mysql://`, `mariadb://` with user, password, host"
        " and name, or `sqlite:////path`.",
        examples=["postgresql://notifier:password@db.example/shop"],
    )
    query: Annotated[str, StringConstraints(min_length=1, max_length=100_000), AfterValidator(check_query)] = Field(
        description="One query that reads: each row that it gives is a message.",
        examples=["SELECT owner, text FROM orders WHERE late"],
    )
    timeout_s: float = Field(30.0, ge=1, le=600, description="Seconds that the query may take at the database.")
    tls: Tls = Field(
        "prefer",
        description="`prefer`: encrypted where the server can; `require`: else refused; `verify`: and its certificate is"
        " checked; `off`: never encrypted.",
    )
    authority: Authority | None = Field(
        None, description="Authority of the server's certificate, as PEM; with it that is checked whatever `tls` says."
    )

    addresses: ClassVar[Mapping[str, Sequence[str]] | None] = {"tls": ["url"], "authority": ["url"]}


class Sql(Producer[SqlParameters]):
    """Asks a database on a schedule: PostgreSQL, MySQL, MariaDB or SQLite. Each row of the answer is a message.

    The transaction only reads, the database ends a query that takes too long, and no more than `limit` rows are told. With
    `cursor_column` a run tells the rows behind those that were told before, else it tells all.
    """

    type = "sql"
    Parameters = SqlParameters

    def timeout_s(self) -> float:
        """Seconds that connecting and the query may take."""
        return self.parameters.timeout_s + CONNECT_S + 2 * GRACE_S

    def mask(self, text: str) -> str:
        """The text without the URL, and without the password in it."""
        url = self.parameters.url.get_secret_value()
        password = "" if is_sealed(url) else read_address(url).password
        for form in sorted(
            {password, quote(password), quote(password, safe=""), quote_plus(password)}, key=len, reverse=True
        ):
            if form:
                text = text.replace(form, "***")
        return super().mask(text)

    async def produce(self, context: Context) -> list[JsonObject]:
        """The messages of the rows. Raises Permanent, Retryable and InputError."""
        told = None
        if self.parameters.cursor_column is not None:
            told = Told(self.parameters.cursor_column, context.cursor)
        rows = await self._read(context, told, self.parameters.limit)
        if (notice := rows.notice()) is not None:
            context.notice(notice)
        if told is not None and (state := told.state()) is not None:
            context.keep(state)
        return rows.messages

    async def check(self, context: Context) -> None:
        """Asks for one row. Raises as `produce` does."""
        column = self.parameters.cursor_column
        await self._read(context, None if column is None else Told(column, None), _CHECK_ROWS)

    async def _read(self, context: Context, told: Told | None, limit: int) -> Rows:
        parameters = self.parameters
        # One more than may be told says that there are more; with a cursor the last ones that were told come again.
        wanted = limit + 1 + (0 if told is None else told.again)
        try:
            async with asyncio.timeout(self.timeout_s() - GRACE_S), self._reading(context) as reading:
                query: str = parameters.query
                arguments: tuple[object, ...] = ()
                if told is not None:
                    query, arguments = _behind(query, told, reading, wanted)
                columns, chunks = await reading.ask(query, *arguments, limit=wanted)
                rows = Rows(parameters, columns, told)
                await _add(rows, chunks, wanted)
                return rows
        except TimeoutError:
            raise too_slow(parameters.timeout_s) from None

    @asynccontextmanager
    async def _reading(self, context: Context) -> AsyncIterator[Reading]:
        address = read_address(self.parameters.url.get_secret_value())
        tls: Tls = "verify" if self.parameters.authority is not None else self.parameters.tls
        if tls == "prefer" and address.tls is not None:
            tls = address.tls
        source = Source(
            address=address,
            network=context.network,
            tls=tls,
            authority=self.parameters.authority,
            timeout_s=self.parameters.timeout_s,
        )
        async with AsyncExitStack() as stack:
            # The drivers take long to import: the API and the router have instances too, and never ask.
            yield await stack.enter_async_context(await asyncio.to_thread(_reading_of, source, context))


def _reading_of(source: Source, context: Context) -> Any:
    if source.address.kind == "sqlite":
        from producers.sql.sqlite import SQLite

        return SQLite(source, context.files)
    if source.address.kind == "mysql":
        from producers.sql.mysql import MySQL

        return MySQL(source)
    from producers.sql.postgresql import PostgreSQL

    return PostgreSQL(source)


def _behind(query: str, told: Told, reading: Reading, limit: int) -> tuple[str, tuple[object, ...]]:
    column = reading.quoted(told.column)
    if told.value is None:
        return behind(query, column, None, is_past=False, limit=limit), ()
    if reading.argument == "%s":
        query, column = query.replace("%", "%%"), column.replace("%", "%%")
    return behind(query, column, reading.argument, is_past=told.is_past, limit=limit), (told.value,)


async def _add(rows: Rows, chunks: AsyncGenerator[Sequence[Sequence[object]], None], wanted: int) -> None:
    """Adds rows until there is no room, or no more are wanted."""
    async with aclosing(chunks):
        async for chunk in chunks:
            for row in chunk:
                wanted -= 1
                if not rows.add(row) or wanted <= 0:
                    return
