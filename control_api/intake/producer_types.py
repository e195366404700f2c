"""Producer types: which producers are defined, and of what type, asked of the database for requests that push."""

from sqlalchemy import select

from control_api.look_up import LookUp
from control_api.models import DefinitionRow
from notifier.database import Database


def producer_types(database: Database) -> LookUp[str, str]:
    """Types by name of producer."""

    async def fetch(names: list[str]) -> dict[str, str]:
        query = select(DefinitionRow.name, DefinitionRow.spec).where(
            DefinitionRow.kind == "producer", DefinitionRow.name.in_(names)
        )
        async with database.read() as session:
            return {name: spec["type"] for name, spec in await session.execute(query)}

    return LookUp(fetch)
