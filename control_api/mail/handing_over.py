"""Handing over: a mail goes to its producer, and what that makes of it to `messages`."""

import msgspec

from control_api.intake.occasion import Occasion
from control_api.mail.recipients import DOOR
from control_api.parts import Parts
from control_api.rest.pushed import read, write
from notifier.network import Network
from notifier.plugin import Context, Hook, Producer
from notifier.record import now
from notifier.sandbox import Level, Sandbox
from notifier.script import Script

_JSON = "application/json"


async def hand_over(parts: Parts, producer: str, mail: bytes) -> list[str]:
    """Writes what a mail is for a producer; returns the ids once Kafka has acknowledged all of it.

    Raises InputError for what the producer does not take, UnknownName, RecordTooLarge, BrokerError and DatabaseError.
    """
    stored = await parts.services.get("producer", producer)
    plugin = parts.registry.build(
        "producer", producer, stored.spec["type"], stored.spec.get("parameters", {}), parts.seal
    )
    assert isinstance(plugin, Producer)
    try:
        received = await plugin.received(Hook(door=DOOR, payload=mail), _context(parts, producer))
    finally:
        await plugin.close()
    body = msgspec.json.encode([{**message, "producer": producer} for message in received.messages])
    return await write(parts.intake, read(_JSON, body, Occasion(now())))


def _context(parts: Parts, producer: str) -> Context:
    def script(name: str) -> Script:
        raise AssertionError(f"it asks for the script {name}")

    return Context(
        name=producer,
        sandbox=Sandbox(level=Level.none, explanation="scripts do not run in the control API"),
        script=script,
        services=parts.settings.services,
        network=Network(allowed=parts.settings.allowed_addresses),
    )
