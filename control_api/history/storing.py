"""Storing: writes a batch of records, and how far it leads, in one transaction.

A record that is read twice is stored and counted once, since the offsets say what is stored; of a run the table holds the last
state. What cannot be read, or what the database refuses, costs itself and not its neighbours.

`control_api.history.rows` makes the rows, `control_api.history.follower` reads the topics.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from aiokafka import ConsumerRecord, TopicPartition
from sqlalchemy import select, tuple_
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, StatementError
from sqlalchemy.ext.asyncio import AsyncSession

from control_api.history.counting import Counts, attempt_counts, dropped_counts, summed
from control_api.history.rows import Row, attempt_or_counters, attempt_row, dead_letter_row, run_row
from control_api.models import AnswerRow, AttemptRow, Base, CounterRow, DeadLetterRow, HistoryOffsetRow, RunRow
from control_api.models.history import ANSWER
from notifier.answer import Answer
from notifier.attempt import Counters
from notifier.database import Database
from notifier.errors import InvalidRecord, UnsupportedVersion
from notifier.one_line import one_line
from notifier.record import now
from notifier.topics import ANSWERS, ATTEMPTS, DEAD_LETTERS, RUNS

Skipped = tuple[ConsumerRecord, str]  # and why, for people
Generations = Mapping[TopicPartition, int]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Read:
    """What is to be written of a record."""

    record: ConsumerRecord
    table: type[Base]
    row: Row | None = None
    counts: Counts = ()


# Of SQLSTATE: data exception, integrity constraint, and program limit (a text too long for an index).
_OF_VALUES = ("22", "23", "54")

_TABLES: dict[str, type[Base]] = {
    ATTEMPTS.name: AttemptRow,
    DEAD_LETTERS.name: DeadLetterRow,
    RUNS.name: RunRow,
    ANSWERS.name: AnswerRow,
}


async def store(
    database: Database, records: Sequence[ConsumerRecord], generations: Generations, topic_prefix: str
) -> list[Skipped]:
    """Stores the records and the offsets behind them. Answers those that cannot be stored; they are passed over.

    Raises UnsupportedVersion for a record newer than this program, and DatabaseError.
    """
    read: list[_Read] = []
    skipped: list[Skipped] = []
    latest = now()
    for record in records:
        table = _TABLES[record.topic.removeprefix(topic_prefix)]
        row: Row | None = None
        counts: Counts = ()
        try:
            row, counts = _content(table, record.value, latest)
        except InvalidRecord as error:
            skipped.append((record, str(error)))
        except UnsupportedVersion:
            raise
        except Exception as error:  # a fault of ours must cost this record, not all that come after it
            skipped.append((record, f"{type(error).__name__}: {error}"))
        read.append(_Read(record=record, table=table, row=row, counts=counts))
    return skipped + await _store(database, read, generations)


def _content(table: type[Base], value: bytes | None, latest: datetime) -> tuple[Row | None, Counts]:
    """The row of a record, where there is one to store, and what it counts. Raises InvalidRecord and UnsupportedVersion."""
    if table is DeadLetterRow:
        return dead_letter_row(value), ()
    if table is RunRow:
        return run_row(value), ()
    if table is AnswerRow:
        return ANSWER.row(Answer.decode(value or b"")), ()
    found = attempt_or_counters(value)
    if isinstance(found, Counters):
        return None, dropped_counts(found, latest)
    return attempt_row(found), attempt_counts(found, latest)


async def _store(database: Database, read: Sequence[_Read], generations: Generations) -> list[Skipped]:
    """Stores all in one transaction. Where the database refuses a value, halves are tried until the record stands alone."""
    try:
        async with database.write() as session:
            await _write(session, read, generations)
        return []
    except Exception as error:
        if not _is_of_a_value(error):
            raise
        why = one_line(getattr(error, "orig", None) or error)
    if len(read) > 1:
        half = len(read) // 2
        return [part for some in (read[:half], read[half:]) for part in await _store(database, some, generations)]
    (one,) = read
    await _store(database, [_Read(record=one.record, table=one.table)], generations)
    return [(one.record, f"the database refuses it: {why}")]


def _is_of_a_value(error: Exception) -> bool:
    """Whether a value cannot be stored, and not the database is away, full or another than this program's."""
    if not isinstance(error, DBAPIError):
        return isinstance(error, StatementError | ValueError | OverflowError)
    state = str(getattr(error.orig, "sqlstate", None))
    cause = getattr(error.orig, "__cause__", None)  # asyncpg's own check of values raises ValueError
    return isinstance(error, DataError | IntegrityError) or isinstance(cause, ValueError) or state[:2] in _OF_VALUES


async def _write(session: AsyncSession, read: Sequence[_Read], generations: Generations) -> None:
    known = await _known_offsets(session, {(one.record.topic, one.record.partition) for one in read})
    read = [one for one in read if not _is_stored(one.record, generations, known)]
    rows: dict[type[Base], list[Row]] = {AttemptRow: [], DeadLetterRow: [], RunRow: [], AnswerRow: []}
    for one in read:
        if one.row is not None:
            rows[one.table].append(one.row if one.table is RunRow else {**_place(one.record, generations), **one.row})
    await add(session, AttemptRow, rows[AttemptRow])
    await add(session, DeadLetterRow, rows[DeadLetterRow])
    await add(session, AnswerRow, rows[AnswerRow])
    # One statement may not change a row twice, so only the last state of each run is written.
    runs = {(row["configuration"], row["scheduled_at"]): row for row in rows[RunRow]}
    await _replace(session, RunRow, ("configuration", "scheduled_at"), list(runs.values()))
    await _add_counts(session, summed(one.counts for one in read))
    await write_offsets(session, [one.record for one in read], generations)


async def _known_offsets(
    session: AsyncSession, partitions: set[tuple[str, int]]
) -> dict[tuple[str, int], tuple[int, int]]:
    """Generation and offset of each of the partitions, locked until the end of the transaction.

    So a process that does not know yet that it lost a partition counts nothing twice, and leads no offset back.
    """
    columns = HistoryOffsetRow.topic, HistoryOffsetRow.partition
    query = select(*columns, HistoryOffsetRow.generation, HistoryOffsetRow.offset).where(
        tuple_(*columns).in_(partitions)
    )
    while True:
        rows = (await session.execute(query.order_by(*columns).with_for_update())).all()
        known = {(topic, partition): (generation, offset) for topic, partition, generation, offset in rows}
        if len(known) == len(partitions):
            return known
        missing = sorted(partitions - known.keys())
        names = [{"topic": topic, "partition": partition, "generation": 0, "offset": 0} for topic, partition in missing]
        await add(session, HistoryOffsetRow, names)


def _is_stored(
    record: ConsumerRecord, generations: Generations, known: Mapping[tuple[str, int], tuple[int, int]]
) -> bool:
    return (generations[record.topic, record.partition], record.offset) < known[record.topic, record.partition]


async def _add_counts(session: AsyncSession, rows: list[Row]) -> None:
    if rows:
        statement = _insert(session, CounterRow)
        count = {"count": CounterRow.count + statement.excluded["count"]}
        key = ("minute", "configuration", "outcome", "reason")
        await session.execute(statement.on_conflict_do_update(index_elements=key, set_=count), rows)


async def write_offsets(session: AsyncSession, records: Sequence[ConsumerRecord], generations: Generations) -> None:
    """Writes how far these records lead."""
    offsets = {(record.topic, record.partition): record.offset + 1 for record in records}
    behind = [
        {"topic": topic, "partition": partition, "generation": generations[topic, partition], "offset": offset}
        for (topic, partition), offset in offsets.items()
    ]
    await _replace(session, HistoryOffsetRow, ("topic", "partition"), behind)


def _place(record: ConsumerRecord, generations: Generations) -> Row:
    return {
        "generation": generations[record.topic, record.partition],
        "partition": record.partition,
        "offset": record.offset,
    }


async def add(session: AsyncSession, table: type[Base], rows: list[Row]) -> None:
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
