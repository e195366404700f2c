"""The command `notifier redrive`: counts and redrives on the database, beside an API that works or without one."""

import asyncio
from collections.abc import AsyncGenerator

import uuid6
from aiokafka.errors import KafkaError

from control_api.access.actor import COMMAND_LINE
from control_api.history.follower import History
from control_api.migrate import upgraded
from control_api.redrive.criteria import RedriveInput
from control_api.redrive.redrives import Redrives
from notifier.errors import BrokerError
from notifier.kafka import bootstrap_servers
from notifier.record import JsonObject
from notifier.settings import Settings

_LOOK_S = 0.2  # between two looks at how far it is


async def count_command(settings: Settings, asked: RedriveInput) -> JsonObject:
    """What `Redrives.count` says, with all that is on the topic by now. Raises BrokerError and DatabaseError."""
    bootstrap_servers(settings)  # raises at once where there is no broker at all
    async with upgraded(settings) as database:
        try:
            await History(settings, database).catch_up()
        except (KafkaError, TimeoutError) as error:
            raise BrokerError(f"the dead letters cannot be read: {str(error) or type(error).__name__}") from None
        return await Redrives(settings, database).count(COMMAND_LINE, asked)


async def redrive_command(settings: Settings, asked: RedriveInput) -> AsyncGenerator[JsonObject, None]:
    """A redrive from its beginning to its end, as it goes on. This process works on it unless another one does.

    One that is not waited for to its end is cancelled.
    """
    async with upgraded(settings) as database:
        redrives = Redrives(settings, database)
        id_ = str(uuid6.uuid7())
        await redrives.begin(COMMAND_LINE, asked, id_)
        await redrives.start()
        try:
            while True:
                found = await redrives.get(COMMAND_LINE, id_)
                yield found
                if found["state"] != "running":
                    return
                await asyncio.sleep(_LOOK_S)
        finally:
            await redrives.cancel(COMMAND_LINE, id_)  # unless it has ended
            await redrives.stop()
