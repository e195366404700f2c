"""Handing over: a mail goes to its producer, and what that makes of it to `messages`."""

from control_api.intake.occasion import Occasion
from control_api.mail.recipients import DOOR
from control_api.parts import Parts
from control_api.rest.made import read_made
from control_api.rest.pushed import write
from notifier.plugin import Hook
from notifier.record import now


async def hand_over(parts: Parts, producer: str, mail: bytes) -> list[str]:
    """Writes what a mail is for a producer; returns the ids once Kafka has acknowledged all of it.

    Raises InputError for what the producer does not take, UnknownName, RecordTooLarge, BrokerError and DatabaseError.
    """
    async with parts.doors.use(producer) as plugin:
        received = await plugin.received(Hook(door=DOOR, payload=mail), parts.doors.context(producer))
    return await write(parts.intake, await read_made(producer, received.messages, Occasion(now())))
