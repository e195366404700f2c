"""Listing: a page of a large table by several conditions, the newest rows first, in bounded time.

No index serves two conditions at once. So the rarest condition leads: its rows are gone through in windows that grow, and the
others are asked of each row. A page that is not full after the last window ends there, with a cursor: it may hold few items
or none, and the next page goes on.

A condition on what stands beside a row (attempts at messages with certain words, messages with an attempt that was refused) leads
where few rows there fulfil it, and is asked of each row elsewhere. The two tables find each other by `digest`.
"""

import re  # for our own constant pattern
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, FromClause, and_, exists, func, literal_column, select, true
from sqlalchemy.ext.asyncio import AsyncSession

from control_api.history.span import Span
from notifier.errors import FieldError, InputError

FEW = 2_000  # rows that are all looked up; counting ends there
WINDOWS = (1_000, 5_000, 20_000)  # rows that are gone through for one page

Conditions = Sequence[ColumnElement[bool]]


@dataclass(frozen=True, kw_only=True)
class Lead:
    """A condition that an index serves: the numbers of its rows, in their order; and the same as it is asked of a row."""

    source: FromClause
    number: Any
    conditions: Conditions
    each: ColumnElement[bool]


@dataclass(frozen=True, kw_only=True)
class Beside:
    """What there must be beside a row: a row of another table that the lead finds, and of which the others hold."""

    table: Any
    leads: Sequence[Lead]
    others: Conditions = ()


@dataclass(frozen=True, kw_only=True)
class Listing:
    """Which rows of a table. `leads` and `others` must hold all."""

    table: Any
    leads: Sequence[Lead]
    others: Conditions = ()
    span: Span = field(default_factory=Span)
    beside: Beside | None = None


def equal(table: Any, column: str, value: object) -> Lead:
    """The condition that a column has a value; the column has an index with the number behind it."""
    condition = table.__table__.c[column] == value
    return Lead(source=table.__table__, number=table.id, conditions=(condition,), each=condition)


def position(cursor: str | None) -> int | None:
    """The number that a cursor holds. Raises InputError for a cursor that no list answered."""
    if cursor is None:
        return None
    if not re.fullmatch(r"[1-9][0-9]{0,17}", cursor):
        raise InputError(FieldError("/cursor", "is none of ours: give back the `next_cursor` of a page as it was"))
    return int(cursor)


async def page_of(
    session: AsyncSession, listing: Listing, limit: int, cursor: str | None
) -> tuple[list[Any], str | None]:
    """Rows, and the cursor of the next page if there may be one. Raises InputError for a cursor that is none."""
    before, table, beside = position(cursor), listing.table, listing.beside
    if beside is not None:
        lead, _ = await _rarest(session, beside.table, beside.leads)
        if await _count(session, lead) < FEW:
            return await _led_by_beside(session, listing, lead, limit, before)
    lead, rest = await _rarest(session, table, listing.leads)
    rest += [*listing.others, *listing.span.times]
    if beside is not None:
        rest.append(_is_beside(listing.table, beside))
    rows: list[Any] = []
    for size in WINDOWS if rest else (limit + 1,):
        window = select(lead.number.label("number")).select_from(lead.source)
        window = window.where(*lead.conditions, *listing.span.numbers(lead.number), *_before(lead.number, before))
        numbers = window.order_by(lead.number.desc()).limit(size).subquery()
        query = select(table).where(table.id.in_(select(numbers.c.number)), *_asked(rest))
        rows += await session.scalars(query.order_by(table.id.desc()).limit(limit + 1 - len(rows)))
        if len(rows) > limit:
            return rows[:limit], str(rows[limit - 1].id)
        if not rest:
            return rows, None
        count, before = (await session.execute(select(func.count(), func.min(numbers.c.number)))).one()
        if count < size:
            return rows, None
    return rows, str(before)


async def _led_by_beside(
    session: AsyncSession, listing: Listing, lead: Lead, limit: int, before: int | None
) -> tuple[list[Any], str | None]:
    table, beside = listing.table, listing.beside
    assert beside is not None
    numbers = select(lead.number).select_from(lead.source).where(*lead.conditions)
    found: Any = select(beside.table.digest).where(beside.table.id.in_(numbers))
    rest = [one.each for one in listing.leads] + [*listing.others, *listing.span.times, _is_beside(table, beside)]
    query = select(table).where(table.digest.in_(found), *_asked([*rest, *_before(table.id, before)]))
    # `+ 0`: else SQLite goes along the numbers, through all rows.
    rows = list(await session.scalars(query.order_by((table.id + 0).desc()).limit(limit + 1)))
    return rows[:limit], str(rows[limit - 1].id) if len(rows) > limit else None


def _is_beside(table: Any, beside: Beside) -> ColumnElement[bool]:
    other = beside.table
    same = [other.producer == table.producer, other.message == table.message]  # two may share a digest
    rest = _asked([*same, *(lead.each for lead in beside.leads), *beside.others])
    found: Any = select(literal_column("1")).select_from(other).where(other.digest == table.digest, *rest)
    return exists(found.correlate(table))


async def _rarest(session: AsyncSession, table: Any, leads: Sequence[Lead]) -> tuple[Lead, list[ColumnElement[bool]]]:
    """The lead with the fewest rows, the whole table where there is none; and the others as they are asked of each row."""
    if len(leads) == 1:
        return leads[0], []
    if not leads:
        return Lead(source=table.__table__, number=table.id, conditions=(), each=true()), []
    counts = [await _count(session, lead) for lead in leads]
    first = counts.index(min(counts))
    return leads[first], [lead.each for number, lead in enumerate(leads) if number != first]


async def _count(session: AsyncSession, lead: Lead) -> int:
    """How many rows there are, up to `FEW`."""
    some = select(lead.number).select_from(lead.source).where(*lead.conditions).limit(FEW).subquery()
    return int(await session.scalar(select(func.count()).select_from(some)) or 0)


def _before(number: Any, before: int | None) -> list[ColumnElement[bool]]:
    return [] if before is None else [number < before]


def _asked(conditions: Conditions) -> list[ColumnElement[bool]]:
    """The conditions in a form that no index serves: they are asked of the rows that the lead finds."""
    return [and_(*conditions).is_(true())] if conditions else []
