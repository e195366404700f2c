"""Tickers in this process, the configurations they get, and the ticks they leave on the topic."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import select

from notifier.database import Database
from notifier.definition import Definition
from notifier.outcome import Kind
from notifier.settings import Settings
from notifier.tick import Tick
from notifier.tick_claims import TICK
from streams.ticker.due import Cursor
from streams.ticker.ticker import ID_HEADER, run_ticker
from tests.rigs.kafka_tools import produce, read_all

SECOND, HOUR = timedelta(seconds=1), timedelta(hours=1)
HOURLY = "0 * * * *"
NEVER_SOON = "0 0 29 2 *"


async def define(
    settings: Settings, name: str, revision: int, schedule: dict[str, str] | None, **more: Any
) -> datetime:
    """Publishes a configuration; answers when that was."""
    spec = {"schedule": schedule, **more} if schedule else more
    kind: Kind = "configuration"
    definition = Definition(kind=kind, name=name, revision=revision, spec=spec)
    (metadata,) = await produce(settings, "definitions", [definition.encode()], key=f"configuration/{name}")
    return datetime.fromtimestamp(metadata.timestamp / 1000, UTC)


async def delete(settings: Settings, name: str) -> None:
    await produce(settings, "definitions", [None], key=f"configuration/{name}")


def cursor(name: str, cron: str, next_due_at: datetime, revision: int = 1) -> Cursor:
    return Cursor(
        configuration=name, revision=revision, cron=cron, timezone="UTC", last_due_at=None, next_due_at=next_due_at
    )


async def ticks(settings: Settings, name: str | None = None) -> list[tuple[Tick, str]]:
    """The ticks on the topic with their ids, in order of their due times."""
    found = []
    for record in await read_all(settings, "ticks"):
        tick = Tick.decode(record.value)
        assert record.key == tick.configuration.encode()
        if name in (None, tick.configuration):
            found.append((tick, dict(record.headers)[ID_HEADER].decode()))
    return sorted(found, key=lambda one: one[0].scheduled_at)


async def due_times(settings: Settings, name: str) -> list[datetime]:
    return [tick.scheduled_at for tick, _ in await ticks(settings, name)]


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[None]:
    """A ticker in this process, stopped in order afterwards."""
    stop = asyncio.Event()
    task = asyncio.create_task(run_ticker(settings, stop=stop))
    try:
        yield
    finally:
        stop.set()
        await task


async def all_sent(database: Database) -> bool:
    async with database.read() as session:
        return not (await session.execute(select(TICK.c.due_at).where(TICK.c.sent_at.is_(None)))).all()
