"""Records of the history as the API answers them: lists with conditions, the newest first, page by page.

`control_api.models.history` says which fields an answer has; `control_api.history.queries` which conditions may be asked.
`control_api.history.messages` answers messages.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from control_api.history.listing import Beside, Listing, equal, page_of, position
from control_api.history.queries import AttemptQuery
from control_api.history.recipients import named
from control_api.history.sight import Sight
from control_api.history.span import span_of
from control_api.history.word_search import word_search
from control_api.models import AnswerRow, AttemptRow, DeadLetterRow, MessageRow, RunRow
from control_api.models.history import ANSWER, ATTEMPT, DEAD_LETTER, RUN
from notifier.bounds import in_range
from notifier.errors import UnknownName
from notifier.record import JsonObject, rfc3339

MAX_VALUE_CHARACTERS = 16_384  # of a dead letter's value in a list; asked for by itself it is whole

Conditions = Mapping[str, str | None]  # column → the value that it must have; None: any
Seen = Sequence[ColumnElement[bool]]  # what a row must fulfil to be shown; see `control_api.access.teams`


async def attempts(session: AsyncSession, query: AttemptQuery, sight: Sight) -> tuple[list[JsonObject], str | None]:
    """Attempts as JSON, and the cursor of the next page if there may be one. Raises InputError."""
    given = query.given("producer", "message", "configuration", "consumer", "outcome", "reason", "delivery")
    given |= await named(session, query.recipient)
    beside = None
    if query.q is not None:
        beside = Beside(table=MessageRow, leads=[await word_search(session, query.q)], others=sight.messages)
    listing = Listing(
        table=AttemptRow,
        leads=[equal(AttemptRow, column, value) for column, value in given.items()],
        others=sight.attempts,
        span=await span_of(session, AttemptRow.id, AttemptRow.ended_at, query.since, query.until),
        beside=beside,
    )
    rows, next_cursor = await page_of(session, listing, query.limit, query.cursor)
    return [ATTEMPT.answer(row) for row in rows], next_cursor


async def dead_letters(
    session: AsyncSession, conditions: Conditions, limit: int, cursor: str | None, seen: Seen = ()
) -> tuple[list[JsonObject], str | None]:
    """Dead letters as JSON; a value beyond 16,384 characters is left out, and `value_omitted` says so."""
    rows, next_cursor = await _page(session, DeadLetterRow, conditions, limit, cursor, seen)
    return [_dead_letter(row, MAX_VALUE_CHARACTERS) for row in rows], next_cursor


async def dead_letter(session: AsyncSession, id_: str, seen: Seen = ()) -> JsonObject:
    """The newest dead letter of that id, whole. Raises UnknownName."""
    query = select(DeadLetterRow).where(DeadLetterRow.letter == id_, *seen).order_by(DeadLetterRow.id.desc()).limit(1)
    row = await session.scalar(query)
    if row is None:
        raise UnknownName("dead letter", id_)
    return _dead_letter(row, None)


async def runs(
    session: AsyncSession, conditions: Conditions, limit: int, cursor: str | None, seen: Seen = ()
) -> tuple[list[JsonObject], str | None]:
    """Runs as JSON, the one that began last first."""
    rows, next_cursor = await _page(session, RunRow, conditions, limit, cursor, seen)
    return [RUN.answer(row) for row in rows], next_cursor


async def answers(
    session: AsyncSession, conditions: Conditions, limit: int, cursor: str | None, seen: Seen = ()
) -> tuple[list[JsonObject], str | None]:
    """Answers as JSON, the newest first."""
    rows, next_cursor = await _page(session, AnswerRow, conditions, limit, cursor, seen)
    return [ANSWER.answer(row) for row in rows], next_cursor


async def run(session: AsyncSession, configuration: str, scheduled_at: datetime, seen: Seen = ()) -> JsonObject:
    """One run. Raises UnknownName, also for a tick that no runner has taken up yet, and for a time that no tick can have."""
    if not in_range(scheduled_at):
        raise UnknownName("run", f"{configuration}/{scheduled_at.isoformat()}")
    query = select(RunRow).where(RunRow.configuration == configuration, RunRow.scheduled_at == scheduled_at, *seen)
    row = await session.scalar(query)
    if row is None:
        raise UnknownName("run", f"{configuration}/{rfc3339(scheduled_at)}")
    return RUN.answer(row)


async def _page(
    session: AsyncSession, table: Any, conditions: Conditions, limit: int, cursor: str | None, seen: Seen
) -> tuple[list[Any], str | None]:
    columns: Mapping[str, InstrumentedAttribute[Any]] = table.__mapper__.all_orm_descriptors
    equal = [columns[name] == value for name, value in conditions.items() if value is not None]
    query = select(table).where(*equal, *seen)
    before = position(cursor)
    if before is not None:
        query = query.where(table.id < before)
    rows = list(await session.scalars(query.order_by(table.id.desc()).limit(limit + 1)))
    return rows[:limit], str(rows[limit - 1].id) if len(rows) > limit else None


def _dead_letter(row: DeadLetterRow, limit: int | None) -> JsonObject:
    answer = DEAD_LETTER.answer(row)
    omitted = limit is not None and max(len(row.value or ""), len(row.value_base64 or "")) > limit
    if omitted:
        answer["value"] = answer["value_base64"] = None
    answer["value_omitted"] = omitted
    return answer
