"""Retention: how long, and how many, rows of tables that grow by themselves the database keeps; and the loop that deletes others.

Rows go in small batches, each in a transaction of its own with a pause behind it, so that other writers wait briefly.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from time import monotonic
from typing import Any

from sqlalchemy import ColumnElement, CursorResult, delete, func, select, tuple_
from sqlalchemy.orm import InstrumentedAttribute

from control_api.models import (
    AnswerRow,
    AttemptRow,
    Base,
    CounterRow,
    DeadLetterRow,
    DryRunRow,
    IdempotencyRow,
    LinkCodeRow,
    MessageRow,
    RedriveRow,
    RunRow,
    SessionRow,
)
from notifier.database import Database
from notifier.errors import DatabaseError
from notifier.record import now
from notifier.settings import Settings

logger = logging.getLogger(__name__)

EVERY_S = 300.0
IDEMPOTENCY_KEPT = timedelta(days=1)
SESSIONS_KEPT = timedelta(days=7)
DRY_RUNS_KEPT = timedelta(days=7)
REDRIVES_KEPT = timedelta(days=7)
_ROWS = 500  # in one transaction

_Column = InstrumentedAttribute[Any]


@dataclass(frozen=True, kw_only=True)
class Rule:
    """What is kept of one table."""

    table: type[Base]
    key: tuple[_Column, ...]
    age: _Column
    kept: timedelta
    rows: int | None = None  # how many at most, the newest by `key`; None: any number
    in_age: Callable[[datetime], Any] = lambda time: time  # how the column holds a time


def rules(settings: Settings) -> Sequence[Rule]:
    """What is kept of each table, by the settings."""
    tables: dict[str, tuple[Any, _Column]] = {
        "messages": (MessageRow, MessageRow.at),
        "attempts": (AttemptRow, AttemptRow.ended_at),
        "dead_letters": (DeadLetterRow, DeadLetterRow.at),
        "runs": (RunRow, RunRow.scheduled_at),
        "answers": (AnswerRow, AnswerRow.at),
        "counters": (CounterRow, CounterRow.minute),
    }
    of_history = [
        Rule(
            table=table,
            key=(table.id,),
            age=age,
            kept=timedelta(days=settings.history_days[name]),
            rows=settings.history_rows[name],
            in_age=_minute if table is CounterRow else Rule.in_age,
        )
        for name, (table, age) in tables.items()
    ]
    return (
        *of_history,
        Rule(
            table=IdempotencyRow,
            key=(IdempotencyRow.actor, IdempotencyRow.key),
            age=IdempotencyRow.at,
            kept=IDEMPOTENCY_KEPT,
        ),
        Rule(table=SessionRow, key=(SessionRow.hash,), age=SessionRow.created_at, kept=SESSIONS_KEPT),
        Rule(table=DryRunRow, key=(DryRunRow.id,), age=DryRunRow.created_at, kept=DRY_RUNS_KEPT),
        Rule(table=LinkCodeRow, key=(LinkCodeRow.digest,), age=LinkCodeRow.expires_at, kept=timedelta()),
        Rule(table=RedriveRow, key=(RedriveRow.id,), age=RedriveRow.ended_at, kept=REDRIVES_KEPT),
    )


def _minute(time: datetime) -> int:
    return int(time.timestamp()) // 60


async def prune(database: Database, settings: Settings) -> int:
    """Deletes rows beyond their retention; answers how many. Several processes may do so at once."""
    count = 0
    for rule in rules(settings):
        count += await _delete(database, rule, rule.age < rule.in_age(now() - rule.kept))
        last = None if rule.rows is None else await _last_beyond(database, rule)
        if last is not None:
            count += await _delete(database, rule, rule.key[0] <= last)
    return count


async def _delete(database: Database, rule: Rule, condition: ColumnElement[bool]) -> int:
    count = 0
    while True:
        begun = monotonic()
        async with database.write() as session:
            old = select(*rule.key).where(condition).limit(_ROWS)
            statement = (
                delete(rule.table).where(tuple_(*rule.key).in_(old)).execution_options(synchronize_session=False)
            )
            result = await session.execute(statement)
            assert isinstance(result, CursorResult)
            gone = result.rowcount
        count += gone
        if gone < _ROWS:
            return count
        await asyncio.sleep(monotonic() - begun)  # half of the time is others'


async def _last_beyond(database: Database, rule: Rule) -> int | None:
    """The number of the newest row that is one too many; None: there are not too many."""
    number = rule.key[0]
    async with database.read() as session:
        least, greatest = (await session.execute(select(func.min(number), func.max(number)))).one()
        if least is None or rule.rows is None or greatest - least < rule.rows:
            return None
        last: int | None = await session.scalar(select(number).order_by(number.desc()).offset(rule.rows).limit(1))
        return last


async def keep_pruning(database: Database, settings: Settings, every_s: float = EVERY_S) -> None:
    """Prunes every `every_s` seconds until cancelled. Where that fails it is tried again at the next turn."""
    while True:
        try:
            count = await prune(database, settings)
            if count:
                logger.info("Deleted %d old rows.", count, extra={"action": "prune"})
        except DatabaseError as error:
            logger.warning("Old rows are not deleted now: %s", error, extra={"action": "prune"})
        except Exception:  # the supervisor of this loop: a deadlock or a full disk of PostgreSQL, say, must not end it
            logger.exception("Deleting old rows failed and is tried again.", extra={"action": "prune"})
        await asyncio.sleep(every_s)
