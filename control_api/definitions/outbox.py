"""Outbox: the revisions in the database that are not on the topic `definitions` yet, and what the topic should hold.

`control_api.definitions.changes` writes the outbox, `control_api.definitions.relay` publishes it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, Select, delete, func, select, update

from control_api.definitions.changes import as_kind, lock
from control_api.models import ChangeRow, DefinitionRow, OutboxRow
from notifier.database import Database
from notifier.definition import Definition, definition_key
from notifier.record import now
from notifier.topics import deliveries


@dataclass(frozen=True, kw_only=True)
class OutboxRecord:
    """A record to be published. `topic` is the topic of deliveries (with `partitions`) that must exist before it is."""

    key: str
    value: bytes | None  # none: a tombstone
    topic: str | None = None
    partitions: int = 1


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """The definitions as they are stored, and the outbox at the same moment."""

    records: Mapping[str, OutboxRecord]  # by key, the oldest revision first
    newest: int  # revision among the records; 0: there are none
    waiting: Sequence[tuple[str, int]]  # (key, revision) in the outbox


class Outbox:
    """The outbox of one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def pending(self) -> int:
        """How many revisions wait to be published."""
        async with self._database.read() as session:
            return int(await session.scalar(select(func.count(func.distinct(OutboxRow.revision)))) or 0)

    async def holds(self, revision: int) -> bool:
        """Whether the revision still waits."""
        async with self._database.read() as session:
            return bool(await session.scalar(select(func.count()).where(OutboxRow.revision == revision)))

    async def oldest(self) -> tuple[int, list[OutboxRecord]] | None:
        """The oldest revision that waits, with its records in order."""
        revision = select(func.min(OutboxRow.revision)).scalar_subquery()
        statement = select(OutboxRow).where(OutboxRow.revision == revision).order_by(OutboxRow.position)
        async with self._database.read() as session:
            rows = (await session.scalars(statement)).all()
        if not rows:
            return None
        return rows[0].revision, [
            OutboxRecord(
                key=row.key,
                value=None if row.value is None else row.value.encode(),
                topic=row.topic,
                partitions=row.partitions or 1,
            )
            for row in rows
        ]

    async def mark(self, first: int, last: int) -> None:
        """Notes that Kafka has these revisions, and takes them out."""
        async with self._database.write() as session:
            await session.execute(delete(OutboxRow).where(OutboxRow.revision.between(first, last)))
            await session.execute(
                update(ChangeRow)
                .where(ChangeRow.revision.between(first, last), ChangeRow.published_at.is_(None))
                .values(published_at=now())
            )

    async def snapshot(self) -> Snapshot:
        """What the topic should hold."""
        async with self._database.write() as session:
            await lock(session)  # a change between the two statements would look like something lost
            waiting = (await session.execute(select(OutboxRow.key, OutboxRow.revision))).all()
            rows = (await session.execute(_definitions())).all()
        return Snapshot(
            records={definition_key(as_kind(row.kind), row.name): _record(row) for row in rows},
            newest=max((row.revision for row in rows), default=0),
            waiting=[(row.key, row.revision) for row in waiting],
        )


def _definitions() -> Select[Any]:
    return select(
        DefinitionRow.kind, DefinitionRow.name, DefinitionRow.revision, DefinitionRow.spec, DefinitionRow.partitions
    ).order_by(DefinitionRow.revision, DefinitionRow.kind, DefinitionRow.name)


def _record(row: Row[Any]) -> OutboxRecord:
    definition = Definition(kind=as_kind(row.kind), name=row.name, revision=row.revision, spec=row.spec)
    return OutboxRecord(
        key=definition_key(definition.kind, definition.name),
        value=definition.encode(),
        topic=deliveries(row.name).name if row.partitions is not None else None,
        partitions=row.partitions or 1,
    )
