"""MessageIndex: follows `messages` into the database, with their texts and where on the topic each of them lies.

A follower of its own, in a group of its own: however many messages come, the history goes on beside it. A message is found
about a second after it was written. One without an id is found by the one that its place gives it
(`notifier.message.topic_id`), also before it is read. `control_api.history.messages` answers.
"""

import asyncio
import re  # for our own constant pattern
from collections.abc import Sequence
from dataclasses import dataclass

from aiokafka import ConsumerRecord, TopicPartition
from sqlalchemy import and_, select
from sqlalchemy.ext.asyncio import AsyncSession

from control_api.history.digest import digest
from control_api.history.follower import Follower
from control_api.history.message_rows import message_row
from control_api.history.storing import Generations, Skipped, add, write_offsets
from control_api.models import HistoryOffsetRow, MessageRow
from notifier.database import Database
from notifier.record import now
from notifier.settings import Settings
from notifier.topics import MESSAGES

_AT_ONCE = 100  # messages that are read before others have a turn: long texts take their time
_MAX_FOUND = 20  # places of one producer and id: a message may be written again
_TOPIC_ID = re.compile(r"([0-9]{1,9})-([0-9]{1,18})-([0-9]{1,18})")


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where a record lies on `messages`."""

    partition: int
    offset: int


class MessageIndex(Follower):
    """The follower of messages."""

    topics = (MESSAGES,)
    title = "index of messages"
    group = "message_index"
    batch = 1000

    async def store(self, records: Sequence[ConsumerRecord], generations: Generations) -> list[Skipped]:
        """Stores messages, and the places of what has a producer and an id alone. What is no message is no fault here."""
        await store(self._database, records, generations)
        return []


async def store(database: Database, records: Sequence[ConsumerRecord], generations: Generations) -> None:
    """Writes the rows of messages, and how far these records lead, in one transaction."""
    latest = now()
    rows = []
    for number, record in enumerate(records):
        row = message_row(record, latest)
        if row is not None:
            rows.append({"generation": generations[TopicPartition(record.topic, record.partition)], **row})
        if number % _AT_ONCE == _AT_ONCE - 1:
            await asyncio.sleep(0)
    async with database.write() as session:
        await add(session, MessageRow, rows)
        await write_offsets(session, records, generations)


async def places(session: AsyncSession, settings: Settings, producer: str, id_: str) -> list[Place]:
    """Where a message of that producer and id may lie, the newest first. Who reads the record sees whether it is the one."""
    at_topic = and_(
        HistoryOffsetRow.topic == settings.topic_prefix + MESSAGES.name,
        HistoryOffsetRow.partition == MessageRow.partition,
        HistoryOffsetRow.generation == MessageRow.generation,
    )
    query = select(MessageRow.partition, MessageRow.offset).join(HistoryOffsetRow, at_topic)
    query = query.where(MessageRow.digest == digest(producer, id_))
    query = query.order_by(MessageRow.at.desc(), MessageRow.offset.desc()).limit(_MAX_FOUND)
    found = [Place(partition=partition, offset=offset) for partition, offset in await session.execute(query)]
    given = _TOPIC_ID.fullmatch(id_)
    if given is not None:
        found.append(Place(partition=int(given[1]), offset=int(given[2])))
    return found
