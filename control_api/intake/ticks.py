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


async def manual_tick(database: Database, configuration: str, at: datetime) -> Tick:
    """The tick of the moment `at`, not yet written. Raises UnknownName."""
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
    return Tick(configuration=configuration, scheduled_at=at, trigger="manual")


async def write_tick(intake: Intake, tick: Tick) -> None:
    """Returns when Kafka has acknowledged the tick. Raises what `Intake.write` raises while the broker is away."""
    await intake.write([Outgoing(TICKS, tick.encode(), tick.configuration.encode())])
