"""Counters as the API answers them: how many attempts there were in each step of time, so that a page can draw them.

Attempts count one by one in the minute of their end; what filters dropped counts as the router counted it, `suppressed`. An
answer covers at most 10,000 steps, and is a page of points that says where the next begins.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Literal

import msgspec
from pydantic import Field
from sqlalchemy import ColumnElement, Text, func, literal_column, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from control_api.history.counting import minute_of
from control_api.models import CounterRow
from control_api.page_query import PageQuery, close_cursor, open_cursor
from notifier.bounds import BoundedTime, Count
from notifier.errors import FieldError, InputError
from notifier.outcome import Outcome, Reason
from notifier.record import JsonObject, now, rfc3339

Seen = Sequence[ColumnElement[bool]]  # what a row must fulfil to be shown; see `control_api.access.teams`

MAX_STEPS = 10_000  # of one answer's time range
_MINUTES = {"minute": 1, "hour": 60, "day": 1440}
_SERIES = ("configuration", "outcome", "reason")
_DAY = 1440  # minutes
_ALMOST = timedelta(minutes=1) - timedelta.resolution  # a minute that has begun before the end counts
_SUM = func.sum(CounterRow.count).label("count")
_position = msgspec.json.Decoder(tuple[Count, str, str, str]).decode


class CounterQuery(PageQuery):
    """Which counters; all conditions must hold."""

    limit: int = Field(500, ge=1, le=5_000, description="How many points at most.")
    configuration: str | None = None
    outcome: Outcome | None = None
    reason: Reason | None = None
    since: BoundedTime | None = Field(
        None, description="From the step of this moment on; absent: a day before `until`."
    )
    until: BoundedTime | None = Field(None, description="Before this moment, to the minute; absent: now.")
    step: Literal["minute", "hour", "day"] = Field("minute", description="What each point is the sum of, in UTC.")
    by: str = Field(
        "configuration,outcome,reason",
        max_length=100,
        description="What is counted apart, with commas between: some of configuration, outcome and reason; empty: nothing.",
    )


async def counters(session: AsyncSession, query: CounterQuery, seen: Seen = ()) -> JsonObject:
    """A page of points, the newest first, and the range and step that were asked for. Raises InputError."""
    step, apart = _MINUTES[query.step], _apart(query.by)
    first, end = _range(query, step)
    columns = CounterRow.__table__.c
    at = columns.minute - columns.minute % literal_column(str(step))
    series = [columns[name] if name in apart else literal_column("''", Text) for name in _SERIES]
    asked = [columns[name] == value for name in _SERIES if (value := getattr(query, name)) is not None]
    sums = (
        select(at.label("at"), *(one.label(name) for one, name in zip(series, _SERIES, strict=True)), _SUM)
        .where(columns.minute >= first, columns.minute < end, *asked, *seen)
        .group_by(at, *(columns[name] for name in apart))
        .subquery()
    )
    order = [sums.c.at, *(sums.c[name] for name in _SERIES)]
    points = select(sums)
    if query.cursor is not None:
        points = points.where(tuple_(*order) < tuple_(*_after(query.cursor)))
    points = points.order_by(*(one.desc() for one in order)).limit(query.limit + 1)
    found = (await session.execute(points)).all()
    shown = found[: query.limit]
    return {
        "step": query.step,
        "since": rfc3339(_time(first)),
        "until": rfc3339(_time(end)),
        "items": [
            {
                "at": rfc3339(_time(minute)),
                **{name: value or None for name, value in zip(_SERIES, of, strict=True)},
                "count": int(count),
            }
            for minute, *of, count in shown
        ],
        "next_cursor": close_cursor(msgspec.json.encode(tuple(shown[-1])[:4]).decode())
        if len(found) > len(shown)
        else None,
    }


def _apart(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    if set(names) - set(_SERIES):
        raise InputError(FieldError("/by", f"names some of {', '.join(_SERIES)}, with commas between"))
    return [name for name in _SERIES if name in names]


def _range(query: CounterQuery, step: int) -> tuple[int, int]:
    """The first minute, and the one behind the last."""
    until = query.until or now()
    end = minute_of(until + _ALMOST)
    first = minute_of(query.since) if query.since is not None else max(0, end - _DAY)
    first -= first % step
    if (end - first) // step > MAX_STEPS:
        fault = f"an answer covers at most {MAX_STEPS:,} steps; ask for a shorter time, or for a longer step"
        raise InputError(FieldError("/since", fault))
    return first, end


def _after(cursor: str) -> tuple[int, str, str, str]:
    try:
        return _position(open_cursor(cursor).encode())
    except (msgspec.DecodeError, UnicodeError):
        raise InputError(FieldError("/cursor", "is not one that a list answered; begin without a cursor")) from None


def _time(minute: int) -> datetime:
    return datetime.fromtimestamp(minute * 60, UTC)
