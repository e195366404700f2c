"""The work of one run: its producers are asked, their messages written, its states saved, its end written.

Which runs this runner does, and since when, is `streams.runner.runner`'s.
"""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
from aiokafka import ConsumerRecord

from notifier.catalog import Catalog, Configuration
from notifier.definition import definition_key
from notifier.errors import InvalidRecord
from notifier.record import JsonObject, now
from notifier.run import ProducerRun, Run, State
from notifier.sandbox import Usage
from notifier.topics import MESSAGES
from streams.definitions import Definitions
from streams.runner.cursors import Cursors
from streams.runner.dead_letters import DeadLetters
from streams.runner.pauses import Pauses
from streams.runner.produced import ItemReader, Produced
from streams.runner.producing import Asked, Producing
from streams.runner.run_log import RunLog
from streams.runner.turns import Turns
from streams.writer import Writer

logger = logging.getLogger(__name__)

MAX_TAKEOVERS = 5  # a run that ends each runner that takes it is given up, or it would end all of them in turn

_DISABLED = "the configuration is disabled"
OVERTAKEN = "the producer was paused, and a later run asks it in this one's place"


class OwnedRun:
    """A run whose lease this runner holds; `task`, set by the runner, does its work."""

    task: asyncio.Task[None]

    def __init__(self, id_: str, run: Run, origin: ConsumerRecord | None, run_log: RunLog) -> None:
        self.id = id_
        self.run = run  # as last written
        self.origin = origin  # its tick, where this runner read it
        self.parts: dict[str, ProducerRun] = {}  # by producer, in the configuration's order
        self.begun = False  # whether a producer was asked
        self._run_log = run_log
        self._lock = asyncio.Lock()  # over each write, so that states lie on `runs` in the order they were made

    async def save(self) -> None:
        """Writes the run's present state with a new lease; nothing once it has ended."""
        async with self._lock:
            if self.run.state == "running":
                parts = tuple(self.parts.values()) or self.run.producers
                self.run = msgspec.structs.replace(self.run, producers=parts, lease_until=self._run_log.lease_until())
                await self._run_log.write(self.id, self.run)

    async def renew(self) -> None:
        """Saves three times a lease, until cancelled."""
        while True:
            await asyncio.sleep(self._run_log.lease_s / 3)
            await self.save()

    async def end(self, state: State, error: str | None = None) -> None:
        """Writes the end of the run."""
        async with self._lock:  # a renewal under way goes first
            self.run = msgspec.structs.replace(
                self.run,
                state=state,
                producers=tuple(self.parts.values()) or self.run.producers,
                error=error,
                lease_until=None,
                ended_at=now(),
            )
            await self._run_log.write(self.id, self.run)
        logger.info("The run %s is %s%s.", self.id, state, f": {error}" if error else "", extra={"action": "end_run"})


@dataclass(frozen=True, kw_only=True)
class Told:
    """When a producer may be asked, and from where it goes on."""

    cursors: Cursors  # what was told before
    turns: Turns  # of the runs of one configuration
    pauses: Pauses


class RunWork:
    """Does runs. At most `concurrency` producers of all runs work at the same time, and as many that are slow."""

    def __init__(
        self,
        definitions: Definitions,
        producing: Producing,
        writer: Writer,
        dead_letters: DeadLetters,
        told: Told,
        *,
        unknown_wait_s: float,  # how long a run waits for its configuration
    ) -> None:
        self._definitions = definitions
        self._producing = producing
        self._writer = writer
        self._dead_letters = dead_letters
        self._told = told
        self._unknown_wait_s = unknown_wait_s
        self._changed = asyncio.Event()  # replaced at each change of the definitions

    def change(self, catalog: Catalog) -> None:
        """Asks the producers of this catalog from now on; runs that wait for their configuration look again."""
        self._producing.change(catalog)
        self._told.cursors.change(catalog)
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def close(self) -> None:
        """Closes the producers; no run may be at work."""
        await self._producing.close()

    async def do(self, owned: OwnedRun, after: asyncio.Task[None] | None) -> None:
        """Does the run to its end and renews its lease meanwhile. `after` is this runner's former try at the same run."""
        renew = asyncio.create_task(owned.renew(), name=f"renew {owned.id}")
        try:
            if after is not None:
                await asyncio.wait([after])
            await self._carry_out(owned)
        except Exception:  # the supervisor of one run: no fault of it may touch the others
            logger.exception("The run %s failed.", owned.id, extra={"action": "run"})
            await owned.end("failed", "the runner failed; its log says why")
        finally:
            renew.cancel()
            await asyncio.gather(renew, return_exceptions=True)

    async def _carry_out(self, owned: OwnedRun) -> None:
        if owned.run.takeovers > MAX_TAKEOVERS:
            await owned.end("failed", f"given up: {MAX_TAKEOVERS} runners ended while they worked on it")
            return
        configuration = await self._configuration(owned.run.configuration)
        if configuration is None:
            error = _unknown(self._definitions.catalog, owned.run.configuration)
            await self._dead_letters.bury_run(owned.id, owned.run, owned.origin, error)
            await owned.end("refused", error)
            return
        names, why = _pull_producers(self._definitions.catalog, configuration)
        if not names:
            await owned.end("refused", why)
            return
        kept = {part.producer: part for part in owned.run.producers if part.state != "running"}
        owned.parts = {name: kept.get(name) or ProducerRun(producer=name) for name in names}
        async with asyncio.TaskGroup() as group:
            for name in names:
                if name not in kept:
                    group.create_task(self._do_part(owned, name))
        if any(part.state == "running" for part in owned.parts.values()):
            return  # it waits for a paused producer, and this runner ends
        failed = sorted(part.producer for part in owned.parts.values() if part.state == "failed")
        await owned.end("failed" if failed else "done")

    async def _configuration(self, name: str) -> Configuration | None:
        """The configuration, waited for while it is unknown."""
        deadline = asyncio.get_running_loop().time() + self._unknown_wait_s
        try:
            async with asyncio.timeout_at(deadline):
                while name not in self._definitions.catalog.configurations:
                    await self._changed.wait()
        except TimeoutError:
            return None
        return self._definitions.catalog.configurations.get(name)

    async def _do_part(self, owned: OwnedRun, name: str) -> None:
        """Asks one producer, when it is not paused and it is this run's turn, and writes what it gave."""
        while True:
            # First, since a run that waits for its turn overtakes none that is held.
            if not await self._may_ask(owned, name):
                return
            await self._told.turns.take(owned.id, owned.run, name)
            async with self._producing.slots.one(slow=self._producing.is_failing(name)):
                if not self._told.pauses.is_paused(name):  # else somebody paused it while the run waited
                    await self._do_asked(owned, name)
                    return

    async def _do_asked(self, owned: OwnedRun, name: str) -> None:
        owned.begun = True
        owned.parts[name] = ProducerRun(producer=name, started_at=now())
        part = owned.parts[name] = await self._ask(owned, name)
        if part.error is not None:
            logger.warning(
                "The producer %s failed in the run %s: %s", name, owned.id, part.error, extra={"action": "produce"}
            )
        await owned.save()

    async def _ask(self, owned: OwnedRun, name: str) -> ProducerRun:
        """What became of a part: the messages are written, as they come, then what the producer keeps."""
        configuration = owned.run.configuration
        known = await self._told.cursors.known(configuration, name)
        if known is not None and known.problem is not None:
            return msgspec.structs.replace(owned.parts[name], state="failed", error=known.problem, ended_at=now())
        if known is not None and (part := known.told_in(owned.id)) is not None:
            return part
        reader = ItemReader(owned.id, name, configuration)

        async def write(items: Sequence[Produced]) -> None:
            written = await self._write(name, items)
            part = owned.parts[name]
            owned.parts[name] = msgspec.structs.replace(part, messages=part.messages + written)

        async def emit(given: Sequence[JsonObject | InvalidRecord]) -> None:
            await write(reader.read(given))

        def measured(usage: Usage) -> None:
            owned.parts[name] = msgspec.structs.replace(owned.parts[name], **figures_of(usage))

        cursor = None if known is None else known.state()
        asked = Asked(cursor=cursor, due=owned.run.scheduled_at, emit=emit, measured=measured)
        given = await self._producing.ask(name, asked)
        for items in reader.read_last(given.items):
            await write(items)
        error = given.error or reader.error()
        part = msgspec.structs.replace(
            owned.parts[name],
            state="done" if error is None else "failed",
            error=error,
            notice=given.notice,
            ended_at=now(),
        )
        if given.state is not None:
            problem = await self._told.cursors.keep(configuration, owned.id, part, given.state)
            if problem is not None:
                part = msgspec.structs.replace(part, state="failed", error=error or problem)
        return part

    async def _write(self, name: str, items: Sequence[Produced]) -> int:
        """Writes what a producer gave: messages, and dead letters of what is none; how many messages. All are acknowledged."""
        messages = [(item.key, item.value or b"") for item in items if item.error is None]
        await self._writer.write_all(MESSAGES.name, messages)
        await self._dead_letters.bury_items(name, items)
        return len(messages)

    async def _may_ask(self, owned: OwnedRun, name: str) -> bool:
        """Holds the run while the producer is paused; whether it is to be asked then."""
        configuration = self._definitions.catalog.configurations.get(owned.run.configuration)
        schedule = None if configuration is None else configuration.spec.schedule
        every = schedule is not None and schedule.missed == "all"
        admitted = await self._told.pauses.admit(owned.id, owned.run, name, every=every)
        if admitted == "stopping":
            return False
        why = OVERTAKEN if admitted == "overtaken" else self._ended_meanwhile(owned.run.configuration)
        if why is not None:
            owned.parts[name] = ProducerRun(producer=name, state="refused", error=why, ended_at=now())
            await owned.save()
        return why is None

    def _ended_meanwhile(self, name: str) -> str | None:
        """Why nobody would get what is told now: a run may have been held for days."""
        configuration = self._definitions.catalog.configurations.get(name)
        if configuration is None:
            return _unknown(self._definitions.catalog, name)
        return None if configuration.spec.enabled else _DISABLED


def figures_of(usage: Usage) -> dict[str, float | None]:
    """What a script has used, as the fields of a ProducerRun."""
    cpu_s, memory_mb = usage.cpu_s, usage.memory_mb
    return {
        "elapsed_s": round(usage.elapsed_s, 3),
        "cpu_s": None if cpu_s is None else round(cpu_s, 3),
        "memory_mb": None if memory_mb is None else round(memory_mb, 1),
    }


def _unknown(catalog: Catalog, name: str) -> str:
    problem = catalog.problems.get(definition_key("configuration", name))
    return f"there is no configuration {name!r}" if problem is None else f"configuration {name}: {problem}"


def _pull_producers(catalog: Catalog, configuration: Configuration) -> tuple[list[str], str]:
    """The names of the producers to ask, in order, and the refusal where there is none."""
    if not configuration.spec.enabled:
        return [], _DISABLED
    names = [name for name in configuration.spec.producers if _pulls(catalog, name)]
    return names, "the configuration has no producer that can be asked for messages"


def _pulls(catalog: Catalog, name: str) -> bool:
    plugin = catalog.producers.get(name)
    return plugin is None or plugin.pull  # an unusable one is asked too, so that the run reports it
