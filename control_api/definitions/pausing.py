"""Pausing: a consumer or a producer is paused, or goes on, because somebody said so.

What people want is written to the topic `status` under a key of its own, which delivery and the runners follow. It is no part
of the definition: an apply neither sees nor ends it.
"""

import asyncio
from dataclasses import dataclass
from typing import Annotated, Literal

from msgspec.structs import replace
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from control_api.access.actor import COMMAND_LINE, Actor
from control_api.access.entry import entry
from control_api.definitions.services import Services
from control_api.intake.intake import Intake
from control_api.intake.outgoing import Outgoing
from control_api.migrate import upgrade_database
from control_api.registry import load_registry
from control_api.statuses import Statuses
from notifier.database import Database
from notifier.errors import BrokerError, Conflict
from notifier.plugin import Producer
from notifier.record import now
from notifier.seal import load_seal
from notifier.settings import Settings
from notifier.status import WISHES, Status
from notifier.topics import STATUS

Paused = Literal["consumer", "producer"]  # the kinds of definitions that may be

_NO_NUL = r"^[^\x00]*$"  # no database takes one
_LOAD_S = 10.0  # that a command waits for what is on the topic


class Pause(BaseModel):
    """What may be said of a pause."""

    model_config = ConfigDict(extra="forbid")

    reason: (
        Annotated[str, StringConstraints(min_length=1, max_length=500, strip_whitespace=True, pattern=_NO_NUL)] | None
    ) = Field(None, description="Why, for people: it stands in the status.")


@dataclass(frozen=True, kw_only=True)
class Pausing:
    """Writes what people want of consumers and producers."""

    database: Database
    services: Services
    intake: Intake
    statuses: Statuses

    async def pause(self, actor: Actor, name: str, reason: str | None = None, kind: Paused = "consumer") -> Status:
        """Pauses a consumer or a producer, until `resume`. One that is paused by hand already takes another reason only.

        Returns when Kafka has acknowledged it. Raises UnknownName, OtherTeam, Conflict for a producer that neither is asked nor
        follows anything, and what `Intake.write` raises.
        """
        await self.services.require_change(actor, kind, name)
        if kind == "producer":
            await self._require_source(name)
        before = self.statuses.wanted(name, kind)
        if before is not None and reason in (None, before.detail):
            return replace(before, kind=kind)
        at = now()
        since = at if before is None else before.since
        status = Status(
            kind=WISHES[kind],
            name=name,
            state="paused",
            reason="paused",
            at=at,
            since=since,
            by=actor.name,
            detail=reason,
        )
        await self._write(actor, "pause", kind, status)
        return replace(status, kind=kind)

    async def resume(self, actor: Actor, name: str, kind: Paused = "consumer") -> Status:
        """Ends every pause, and that a consumer is disabled. It is tried at once. Raises as `pause` does."""
        await self.services.require_change(actor, kind, name)
        status = Status(kind=WISHES[kind], name=name, state="resumed", at=now(), by=actor.name)
        await self._write(actor, "resume", kind, status)
        return replace(status, kind=kind)

    async def _require_source(self, name: str) -> None:
        type_ = (await self.services.get("producer", name)).document["type"]
        if type_ not in self.services.registry.types("producer"):
            return  # the registry refuses the type, so no runner reads its source
        plugin = self.services.registry.get("producer", type_)
        assert issubclass(plugin, Producer)
        if not plugin.pull and not plugin.follows:
            raise Conflict(
                f"the messages of the producer {name!r} are sent to it, so there is nothing to pause;"
                " disable the configurations that name it, or pause their consumers"
            )

    async def _write(self, actor: Actor, action: str, kind: Paused, status: Status) -> None:
        # Before the record, as with runs. An entry without its record says that somebody tried.
        async with self.database.write() as session:
            after = None if status.detail is None else {"reason": status.detail}
            session.add(entry(actor.name, action, kind, status.name, after=after))
        key = f"{status.kind}/{status.name}".encode()
        await self.intake.write([Outgoing(STATUS, status.encode(), key)])


async def pausing_command(
    settings: Settings, kind: Paused, name: str, *, paused: bool, reason: str | None = None
) -> Status:
    """`notifier pause` and `notifier resume`, with or without a running API. Raises as `Pausing` does, and BrokerError."""
    database, statuses, intake = Database(settings), Statuses(settings), Intake(settings)
    services = Services(database, load_registry(), load_seal(settings))
    pausing = Pausing(database=database, services=services, intake=intake, statuses=statuses)
    try:
        await upgrade_database(database)
        await statuses.start()
        await intake.start()
        try:
            async with asyncio.timeout(_LOAD_S):
                await statuses.loaded.wait()
        except TimeoutError:
            raise BrokerError(
                "the topic `status` cannot be read: is the broker there? (`notifier check broker`)"
            ) from None
        if paused:
            return await pausing.pause(COMMAND_LINE, name, reason, kind)
        return await pausing.resume(COMMAND_LINE, name, kind)
    finally:
        await asyncio.gather(intake.stop(), statuses.stop())
        await database.close()
