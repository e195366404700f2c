"""Records of the history, and a process that follows it."""

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

from aiokafka import ConsumerRecord, TopicPartition
from sqlalchemy import func, select

from control_api.history import message_index, storing
from control_api.history.follower import History
from control_api.models import AttemptRow
from notifier.attempt import Attempt
from notifier.database import Database
from notifier.dead_letter import DeadLetter
from notifier.record import JsonObject, Record, now
from notifier.settings import Settings


def attempt(message: str, **changes: Any) -> Attempt:
    """An attempt at a delivery of that message."""
    at = now()
    return Attempt(
        **{
            "delivery": f"ci/{message}/to-chat/chat/alice",
            "producer": "ci",
            "message": message,
            "configuration": "to-chat",
            "consumer": "chat",
            "recipient": "alice",
            "outcome": "accepted",
            "reason": "ok",
            "started_at": at,
            "ended_at": at,
            **changes,
        }
    )


def dead_letter(id_: str, **changes: Any) -> DeadLetter:
    """A dead letter of that id."""
    return DeadLetter(
        **{"id": id_, "stage": "deliver", "reason": "exhausted", "error": "no", "topic": "t", "at": now(), **changes}
    )


@asynccontextmanager
async def following(settings: Settings, database: Database) -> AsyncIterator[History]:
    """A history that follows."""
    history = History(settings, database)
    await history.start()
    try:
        yield history
    finally:
        await history.stop()


async def count_rows(database: Database, table: Any = AttemptRow) -> int:
    async with database.read() as session:
        return int(await session.scalar(select(func.count()).select_from(table)) or 0)


async def has_rows(database: Database, count: int) -> bool:
    return await count_rows(database) == count


def record_at(topic: str, offset: int, value: JsonObject | bytes, at: datetime | None = None) -> ConsumerRecord:
    """A record of partition 0, as a follower reads it."""
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    milliseconds = int((at or now()).timestamp() * 1000)
    return ConsumerRecord(topic, 0, offset, milliseconds, 0, None, raw, None, -1, len(raw), ())


async def store_messages(
    database: Database, values: Sequence[JsonObject | bytes], times: Sequence[datetime] = ()
) -> None:
    """Stores messages as the follower does, from offset 0 on."""
    records = [
        record_at("messages", offset, value, times[offset] if times else None) for offset, value in enumerate(values)
    ]
    await message_index.store(database, records, {TopicPartition("messages", 0): 0})


async def store_attempts(database: Database, records: Sequence[Record], start: int = 0) -> None:
    """Stores attempts as the follower does, from the offset `start` on."""
    read = [record_at("attempts", start + place, one.encode()) for place, one in enumerate(records)]
    assert await storing.store(database, read, {TopicPartition("attempts", 0): 0}, "") == []
