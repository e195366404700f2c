"""Arrivals: which messages came of producers, by the index of messages and, where it is behind, by the topic itself."""

import asyncio
from collections.abc import Collection, Sequence

import msgspec
from aiokafka import TopicPartition
from sqlalchemy import func, literal, select, union_all
from sqlalchemy.ext.asyncio import AsyncSession

from control_api.models import ChangeRow, HistoryOffsetRow, MessageRow
from control_api.silence.notice import PREFIX
from notifier.database import Database
from notifier.kafka import kafka_consumer
from notifier.settings import Settings
from notifier.topics import MESSAGES

_AT_ONCE = 100  # producers in one query
_MOST_UNREAD = 20_000  # records behind which the index is too far to say anything
_READ_S = 20.0
_POLL_MS = 500


class _Identity(msgspec.Struct, gc=False):
    producer: str
    id: str | None = None


_identity = msgspec.json.Decoder(_Identity).decode


async def newest(session: AsyncSession, producers: Sequence[str]) -> dict[str, int]:
    """`message.id` of the newest message of each producer that has one, our own notices left out."""
    found: dict[str, int] = {}
    for start in range(0, len(producers), _AT_ONCE):
        parts = [
            select(
                literal(name).label("producer"),
                select(MessageRow.id)
                .where(MessageRow.producer == name, MessageRow.message.not_like(f"{PREFIX}%"))
                .order_by(MessageRow.id.desc())
                .limit(1)
                .scalar_subquery()
                .label("newest"),
            )
            for name in producers[start : start + _AT_ONCE]
        ]
        found |= {name: id_ for name, id_ in await session.execute(union_all(*parts)) if id_ is not None}
    return found


async def unread(settings: Settings, database: Database, producers: Collection[str]) -> set[str] | None:
    """Those of the producers of which a message lies on the topic that the index has not read yet.

    None: it is too far behind to say. Raises KafkaError, DatabaseError and TimeoutError.
    """
    topic = settings.topic_prefix + MESSAGES.name
    found: set[str] = set()
    async with asyncio.timeout(_READ_S), kafka_consumer(settings) as consumer:
        numbers = consumer.partitions_for_topic(topic) or range(MESSAGES.partitions)
        partitions = [TopicPartition(topic, number) for number in numbers]
        ends = await consumer.end_offsets(partitions)
        async with database.read() as session:
            rows = await session.scalars(select(HistoryOffsetRow).where(HistoryOffsetRow.topic == topic))
            read = {TopicPartition(row.topic, row.partition): row.offset for row in rows}
        behind = {one: read.get(one, 0) for one in partitions if read.get(one, 0) < ends[one]}
        if sum(ends[one] - start for one, start in behind.items()) > _MOST_UNREAD:
            return None
        if not behind:
            return found
        consumer.assign(list(behind))
        for one, start in behind.items():
            consumer.seek(one, start)
        while any([await consumer.position(one) < ends[one] for one in behind]):
            for records in (await consumer.getmany(*behind, timeout_ms=_POLL_MS)).values():
                for record in records:
                    found |= _of(record.value, producers)
    return found


def _of(value: bytes | None, producers: Collection[str]) -> set[str]:
    try:
        identity = _identity(value or b"")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return set()
    ours = (identity.id or "").startswith(PREFIX)
    return {identity.producer} if identity.producer in producers and not ours else set()


async def revision(session: AsyncSession) -> int:
    """The newest revision of the definitions."""
    return await session.scalar(select(func.max(ChangeRow.revision))) or 0
