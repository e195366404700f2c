"""Manual runs: a configuration is run now, because somebody said so."""

from datetime import datetime

from control_api.access.actor import Actor
from control_api.access.entry import entry
from control_api.intake.intake import Intake
from control_api.intake.ticks import manual_tick, write_tick
from notifier.database import Database
from notifier.record import rfc3339
from notifier.tick import Tick


async def run_now(database: Database, intake: Intake, actor: Actor, configuration: str, at: datetime) -> Tick:
    """Writes a tick of the moment `at`; a runner then runs the configuration's pull producers, once.

    Returns when Kafka has acknowledged it. Raises UnknownName, and what `Intake.write` raises while the broker is away.
    """
    tick = await manual_tick(database, configuration, at)
    # Before the tick: no run may be without its entry. An entry without its run says that somebody tried.
    async with database.write() as session:
        after = {"scheduled_at": rfc3339(at)}
        session.add(entry(actor.name, "run", "configuration", configuration, after=after))
    await write_tick(intake, tick)
    return tick
