"""`notifier user link`: with or without a running API."""

from control_api.access.actor import COMMAND_LINE
from control_api.definitions.services import Services
from control_api.migrate import upgraded
from control_api.registry import load_registry
from control_api.wishes.codes import LinkCode, make_code
from notifier.seal import load_seal
from notifier.settings import Settings


async def link_command(settings: Settings, username: str) -> LinkCode:
    """A new code. Raises as `make_code` does, and DatabaseError."""
    async with upgraded(settings) as database:
        return await make_code(
            database, Services(database, load_registry(), load_seal(settings)), COMMAND_LINE, username
        )
