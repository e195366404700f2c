"""What the command line asks of the history, in a database that is upgraded first."""

from control_api.history.counters import CounterQuery, counters
from control_api.history.messages import messages
from control_api.history.queries import AttemptQuery, MessageQuery
from control_api.history.records import attempts
from control_api.history.sight import Sight
from control_api.migrate import upgraded
from notifier.record import JsonObject
from notifier.settings import Settings

_ALL = Sight()  # a person who can run `notifier` here can read the database anyway


async def messages_command(settings: Settings, query: MessageQuery) -> tuple[list[JsonObject], str | None]:
    """`notifier messages`. Raises InputError and DatabaseError."""
    async with upgraded(settings) as database, database.read() as session:
        return await messages(session, query, _ALL)


async def attempts_command(settings: Settings, query: AttemptQuery) -> tuple[list[JsonObject], str | None]:
    """`notifier attempts`. Raises InputError and DatabaseError."""
    async with upgraded(settings) as database, database.read() as session:
        return await attempts(session, query, _ALL)


async def counters_command(settings: Settings, query: CounterQuery) -> JsonObject:
    """`notifier counters`. Raises InputError and DatabaseError."""
    async with upgraded(settings) as database, database.read() as session:
        return await counters(session, query)
