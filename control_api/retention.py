"""Retention: how long the database keeps rows of tables that grow by themselves, and the loop that deletes older ones."""

import asyncio
import logging
from datetime import timedelta
from typing import Any

from sqlalchemy import delete, select, tuple_
from sqlalchemy.orm import InstrumentedAttribute

from control_api.models import (
    AttemptRow,
    Base,
    DeadLetterRow,
    DryRunRow,
    IdempotencyRow,
    MessageRow,
    RedriveRow,
    RunRow,
    SessionRow,
)
from notifier.database import Database
from notifier.errors import DatabaseError
from notifier.record import now
from notifier.topics import ATTEMPTS, DEAD_LETTERS, MESSAGES, RUNS, Topic

logger = logging.getLogger(__name__)

EVERY_S = 3600.0
IDEMPOTENCY_KEPT = timedelta(days=1)
SESSIONS_KEPT = timedelta(days=7)
DRY_RUNS_KEPT = timedelta(days=7)
REDRIVES_KEPT = timedelta(days=7)
_ROWS = 5000  # in one transaction, so that other writers wait briefly


def _as_long_as(topic: Topic) -> timedelta:
    assert topic.retention_ms is not None
    return timedelta(milliseconds=topic.retention_ms)


# Table, the columns of its key, the column of its age, how long it is kept.
RULES: tuple[tuple[type[Base], tuple[InstrumentedAttribute[Any], ...], InstrumentedAttribute[Any], timedelta], ...] = (
    (AttemptRow, (AttemptRow.id,), AttemptRow.ended_at, _as_long_as(ATTEMPTS)),
    (
        MessageRow,
        (MessageRow.generation, MessageRow.partition, MessageRow.offset),
        MessageRow.at,
        _as_long_as(MESSAGES),
    ),
    (DeadLetterRow, (DeadLetterRow.id,), DeadLetterRow.at, _as_long_as(DEAD_LETTERS)),
    (RunRow, (RunRow.id,), RunRow.scheduled_at, _as_long_as(RUNS)),
    (IdempotencyRow, (IdempotencyRow.actor, IdempotencyRow.key), IdempotencyRow.at, IDEMPOTENCY_KEPT),
    (SessionRow, (SessionRow.hash,), SessionRow.created_at, SESSIONS_KEPT),
    (DryRunRow, (DryRunRow.id,), DryRunRow.created_at, DRY_RUNS_KEPT),
    (RedriveRow, (RedriveRow.id,), RedriveRow.ended_at, REDRIVES_KEPT),
)


async def prune(database: Database) -> int:
    """Deletes rows beyond their retention; answers how many. Several processes may do so at once."""
    count = 0
    for table, key, age, kept in RULES:
        before = now() - kept
        while True:
            async with database.write() as session:
                old = select(*key).where(age < before).limit(_ROWS)
                gone = (await session.execute(delete(table).where(tuple_(*key).in_(old)).returning(*key))).all()
            count += len(gone)
            if len(gone) < _ROWS:
                break
    return count


async def keep_pruning(database: Database, every_s: float = EVERY_S) -> None:
    """Prunes every `every_s` seconds until cancelled. A database that is away is tried again at the next turn."""
    while True:
        try:
            count = await prune(database)
            if count:
                logger.info("Deleted %d old rows.", count, extra={"action": "prune"})
        except DatabaseError as error:
            logger.warning("Old rows are not deleted now: %s", error, extra={"action": "prune"})
        await asyncio.sleep(every_s)
