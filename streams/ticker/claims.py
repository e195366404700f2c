"""Claims: the ticker's cursors and claims in the database, `notifier.tick_claims`, on SQLite and PostgreSQL.

A due time comes from the cursor of its configuration, never from a clock alone. The ticker that moves a cursor on from the due
time that it read there claims that due time in the same transaction; the others find the cursor moved. So a ticker that was
paused, or whose clock is wrong, can neither invent a due time nor skip one.

Transactions take milliseconds. A ticker that is paused within one (SIGSTOP) holds its rows on PostgreSQL for 5 s, and the whole
database on SQLite until it goes on: SQLite takes no lock away from a process that lives.
"""

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast
from uuid import UUID, uuid5

from sqlalchemy import ColumnElement, CursorResult, Executable, and_, delete, func, inspect, or_, select, text, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession

from notifier.database import Database
from notifier.outcome import Trigger
from notifier.record import now
from notifier.tick import Tick
from notifier.tick_claims import TICK, TICK_CURSOR
from streams.ticker.due import Cursor, Move

_NAMESPACE = UUID("5b7dcb3c-6a0c-5d0e-9d1c-2f8f3a3e7c11")
# PostgreSQL ends the transaction of a ticker that was paused within it and holds rows.
_IDLE_LIMIT = text("SET LOCAL idle_in_transaction_session_timeout = '5s'")


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A due time that its owner publishes."""

    configuration: str
    due_at: datetime
    tick_id: str
    trigger: Trigger
    owner: str
    claimed_at: datetime

    @property
    def tick(self) -> Tick:
        """The tick to publish."""
        return Tick(configuration=self.configuration, scheduled_at=self.due_at, trigger=self.trigger)


def tick_id(tick: Tick) -> str:
    """The id under which a tick is published, the same from every ticker."""
    return str(uuid5(_NAMESPACE, tick.id))


class Claims:
    """Reads and writes the two tables for one ticker, `owner`. Every method is one transaction and raises DatabaseError."""

    def __init__(self, database: Database, owner: str) -> None:
        self._database = database
        self._owner = owner
        self._insert = sqlite.insert if database.is_sqlite else postgresql.insert

    async def tables_exist(self) -> bool:
        """Whether the database has been brought up to date (which the control API does)."""
        async with self._database.read() as session:
            connection = await session.connection()
            return await connection.run_sync(
                lambda sync: all(inspect(sync).has_table(table.name) for table in (TICK, TICK_CURSOR))
            )

    async def cursors(self, due_by: datetime | None = None) -> list[Cursor]:
        """All cursors, or those that are due by then; the longest due first."""
        query = select(TICK_CURSOR).order_by(TICK_CURSOR.c.next_due_at, TICK_CURSOR.c.configuration)
        if due_by is not None:
            query = query.where(TICK_CURSOR.c.next_due_at <= due_by)
        async with self._database.read() as session:
            return [Cursor(**row) for row in (await session.execute(query)).mappings()]

    async def next_due_at(self) -> datetime | None:
        """The earliest due time that is not claimed."""
        async with self._database.read() as session:
            found: datetime | None = await session.scalar(select(func.min(TICK_CURSOR.c.next_due_at)))
            return found

    async def add(self, cursors: Iterable[Cursor]) -> None:
        """Adds cursors; one that another ticker has added meanwhile stays."""
        async with self._write() as session:
            for cursor in sorted(cursors, key=lambda one: one.configuration):
                await session.execute(self._insert(TICK_CURSOR).values(vars(cursor)).on_conflict_do_nothing())

    async def drop(self, cursors: Iterable[Cursor]) -> None:
        """Deletes the cursors that have not changed since they were read."""
        async with self._write() as session:
            for cursor in sorted(cursors, key=lambda one: one.configuration):
                await session.execute(delete(TICK_CURSOR).where(_is(cursor)))

    async def move(self, moves: Iterable[Move]) -> list[Claim]:
        """Moves cursors on and claims what is due; returns this ticker's claims, in order."""
        claims = []
        at = now()
        async with self._write() as session:
            for move in sorted(moves, key=lambda one: one.old.configuration):  # all in one order: no deadlocks
                moved = await _count(session, update(TICK_CURSOR).where(_is(move.old)).values(vars(move.new)))
                if not moved:
                    continue
                for due_at in move.due:
                    claim = self._claim(move.old.configuration, due_at, at)
                    if await _count(session, self._insert(TICK).values(vars(claim)).on_conflict_do_nothing()):
                        claims.append(claim)
        return claims

    async def unsent(self, limit: int = 500) -> list[Claim]:
        """Claims of all tickers that are not marked as sent; the oldest first."""
        query = (
            select(*(TICK.c[name] for name in Claim.__dataclass_fields__))
            .where(TICK.c.sent_at.is_(None))
            .order_by(TICK.c.claimed_at, TICK.c.due_at)
            .limit(limit)
        )
        async with self._database.read() as session:
            return [Claim(**row) for row in (await session.execute(query)).mappings()]

    async def take_over(self, claims: Iterable[Claim]) -> list[Claim]:
        """Takes over the claims that have not been sent or taken over since they were read; returns those."""
        taken = []
        at = now()
        async with self._write() as session:
            for claim in sorted(claims, key=lambda one: (one.configuration, one.due_at)):
                same = and_(
                    TICK.c.configuration == claim.configuration,
                    TICK.c.due_at == claim.due_at,
                    TICK.c.sent_at.is_(None),
                    TICK.c.owner == claim.owner,
                    TICK.c.claimed_at == claim.claimed_at,
                )
                if await _count(session, update(TICK).where(same).values(owner=self._owner, claimed_at=at)):
                    taken.append(self._claim(claim.configuration, claim.due_at, at, claim.trigger))
        return taken

    async def mark_sent(self, claims: Sequence[Claim]) -> None:
        """Marks claims as sent, a hundred a statement."""
        at = now()
        async with self._write() as session:
            for start in range(0, len(claims), 100):
                these = [
                    and_(TICK.c.configuration == claim.configuration, TICK.c.due_at == claim.due_at)
                    for claim in claims[start : start + 100]
                ]
                await session.execute(update(TICK).where(or_(*these), TICK.c.sent_at.is_(None)).values(sent_at=at))

    async def forget(self, before: datetime) -> None:
        """Deletes the claims sent before that time. Their cursors have moved on, so they cannot be claimed again."""
        async with self._write() as session:
            await session.execute(delete(TICK).where(TICK.c.sent_at < before))

    def _claim(self, configuration: str, due_at: datetime, at: datetime, trigger: Trigger = "cron") -> Claim:
        tick = Tick(configuration=configuration, scheduled_at=due_at, trigger=trigger)
        return Claim(
            configuration=configuration,
            due_at=due_at,
            tick_id=tick_id(tick),
            trigger=trigger,
            owner=self._owner,
            claimed_at=at,
        )

    @asynccontextmanager
    async def _write(self) -> AsyncIterator[AsyncSession]:
        async with self._database.write() as session:
            if not self._database.is_sqlite:
                await session.execute(_IDLE_LIMIT)
            yield session


def _is(cursor: Cursor) -> ColumnElement[bool]:
    return and_(
        TICK_CURSOR.c.configuration == cursor.configuration,
        TICK_CURSOR.c.revision == cursor.revision,
        TICK_CURSOR.c.next_due_at == cursor.next_due_at,
    )


async def _count(session: AsyncSession, statement: Executable) -> int:
    result = cast("CursorResult[Any]", await session.execute(statement))
    return result.rowcount
