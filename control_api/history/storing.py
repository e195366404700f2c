"""Storing: writes a batch of records, and how far it leads, in one transaction.

A record that is read twice is stored once, since its place is unique; of a run the table holds the last state. What cannot
be read, or what the database refuses, costs itself and not its neighbours.

`control_api.history.rows` makes the rows, `control_api.history.follower` reads the topics.
"""

from collections.abc import Callable, Mapping, Sequence

from aiokafka import ConsumerRecord, TopicPartition
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, StatementError
from sqlalchemy.ext.asyncio import AsyncSession

from control_api.history.rows import Row, attempt_row, dead_letter_row, run_row
from control_api.models import AttemptRow, Base, DeadLetterRow, HistoryOffsetRow, RunRow
from notifier.database import Database
from notifier.errors import InvalidRecord, UnsupportedVersion
from notifier.one_line import one_line
from notifier.topics import ATTEMPTS, DEAD_LETTERS, RUNS

Skipped = tuple[ConsumerRecord, str]  # and why, for people
Generations = Mapping[TopicPartition, int]
_Read = tuple[ConsumerRecord, type[Base], Row | None]  # its table, and its row where there is one to store

# Of SQLSTATE: data exception, integrity constraint, and program limit (a text too long for an index).
_OF_VALUES = ("22", "23", "54")

# By topic: the table, and what makes a row of a record's value, or None where there is nothing to store.
_TABLES: dict[str, tuple[type[Base], Callable[[bytes | None], Row | None]]] = {
    ATTEMPTS.name: (AttemptRow, attempt_row),
    DEAD_LETTERS.name: (DeadLetterRow, dead_letter_row),
    RUNS.name: (RunRow, run_row),
}


async def store(
    database: Database, records: Sequence[ConsumerRecord], generations: Generations, topic_prefix: str
) -> list[Skipped]:
    """Stores the records and the offsets behind them. Answers those that cannot be stored; they are passed over.

    Raises UnsupportedVersion for a record newer than this program, and DatabaseError.
    """
    read: list[_Read] = []
    skipped: list[Skipped] = []
    for record in records:
        table, row_of = _TABLES[record.topic.removeprefix(topic_prefix)]
        row: Row | None = None
        try:
            row = row_of(record.value)
        except InvalidRecord as error:
            skipped.append((record, str(error)))
        except UnsupportedVersion:
            raise
        except Exception as error:  # a fault of ours must cost this record, not all that come after it
            skipped.append((record, f"{type(error).__name__}: {error}"))
        read.append((record, table, row))
    return skipped + await _store(database, read, generations)


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
    record, table, _ = read[0]
    await _store(database, [(record, table, None)], generations)
    return [(record, f"the database refuses it: {why}")]


def _is_of_a_value(error: Exception) -> bool:
    """Whether a value cannot be stored, and not the database is away, full or another than this program's."""
    if not isinstance(error, DBAPIError):
        return isinstance(error, StatementError | ValueError | OverflowError)
    state = str(getattr(error.orig, "sqlstate", None))
    cause = getattr(error.orig, "__cause__", None)  # asyncpg's own check of values raises ValueError
    return isinstance(error, DataError | IntegrityError) or isinstance(cause, ValueError) or state[:2] in _OF_VALUES


async def _write(session: AsyncSession, read: Sequence[_Read], generations: Generations) -> None:
    rows: dict[type[Base], list[Row]] = {AttemptRow: [], DeadLetterRow: [], RunRow: []}
    for record, table, row in read:
        if row is not None:
            rows[table].append(row if table is RunRow else {**_place(record, generations), **row})
    await add(session, AttemptRow, rows[AttemptRow])
    await add(session, DeadLetterRow, rows[DeadLetterRow])
    # One statement may not change a row twice, so only the last state of each run is written.
    runs = {(row["configuration"], row["scheduled_at"]): row for row in rows[RunRow]}
    await _replace(session, RunRow, ("configuration", "scheduled_at"), list(runs.values()))
    await write_offsets(session, [record for record, _, _ in read], generations)


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
