"""Redrives: begins redrives, answers how far they are, cancels them. REST, GraphQL and the command line call this.

    begin ─► row `running` ─► `control_api.redrive.redriving`, in whichever process has the lease
    cancel ─► row `cancelled`; what is in a transaction at that moment is sent

The row has the whole state, so each API process answers for every redrive.
"""

from collections.abc import Sequence

import msgspec
from sqlalchemy import ColumnElement, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from control_api.access.actor import Actor
from control_api.access.entry import entry
from control_api.definitions.changes import lock
from control_api.models import DeadLetterRow, RedriveRow
from control_api.page_query import PageQuery, close_cursor, open_cursor
from control_api.redrive.criteria import RedriveInput, conditions
from control_api.redrive.redriving import Redriving
from control_api.redrive.report import Report
from notifier.database import Database
from notifier.errors import Conflict, UnknownName
from notifier.record import JsonObject, now, rfc3339
from notifier.settings import Settings

MOST_AT_ONCE = 20  # in all API processes together; they take turns
_GROUPS = 100  # of a count


class Redrives:
    """The redrives of this installation; `start` has this process work on them."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._database = database
        self.redriving = Redriving(settings, database)

    async def start(self) -> None:
        """Begins to work on what is to be done; returns at once."""
        await self.redriving.start()

    async def stop(self) -> None:
        """Ends the work; another process goes on with it."""
        await self.redriving.stop()

    async def count(self, actor: Actor, asked: RedriveInput) -> JsonObject:
        """How many letters a redrive would look at now, by reason and by consumer. Nothing is sent."""
        wanted = conditions(asked.criteria(), actor.team)
        column = DeadLetterRow.__table__.c
        async with self._database.read() as session:
            matched = await _count(session, wanted)
            reasons = await _grouped(session, column.reason, wanted)
            consumers = await _grouped(session, column.consumer, [*wanted, column.consumer.is_not(None)])
        return {"job": None, "matched": matched, "reasons": reasons, "consumers": consumers}

    async def begin(self, actor: Actor, asked: RedriveInput, id_: str) -> JsonObject:
        """Begins a redrive under an id; one that was begun under it already goes on. Raises Conflict while too many do."""
        criteria = asked.criteria()
        wanted = conditions(criteria, actor.team)
        async with self._database.write() as session:
            await lock(session)
            row = await session.get(RedriveRow, id_)
            if row is None:
                query = select(func.count()).select_from(RedriveRow).where(RedriveRow.state == "running")
                if (await session.scalar(query) or 0) >= MOST_AT_ONCE:
                    raise Conflict(f"{MOST_AT_ONCE} redrives are at work already; wait until one ends, or cancel one")
                row = RedriveRow(
                    id=id_,
                    actor=actor.name,
                    team=actor.team,
                    criteria=criteria,
                    per_second=asked.per_second,
                    matched=await _count(session, wanted),
                    last=await session.scalar(select(func.max(DeadLetterRow.id))) or 0,
                    reached=0,
                    report=msgspec.to_builtins(Report()),
                    batch=None,
                    state="running",
                    error=None,
                    created_at=now(),
                    started_at=None,
                    ended_at=None,
                )
                session.add(row)
                after = {**criteria, "matched": row.matched}
                session.add(entry(actor.name, "redrive", "job", id_, after=after))
        self.redriving.wake()
        return {"job": id_, "matched": row.matched}

    async def get(self, actor: Actor, id_: str) -> JsonObject:
        """A redrive and how far it is. Raises UnknownName."""
        async with self._database.read() as session:
            return _answer(await _row(session, actor, id_))

    async def list(self, actor: Actor, query: PageQuery) -> tuple[list[JsonObject], str | None]:
        """Redrives, the newest first, and the cursor of the next page. Raises InputError for a cursor that is none."""
        wanted = select(RedriveRow).where(*_seen(actor)).order_by(RedriveRow.id.desc()).limit(query.limit + 1)
        if query.cursor is not None:
            wanted = wanted.where(RedriveRow.id < open_cursor(query.cursor))
        async with self._database.read() as session:
            rows = list(await session.scalars(wanted))
        shown = rows[: query.limit]
        return [_answer(row) for row in shown], close_cursor(shown[-1].id) if len(rows) > len(shown) else None

    async def cancel(self, actor: Actor, id_: str) -> None:
        """Cancels a redrive, whichever process works on it; one that has ended stays as it is.

        Raises UnknownName, and OtherTeam where it is not of the actor's team.
        """
        async with self._database.write() as session:
            row = await _row(session, actor, id_)
            if row.actor != actor.name:
                actor.require_own(row.team, f"the redrive {id_}")
            if row.state == "running":
                row.state, row.ended_at = "cancelled", now()
                session.add(entry(actor.name, "cancel", "job", id_))


async def _count(session: AsyncSession, wanted: Sequence[ColumnElement[bool]]) -> int:
    return await session.scalar(select(func.count()).select_from(DeadLetterRow).where(*wanted)) or 0


async def _grouped(
    session: AsyncSession, column: ColumnElement[str], wanted: Sequence[ColumnElement[bool]]
) -> dict[str, int]:
    query = select(column, func.count()).where(*wanted).group_by(column).order_by(func.count().desc()).limit(_GROUPS)
    return dict((await session.execute(query)).all())


def _seen(actor: Actor) -> Sequence[ColumnElement[bool]]:
    """Whose redrives are shown: where teams are hidden from each other, those of the actor's own."""
    return () if actor.sees_all else (RedriveRow.team == actor.team,)


async def _row(session: AsyncSession, actor: Actor, id_: str) -> RedriveRow:
    query = select(RedriveRow).where(RedriveRow.id == id_, *_seen(actor))
    row = await session.scalar(query.with_for_update()) if len(id_) == 36 and "\0" not in id_ else None
    if row is None:
        raise UnknownName("job", id_)
    return row


def _answer(row: RedriveRow) -> JsonObject:
    times = {name: getattr(row, name) for name in ("created_at", "started_at", "ended_at")}
    return {
        "id": row.id,
        "kind": "redrive",
        "criteria": row.criteria,
        "per_second": row.per_second,
        "state": row.state,
        "error": row.error,
        "matched": row.matched,
        **row.report,
        "actor": row.actor,
        **{name: None if time is None else rfc3339(time) for name, time in times.items()},
    }
