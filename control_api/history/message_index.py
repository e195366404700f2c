"""MessageIndex: where on `messages` each message lies, by its producer and id, so that one can be found without reading them all.

A follower of its own, in a group of its own: however many messages come, the history goes on beside it. A message is found
about a second after it was written. One without an id is not in it: the id that it is given says where it lies
(`notifier.message.topic_id`). Attempts are not needed beside it: what they know of a message's place, this knows earlier.
"""

import re  # for our own constant pattern
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

import msgspec
from aiokafka import ConsumerRecord, TopicPartition
from sqlalchemy import and_, select
from sqlalchemy.ext.asyncio import AsyncSession

from control_api.history.follower import Follower
from control_api.history.storing import Generations, Skipped, add, write_offsets
from control_api.models import HistoryOffsetRow, MessageRow
from notifier.database import Database
from notifier.record import kafka_time, now
from notifier.settings import Settings
from notifier.topics import MESSAGES

_MAX_FOUND = 20  # places of one producer and id: a message may be written again
_TOPIC_ID = re.compile(r"([0-9]{1,9})-([0-9]{1,18})-([0-9]{1,18})")


class _Identity(msgspec.Struct, gc=False):
    producer: str
    id: str | None = None


_identity = msgspec.json.Decoder(_Identity).decode


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
    batch = 5000

    async def store(self, records: Sequence[ConsumerRecord], generations: Generations) -> list[Skipped]:
        """Stores where those lie that have a producer and an id. What is no message is a dead letter, and no fault here."""
        await store(self._database, records, generations)
        return []


async def store(database: Database, records: Sequence[ConsumerRecord], generations: Generations) -> None:
    """Writes the places of messages, and how far these records lead, in one transaction."""
    latest = now()
    rows = []
    for record in records:
        try:
            identity = _identity(record.value or b"")
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            continue
        if identity.id:
            rows.append(
                {
                    "generation": generations[TopicPartition(record.topic, record.partition)],
                    "partition": record.partition,
                    "offset": record.offset,
                    "digest": digest(identity.producer, identity.id),
                    # A client may write any time; one in the future would never be pruned.
                    "at": min(latest, kafka_time(record.timestamp) or latest),
                }
            )
    async with database.write() as session:
        await add(session, MessageRow, rows)
        await write_offsets(session, records, generations)


def digest(producer: str, id_: str) -> int:
    """Producer and id as a number of 64 bits with a sign."""
    raw = f"{producer}\0{id_}".encode(errors="surrogatepass")
    return int.from_bytes(blake2b(raw, digest_size=8).digest(), signed=True)


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
