"""Dead letters in the database, and what redrives them, in this process or, `python -m tests.rigs.redrive_rig`, to be killed."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import func, select

from control_api.access.actor import COMMAND_LINE, Actor
from control_api.history.rows import dead_letter_row
from control_api.history.storing import add
from control_api.migrate import upgrade_database
from control_api.models import ChangeRow, DeadLetterRow, DefinitionRow
from control_api.redrive.criteria import RedriveInput
from control_api.redrive.redrives import Redrives
from control_api.redrive.redriving import Redriving
from notifier.database import Database
from notifier.dead_letter import DeadLetter, Source
from notifier.delivery import Delivery
from notifier.record import JsonObject, now
from notifier.settings import Settings, load_settings
from tests.rigs.kafka_tools import read_all, wait_until

LEASE_S = 1.0  # of the processes that are killed
JOB = "00000000-0000-7000-8000-00000000000"  # and a digit


def buried(settings: Settings, delivery: Delivery, **changes: Any) -> DeadLetter:
    """A dead letter of a delivery, as delivery makes it."""
    topic = f"{settings.topic_prefix}deliveries.{delivery.consumer}"
    source = Source(topic, 0, 7, 1_790_000_000_000, delivery.lane.encode(), delivery.encode())
    made = {"stage": "deliver", "reason": "exhausted", "error": "no", "delivery": delivery.id, "attempts": 5, **changes}
    return DeadLetter.of_record(source, **made)


async def store(database: Database, letters: Iterable[DeadLetter]) -> None:
    """Puts letters into the history, as its follower does, after those that are there."""
    async with database.write() as session:
        place = int(await session.scalar(select(func.count()).select_from(DeadLetterRow)) or 0)
        rows = [
            {"generation": 0, "partition": 0, "offset": place + number, **dead_letter_row(letter.encode())}
            for number, letter in enumerate(letters)
        ]
        for start in range(0, len(rows), 500):
            await add(session, DeadLetterRow, rows[start : start + 500])


async def define(database: Database, kind: str, name: str, team: str | None = None) -> None:
    """A row of a definition, as far as a redrive looks at it."""
    async with database.write() as session:
        change = ChangeRow(at=now(), actor="test", summary="")
        session.add(change)
        await session.flush()
        session.add(
            DefinitionRow(
                kind=kind, name=name, name_key=name, title=None, team=team, spec={}, partitions=2,
                revision=change.revision, created_at=now(), updated_at=now(), changed_by="test",
            )
        )  # fmt: skip


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Database]:
    """The database with its tables."""
    database = Database(settings)
    try:
        await upgrade_database(database)
        yield database
    finally:
        await database.close()


@asynccontextmanager
async def worked(settings: Settings, database: Database) -> AsyncIterator[Redrives]:
    """The redrives, on which nobody works but by `redriven`."""
    redrives = Redrives(settings, database)
    try:
        yield redrives
    finally:
        await redrives.stop()


async def redriven(redrives: Redrives, id_: str, redriving: Redriving | None = None) -> JsonObject:
    """A redrive, once it has ended; this process works on it."""
    working = redriving or redrives.redriving

    async def is_over() -> bool:
        await asyncio.sleep(min(await working.work(), 0.1))
        return bool((await redrives.get(COMMAND_LINE, id_))["state"] != "running")

    await wait_until(is_over)
    return await redrives.get(COMMAND_LINE, id_)


async def begin(redrives: Redrives, id_: str, actor: Actor = COMMAND_LINE, **asked: Any) -> JsonObject:
    """Begins a redrive as fast as may be."""
    return await redrives.begin(actor, RedriveInput.model_validate({"per_second": 10_000, **asked}), id_)


async def sent(settings: Settings, topic: str) -> list[JsonObject]:
    """The values on a topic."""
    return [json.loads(record.value) for record in await read_all(settings, topic)]


async def _work() -> None:
    settings = load_settings(env_file=None)
    async with opened(settings) as database:
        redriving = Redriving(settings, database, lease_s=LEASE_S)
        await redriving.start()
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_work())
