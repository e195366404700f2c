"""Span: the rows of a time range, in a table whose rows are numbered in about the order of their times.

Lists are in the order of numbers. Beside the times themselves a span has the least and the greatest number that rows of the range
have, read from the index of times alone; so a list begins where the range ends, however far back that is.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.ext.asyncio import AsyncSession

Conditions = list[ColumnElement[bool]]


class Span:
    """What rows of a time range fulfil; without times, nothing."""

    def __init__(self, times: Conditions | None = None, least: int | None = None, greatest: int | None = None) -> None:
        self.times = times or []
        self._least = least
        self._greatest = greatest

    def numbers(self, number: Any) -> Conditions:
        """What the numbers fulfil; where the range is empty, no number does."""
        if not self.times:
            return []
        return [number >= (self._least or 0), number <= (self._greatest or -1)]


async def span_of(session: AsyncSession, number: Any, at: Any, since: datetime | None, until: datetime | None) -> Span:
    """The span from `since` on and before `until`, by the column `at`."""
    times = [] if since is None else [at >= since]
    times += [] if until is None else [at < until]
    if not times:
        return Span()
    # `+ 0`: PostgreSQL would look for the least number along the numbers.
    query = select(func.min(number + 0), func.max(number + 0)).where(*times)
    least, greatest = (await session.execute(query)).one()
    return Span(times, least, greatest)
