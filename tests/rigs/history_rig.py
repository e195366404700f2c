"""Records of the history, and a process that follows it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import func, select

from control_api.history.follower import History
from control_api.models import AttemptRow
from notifier.attempt import Attempt
from notifier.database import Database
from notifier.dead_letter import DeadLetter
from notifier.record import now
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
