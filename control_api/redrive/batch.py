"""Batch: the letters that a redrive sends in one transaction, chosen and made into records within a database transaction."""

import secrets
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from control_api.models import DeadLetterRow, DefinitionRow, RedriveRow
from control_api.redrive.criteria import conditions
from control_api.redrive.report import Report
from control_api.redrive.sending_back import Back, NotSent, redriven_before, send_back
from notifier.record import JsonObject, now, rfc3339
from notifier.topics import Topic, deliveries

MOST_BYTES = 8 * 1024 * 1024  # of the letters of one batch, which are in memory together
GONE = "another redrive was faster, or their age had them deleted"
REPEATED = "its delivery was sent again since, by another dead letter"


@dataclass(kw_only=True)
class Batch:
    """Letters that were looked at. `is_last`: no more are left."""

    id: str
    at: datetime
    reached: int  # id of the last letter
    report: Report  # of the redrive, once this batch is committed
    looked_at: int = 0  # letters
    letters: list[int] = field(default_factory=list)  # ids of the rows that are done with once it is committed
    records: list[Back] = field(default_factory=list)
    topics: list[Topic] = field(default_factory=list)  # of the consumers among them
    is_last: bool = False

    def noted(self) -> JsonObject:
        """What is noted of it in the database before it is sent."""
        return {
            "id": self.id,
            "at": rfc3339(self.at),
            "reached": self.reached,
            "letters": self.letters,
            "report": msgspec.to_builtins(self.report),
        }


async def next_batch(session: AsyncSession, row: RedriveRow, size: int, topic_prefix: str) -> Batch:
    """The next letters of a redrive, `size` at most."""
    batch = Batch(id=secrets.token_hex(16), at=now(), reached=row.reached, report=report_of(row))
    letters, batch.is_last = await _letters(session, row, size)
    if not letters:
        return batch
    batch.reached, batch.looked_at = letters[-1].id, len(letters)
    partitions = await _consumers(session)
    repeated = await _repeated(session, letters)
    taken: set[str] = set()  # deliveries of this batch
    for letter in letters:
        delivery = letter.delivery if letter.stage == "deliver" else None
        try:
            if letter.id in repeated or (delivery is not None and delivery in taken):
                batch.letters.append(letter.id)  # it is done with, too
                raise NotSent(REPEATED)
            record = send_back(letter, batch.at, topic_prefix, partitions)
        except NotSent as why:
            batch.report.skip(letter.letter, str(why))
            continue
        except Exception as error:  # a letter costs itself, never its neighbours
            batch.report.skip(letter.letter, f"it cannot be sent again: {type(error).__name__}: {error}", failed=True)
            continue
        if delivery is not None:
            taken.add(delivery)
        batch.letters.append(letter.id)
        batch.records.append(record)
        batch.report.redriven += 1
    named = {record.topic.name for record in batch.records}
    consumers = [deliveries(name, number) for name, number in partitions.items()]
    batch.topics = [topic for topic in consumers if topic.name in named]
    return batch


def report_of(row: RedriveRow) -> Report:
    """The report of a redrive."""
    return msgspec.convert(row.report, Report)


async def _letters(session: AsyncSession, row: RedriveRow, size: int) -> tuple[list[Any], bool]:
    """The next letters, at most `size` and `MOST_BYTES`, and whether these are the last."""
    left: list[ColumnElement[bool]] = conditions(row.criteria, row.team)
    left += [DeadLetterRow.id > row.reached, DeadLetterRow.id <= row.last]
    columns = DeadLetterRow.__table__.c
    length = func.coalesce(func.length(columns.value), 0) + func.coalesce(func.length(columns.value_base64), 0)
    query = select(columns.id, length).where(*left).order_by(columns.id).limit(size + 1)
    found = (await session.execute(query)).all()
    ids: list[int] = []
    size_ = 0
    for id_, characters in found[:size]:
        size_ += characters
        if ids and size_ > MOST_BYTES:
            break
        ids.append(id_)
    letters = list(await session.scalars(select(DeadLetterRow).where(columns.id.in_(ids)).order_by(columns.id)))
    return letters, len(found) == len(ids)


async def _consumers(session: AsyncSession) -> dict[str, int]:
    """The partitions of the topic of each consumer that is defined."""
    query = select(DefinitionRow.name, DefinitionRow.partitions).where(DefinitionRow.kind == "consumer")
    return {name: partitions or 1 for name, partitions in await session.execute(query)}


async def _repeated(session: AsyncSession, letters: list[Any]) -> set[int]:
    """The ids of letters whose delivery was sent again after they were written: after a crash one may be buried twice.

    Whoever buries one has another clock, so a letter of what was sent last, as its record says, is no such letter.
    """
    columns = DeadLetterRow.__table__.c
    names = {letter.delivery for letter in letters if letter.stage == "deliver" and letter.delivery is not None}
    query = select(columns.delivery, func.max(columns.redriven_at)).group_by(columns.delivery)
    query = query.where(columns.delivery.in_(names), columns.stage == "deliver", columns.redriven_at.is_not(None))
    sent = dict((await session.execute(query)).all())
    return {
        letter.id
        for letter in letters
        if letter.delivery in sent
        and letter.at < sent[letter.delivery]
        and redriven_before(letter) != sent[letter.delivery]
    }
