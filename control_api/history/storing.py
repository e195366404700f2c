"""Storing: writes a batch of records, and how far it leads, in the caller's transaction.

A record that is read twice is stored once, since its place is unique; of a run the table holds the last state. What cannot
be read is logged and skipped. `control_api.history.rows` makes the rows, `control_api.history.follower` reads the topics.
"""

import logging
from collections.abc import Callable, Mapping, Sequence

from aiokafka import ConsumerRecord, TopicPartition
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession

from control_api.history.rows import Row, attempt_row, dead_letter_row, run_row
from control_api.models import AttemptRow, Base, DeadLetterRow, HistoryOffsetRow, RunRow
from notifier.errors import InvalidRecord
from notifier.topics import ATTEMPTS, DEAD_LETTERS, RUNS

logger = logging.getLogger(__name__)

# By topic: the table, and what makes a row of a record's value, or None where there is nothing to store.
_TABLES: dict[str, tuple[type[Base], Callable[[bytes | None], Row | None]]] = {
    ATTEMPTS.name: (AttemptRow, attempt_row),
    DEAD_LETTERS.name: (DeadLetterRow, dead_letter_row),
    RUNS.name: (RunRow, run_row),
}


async def store(
    session: AsyncSession,
    records: Sequence[ConsumerRecord],
    generations: Mapping[TopicPartition, int],
    topic_prefix: str,
) -> None:
    """Stores the records and the offsets behind them. Raises UnsupportedVersion for a record newer than this program."""
    rows: dict[type[Base], list[Row]] = {AttemptRow: [], DeadLetterRow: [], RunRow: []}
    for record in records:
        table, read = _TABLES[record.topic.removeprefix(topic_prefix)]
        try:
            row = read(record.value)
        except InvalidRecord as error:
            place = {"topic": record.topic, "partition": record.partition, "offset": record.offset}
            logger.error("A record is skipped: %s", error, extra={"action": "skip_record", **place})
            continue
        if row is not None:
            rows[table].append(row if table is RunRow else {**_place(record, generations), **row})
    await _add(session, AttemptRow, rows[AttemptRow])
    await _add(session, DeadLetterRow, rows[DeadLetterRow])
    # One statement may not change a row twice, so only the last state of each run is written.
    runs = {(row["configuration"], row["scheduled_at"]): row for row in rows[RunRow]}
    await _replace(session, RunRow, ("configuration", "scheduled_at"), list(runs.values()))
    offsets = {(record.topic, record.partition): record.offset + 1 for record in records}
    behind = [
        {"topic": topic, "partition": partition, "generation": generations[topic, partition], "offset": offset}
        for (topic, partition), offset in offsets.items()
    ]
    await _replace(session, HistoryOffsetRow, ("topic", "partition"), behind)


def _place(record: ConsumerRecord, generations: Mapping[TopicPartition, int]) -> Row:
    return {
        "generation": generations[record.topic, record.partition],
        "partition": record.partition,
        "offset": record.offset,
    }


async def _add(session: AsyncSession, table: type[Base], rows: list[Row]) -> None:
    """Inserts the rows that are not there yet."""
    if rows:
        await session.execute(_insert(session, table).on_conflict_do_nothing(), rows)


async def _replace(session: AsyncSession, table: type[Base], key: tuple[str, ...], rows: list[Row]) -> None:
    """Inserts the rows, or updates those with the same key."""
    if rows:
        statement = _insert(session, table)
        columns = {name: statement.excluded[name] for name in rows[0]}
        await session.execute(statement.on_conflict_do_update(index_elements=key, set_=columns), rows)


def _insert(session: AsyncSession, table: type[Base]) -> sqlite.Insert | postgresql.Insert:
    return sqlite.insert(table) if session.get_bind().dialect.name == "sqlite" else postgresql.insert(table)
