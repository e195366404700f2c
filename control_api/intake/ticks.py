"""Ticks that people ask for: running a configuration now."""

from datetime import datetime

from sqlalchemy import select

from control_api.intake.intake import Intake
from control_api.intake.outgoing import Outgoing
from control_api.models import DefinitionRow
from notifier.database import Database
from notifier.definition import check_name
from notifier.errors import InputError, UnknownName
from notifier.tick import Tick
from notifier.topics import TICKS


async def run_now(database: Database, intake: Intake, configuration: str, at: datetime) -> Tick:
    """Writes a tick of the moment `at`; a runner then runs the configuration's pull producers, once.

    Returns when Kafka has acknowledged it. Raises UnknownName, and what `Intake.write` raises while the broker is away.
    """
    try:
        check_name("configuration", configuration)  # an impossible name must not reach the database
    except InputError:
        raise UnknownName("configuration", configuration) from None
    async with database.read() as session:
        query = select(DefinitionRow.name).where(
            DefinitionRow.kind == "configuration", DefinitionRow.name == configuration
        )
        if await session.scalar(query) is None:
            raise UnknownName("configuration", configuration)
    tick = Tick(configuration=configuration, scheduled_at=at, trigger="manual")
    await intake.write([Outgoing(TICKS, tick.encode(), configuration.encode())])
    return tick
