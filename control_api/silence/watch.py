"""Watch: looks every second whether what is expected of producers came. One API process at a time does so, by a lease.

Who takes the lease begins every waiting anew, so nothing that was missed while nobody looked raises an alarm. What is known to
be silent is in the database, and is told once: the same message has the same id. What came is `control_api.silence.arrivals`'s
to say; before an alarm it looks at the topic itself.
"""

import asyncio
import logging
import time
from collections.abc import Sequence
from datetime import timedelta

from aiokafka.errors import KafkaError
from sqlalchemy import delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from control_api.definitions.lease import Lease, LeaseLost
from control_api.intake.intake import Intake
from control_api.intake.outgoing import Outgoing
from control_api.models import DefinitionRow, SilenceRow
from control_api.silence.arrivals import newest, revision, unread
from control_api.silence.notice import back_notice, silent_notice, silent_status
from control_api.silence.waiting import Waiting
from control_api.statuses import Statuses
from notifier.database import Database
from notifier.definition import ProducerSpec
from notifier.ending import end
from notifier.errors import InputError, NotifierError
from notifier.message import Message
from notifier.record import now
from notifier.registry import Registry
from notifier.settings import Settings
from notifier.status import PRODUCER, Status
from notifier.topics import MESSAGES, STATUS
from notifier.validation import validated

logger = logging.getLogger(__name__)

EVERY_S = 1.0
_LOST_S = 30.0  # between two looks: the process was stopped, or the machine slept
_AGAIN_S = 10.0  # until a status is written again that somebody else has overwritten


class Watch:
    """Watches for one API process. `start` once, `stop` at the end."""

    def __init__(
        self, settings: Settings, database: Database, registry: Registry, intake: Intake, statuses: Statuses
    ) -> None:
        self._settings = settings
        self._database = database
        self._registry = registry
        self._intake = intake
        self._statuses = statuses
        self._lease = Lease(database, name="silence", work="watches for producers that are silent")
        self._waiting: dict[str, Waiting] | None = None  # by producer; None: to be read anew
        self._types: dict[str, str] = {}  # by producer
        self._revision = -1  # of the definitions that these are of
        self._looked_at = 0.0  # by the monotonic clock
        self._said_at: dict[str, float] = {}  # when the status of a silent one was written, by the monotonic clock
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begins; returns at once."""
        if self._task is None:
            self._task = asyncio.create_task(self._watch(), name="silence")

    async def stop(self) -> None:
        """Ends, and gives the lease back."""
        task, self._task = self._task, None
        if task is not None:
            await end(task)
        await self._lease.release()

    async def _watch(self) -> None:
        while True:
            try:
                if await self._lease.acquire():
                    await self._look()
                else:
                    self._waiting = None
            except LeaseLost:
                self._waiting = None
            except (NotifierError, KafkaError, OSError, TimeoutError) as error:
                self._waiting = None  # what came and was not told is in the database, and is found again
                logger.debug("Whether producers are silent cannot be said now: %s", error)
            except Exception:  # the supervisor of this loop
                self._waiting = None
                logger.exception("The watch for silent producers begins anew.", extra={"action": "watch_silence"})
            await asyncio.sleep(EVERY_S)

    def _begin_anew(self) -> None:
        for one in (self._waiting or {}).values():
            one.waited_s = 0.0

    async def _look(self) -> None:
        at = time.monotonic()
        elapsed_s, self._looked_at = at - self._looked_at, at
        async with self._database.read() as session:
            await self._follow(session)
            waiting = self._waiting or {}
            came = await newest(session, list(waiting))
        if elapsed_s > _LOST_S:
            self._begin_anew()
            elapsed_s = 0.0
        overdue = []
        for name, one in waiting.items():
            if one.arrived(came.get(name)):
                await self._is_back(one)
            elif one.wait(elapsed_s, could_come=self._could_come(name)):
                overdue.append(one)
            elif one.silent_since is not None:
                await self._tell(one)
        await self._check(overdue)

    # --- what is expected ---

    async def _follow(self, session: AsyncSession) -> None:
        """Takes what is expected by the newest definitions. What goes on as it was goes on waiting."""
        newest_revision = await revision(session)
        if self._waiting is not None and newest_revision == self._revision:
            return
        before = self._waiting or {}
        query = select(DefinitionRow.name, DefinitionRow.spec).where(DefinitionRow.kind == PRODUCER)
        specs = {name: spec for name, spec in await session.execute(query) if spec.get("expect_every") is not None}
        silent = {row.producer: row for row in await session.scalars(select(SilenceRow))}
        expected = {name: seconds for name, spec in specs.items() if (seconds := _expected_s(spec)) is not None}
        came = await newest(session, [name for name in expected if name not in before])
        found: dict[str, Waiting] = {}
        for name, every_s in expected.items():
            one = before.get(name)
            if one is None:
                row = silent.get(name)
                one = Waiting(producer=name, every_s=every_s, seen=came.get(name, 0))
                if row is not None:
                    one.seen, one.silent_since, one.told = row.seen, row.since, row.told
            elif one.every_s != every_s:
                one.every_s, one.waited_s = every_s, 0.0
            found[name] = one
        for name in silent.keys() - expected.keys():
            await self._forget(name, None)
        self._types = {name: str(spec.get("type")) for name, spec in specs.items()}
        self._waiting, self._revision = found, newest_revision

    def _could_come(self, name: str) -> bool:
        """Whether a message of the producer could have come in the last second."""
        if not self._intake.connected:
            return False
        if self._statuses.of_producer(name) is not None:  # a person has paused it
            return False
        try:
            type_ = self._registry.get("producer", self._types[name])
        except InputError:
            return False
        working = {one.role for one in self._statuses.present() if one.state == "ready"}
        if getattr(type_, "pull", True):
            return {"runner", "ticker"} <= working
        return "runner" in working or not getattr(type_, "follows", False)

    # --- what follows ---

    async def _check(self, overdue: Sequence[Waiting]) -> None:
        """Looks for the messages of those that seem to be silent on the topic itself, and tells of the others."""
        if not overdue:
            return
        arrived = await unread(self._settings, self._database, {one.producer for one in overdue})
        for one in overdue:
            if arrived is None or one.producer in arrived:
                one.waited_s = 0.0
                continue
            since = now() - timedelta(seconds=one.waited_s)
            await self._lease.renew()
            async with self._database.write() as session:
                await session.execute(delete(SilenceRow).where(SilenceRow.producer == one.producer))
                row = {"producer": one.producer, "since": since, "seen": one.seen, "told": False}
                await session.execute(insert(SilenceRow).values(row))
            one.silent_since, one.told = since, False
            logger.warning("Nothing came from the producer %s in time.", one.producer, extra=_extra(one.producer))
            await self._tell(one)

    async def _tell(self, one: Waiting) -> None:
        """Tells people of a silence, once, and sees to it that `status` says so."""
        assert one.silent_since is not None
        if not one.told:
            await self._write(silent_notice(one.producer, one.silent_since, one.every_s))
            async with self._database.write() as session:
                await session.execute(update(SilenceRow).where(SilenceRow.producer == one.producer).values(told=True))
            one.told = True
        status = self._statuses.of_source(one.producer)
        said = status is not None and status.state != "ready"
        if not said and time.monotonic() - self._said_at.get(one.producer, -_AGAIN_S) >= _AGAIN_S:
            self._said_at[one.producer] = time.monotonic()
            await self._say(one.producer, silent_status(one.producer, one.silent_since, one.every_s))

    async def _is_back(self, one: Waiting) -> None:
        if one.silent_since is None:
            return
        if one.told:
            await self._write(back_notice(one.producer, one.silent_since))
        await self._forget(one.producer, Status(kind=PRODUCER, name=one.producer, state="ready", at=now()))
        one.silent_since, one.told = None, False
        logger.info("Something came from the producer %s again.", one.producer, extra=_extra(one.producer))

    async def _forget(self, producer: str, status: Status | None) -> None:
        """Takes back that a producer is silent. `status` replaces what is said of it; None: nothing is said any more."""
        self._said_at.pop(producer, None)
        said = self._statuses.of_source(producer)
        if said is None or said.state == "silent":  # one that fails, or is paused, still does and is
            await self._say(producer, status)
        async with self._database.write() as session:
            await session.execute(delete(SilenceRow).where(SilenceRow.producer == producer))

    async def _write(self, message: Message) -> None:
        await self._intake.write([Outgoing(MESSAGES, message.encode())])

    async def _say(self, producer: str, status: Status | None) -> None:
        value = None if status is None else status.encode()
        await self._intake.write([Outgoing(STATUS, value, f"{PRODUCER}/{producer}".encode())])


def _expected_s(spec: dict[str, object]) -> float | None:
    try:
        return validated(ProducerSpec, spec, extra="ignore").expected_s()
    except (InputError, ValueError):  # of another version
        return None


def _extra(producer: str) -> dict[str, str]:
    return {"action": "watch_silence", "producer": producer}
