"""The runner: does the work that ticks ask for. Its Faust agent only hands over ticks; the work happens here, outside it.

A tick is acknowledged once its run is on `runs` with a lease (`streams.runner.leases` says how leases are won and lost); whoever
holds the lease asks the configuration's pull producers for messages and writes them on `messages`.

Guarantee: at least once. A run that was written down is done by some runner, whichever of them die meanwhile: an expired
lease is taken over, and what its producers had not finished is done again. Messages carry the ids of their tick, so a
repeat is recognised downstream. For an item without an id of its own the position counts: a script whose output changes
between two tries of one run should give ids.
"""

import asyncio
import logging
import secrets
import socket
from collections.abc import Coroutine, Iterable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

import msgspec
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from notifier.catalog import Catalog, Configuration
from notifier.dead_letter import DeadLetter
from notifier.definition import check_name
from notifier.errors import (
    InputError,
    InvalidRecord,
    NotifierError,
    RecordError,
    UnknownName,
    UnsupportedVersion,
)
from notifier.kafka import ensure_topics, kafka_consumer
from notifier.record import kafka_time, now
from notifier.run import ProducerRun, Run, State
from notifier.sandbox import Level, Sandbox, detect_sandbox
from notifier.settings import Settings
from notifier.tick import Tick
from notifier.topics import DEAD_LETTERS, MESSAGES, RUNS, TICKS
from streams.definitions import Definitions
from streams.runner.leases import CLAIM, OWNER, Leases, Step
from streams.runner.produced import Item, read_items, sum_up
from streams.runner.producing import MAX_ERROR_CHARACTERS, Producing
from streams.writer import Writer

logger = logging.getLogger(__name__)

LEASE_S = 30.0  # how long a run is nobody else's after its owner was last heard of
CONCURRENCY = 8  # producers that work at the same time in one runner
# How long a tick waits for its configuration: a tick goes straight to its topic, a definition by way of the outbox.
UNKNOWN_WAIT_S = 10.0
MAX_TAKEOVERS = 5  # a run that outlives no runner is given up, or it would end one after the other
_RETRY_S = 1.0
_CHUNK = 500  # records that are on their way at a time
_FORGET_S = 3600.0


class Runner:
    """Does runs. Give it the records of `ticks`, batch by batch, by `accept`; any number of runners share the work.

    `failed` says why it ended for good (a record on `runs` is newer than this program); the role is then not ready.
    """

    def __init__(
        self,
        settings: Settings,
        definitions: Definitions,
        sandbox: Sandbox | None = None,  # none: the best there is here, found at the start
        *,
        lease_s: float = LEASE_S,
        concurrency: int = CONCURRENCY,
        unknown_wait_s: float = UNKNOWN_WAIT_S,
    ) -> None:
        self.owner = (
            f"{socket.gethostname()}-{secrets.token_hex(4)}"  # what it is called on `runs`; new with each start
        )
        self.failed: Exception | None = None
        self._settings = settings
        self._definitions = definitions
        self._sandbox = sandbox
        self._lease_s = lease_s
        self._concurrency = concurrency
        self._unknown_wait_s = unknown_wait_s
        self._slots = asyncio.Semaphore(concurrency)
        self._leases = Leases()
        self._works: dict[str, _Work] = {}
        self._claims: dict[str, asyncio.Task[None]] = {}  # being written, or written and not read back yet
        self._settled = asyncio.Event()  # set when the last of them was read back
        self._origins: dict[str, ConsumerRecord] = {}  # the ticks of those claims
        self._writes: set[asyncio.Task[None]] = set()  # other writes on their way
        self._producing: Producing | None = None
        self._changed = asyncio.Event()  # replaced at each change of the definitions
        self._read_up = asyncio.Event()  # all of `runs` was read once
        self._writer = Writer(settings)
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = False

    @property
    def busy(self) -> int:
        """How many runs it holds."""
        return len(self._works)

    async def start(self) -> None:
        """Reads the definitions and `runs` to their ends, then watches for runs that somebody left behind.

        Raises BrokerError when there is no broker, and UnsupportedVersion when a record is newer than this program.
        """
        if self._sandbox is None:
            self._sandbox = await asyncio.to_thread(detect_sandbox, self._settings)
        safe = self._sandbox.level in (Level.bubblewrap, Level.landlock)
        logger.log(
            logging.INFO if safe else logging.WARNING,
            "Scripts: %s",
            self._sandbox.explanation,
            extra={"action": "detect_sandbox"},
        )
        await ensure_topics(self._settings, [TICKS, RUNS, MESSAGES, DEAD_LETTERS])
        self._producing = Producing(self._sandbox, await self._definitions.load(), self._settings.services)
        self._definitions.on_change(self._definitions_changed)
        follow = self._supervise(self._follow(), "runs")
        read_up = asyncio.create_task(self._read_up.wait())
        await asyncio.wait([follow, read_up], return_when=asyncio.FIRST_COMPLETED)
        read_up.cancel()
        if self.failed is not None:
            await self.stop(0)
            raise self.failed
        self._leases.forget_old(now())
        self._supervise(self._watch(), "watch leases")

    def _supervise(self, loop: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        task = asyncio.create_task(loop, name=name)
        task.add_done_callback(self._loop_ended)
        self._tasks.append(task)
        return task

    def _spawn(self, write: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Writes beside whoever asked, who may be cancelled."""
        task = asyncio.create_task(write, name=name)
        self._writes.add(task)
        task.add_done_callback(self._writes.discard)
        return task

    def _loop_ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self.failed = error if isinstance(error, Exception) else RuntimeError(repr(error))
            logger.critical(
                "The runner cannot go on: %s ended.", task.get_name(), exc_info=error, extra={"action": "run"}
            )

    async def accept(self, records: Sequence[ConsumerRecord]) -> None:
        """Takes ticks on: returns once each is a run on `runs` or a dead letter, acknowledged by Kafka.

        Quick: nothing is run here. A tick whose run is known, going on or over, is passed over, so the same tick twice is
        one run; only a run that was refused, which did nothing, is judged again. Does not raise for what a record holds,
        and tries again while Kafka is away. Cancelled, it leaves nothing undone that the same records would not do.
        """
        if self._stopping:
            raise RuntimeError("the runner has been stopped: end the agent before it")
        await self._read_up.wait()
        writes: list[asyncio.Task[None]] = []
        for record in records:
            try:
                tick = _read_tick(record)
            except (RecordError, UnknownName) as error:
                writes.append(self._spawn(self._bury_tick(record, error), "bury a tick"))
                continue
            claim = self._claims.get(tick.id)
            if claim is None and self._leases.open(tick.id):
                run = Run(
                    configuration=tick.configuration,
                    scheduled_at=tick.scheduled_at,
                    trigger=tick.trigger,
                    started_at=now(),
                )
                self._origins[tick.id] = record
                claim = self._claim(tick.id, run)
            if claim is not None:
                writes.append(claim)
        for write in writes:
            await asyncio.shield(write)  # a claim goes on when the agent is cancelled; its record will come again

    async def stop(self, timeout_s: float = 20.0) -> None:
        """Ends in order: what is going on may end within `timeout_s` seconds; the rest is handed over at once.

        Handed over means: on `runs` the run has no owner any more, so the next runner goes on with it.
        """
        if self._stopping:
            return
        self._stopping = True
        for work in list(self._works.values()):
            if not work.begun:
                work.task.cancel()
        if self._works:
            await asyncio.wait([work.task for work in self._works.values()], timeout=timeout_s)
        tasks = [work.task for work in self._works.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._claims and self.failed is None:
            # `runs` is still followed: a claim of a moment ago is ours, to be handed over, once it was read back.
            with suppress(TimeoutError):
                await asyncio.wait_for(self._settled.wait(), 2.0)
        others = [*self._tasks, *self._claims.values(), *self._writes]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        self._tasks.clear()
        try:
            async with asyncio.timeout(max(timeout_s, 5.0)):
                await self._release()
                await self._writer.close()
        except TimeoutError:
            logger.warning(
                "Kafka does not answer, so runs may not be handed over; they go on elsewhere once their leases end.",
                extra={"action": "stop_runner"},
            )
        if self._producing is not None:
            await self._producing.close()

    async def _release(self) -> None:
        handed_over = []
        for id_ in self._leases.held_by(self.owner):
            lease, work = self._leases.get(id_), self._works.get(id_)
            assert lease is not None
            run = lease.run if work is None else work.run
            if run.state == "running":
                handed_over.append(self._write(id_, msgspec.structs.replace(run, owner=None, lease_until=now())))
        await asyncio.gather(*handed_over)

    # ---- following `runs`

    async def _follow(self) -> None:
        positions: dict[TopicPartition, int] = {}
        while True:
            consumer: AIOKafkaConsumer | None = None
            try:
                # No group: every runner reads every partition.
                consumer = kafka_consumer(
                    self._settings, self._settings.topic_prefix + RUNS.name, fetch_max_wait_ms=100
                )
                await consumer.start()
                await self._read(consumer, positions)
            except UnsupportedVersion as error:
                self.failed = error
                logger.critical(
                    "The runs are newer than this program: %s. Update it.", error, extra={"action": "follow_runs"}
                )
                return
            except (KafkaError, NotifierError, OSError) as error:
                logger.warning(
                    "The runs cannot be followed now and will be tried again: %s",
                    error,
                    extra={"action": "follow_runs"},
                )
                await asyncio.sleep(_RETRY_S)
            finally:
                if consumer is not None:
                    await consumer.stop()

    async def _read(self, consumer: AIOKafkaConsumer, positions: dict[TopicPartition, int]) -> None:
        partitions = list(consumer.assignment())
        ends = await consumer.end_offsets(partitions)
        for partition, position in positions.items():
            consumer.seek(partition, position)
        while True:
            for partition, records in (await consumer.getmany(timeout_ms=200)).items():
                for record in records:
                    positions[partition] = record.offset + 1  # before it is applied: no record is worth a second look
                    self._apply(record)
            if not self._read_up.is_set():
                where = [await consumer.position(partition) >= end for partition, end in ends.items()]
                if all(where):
                    self._read_up.set()

    def _apply(self, record: ConsumerRecord) -> None:
        try:
            step = self._leases.apply(record)
        except UnsupportedVersion:
            raise
        except RecordError as error:
            logger.error(
                "Record %d of partition %d of %s is no run and is passed over: %s",
                record.offset,
                record.partition,
                record.topic,
                error,
                extra={"action": "follow_runs"},
            )
            return
        if step is not None:
            self._took(step) if step.taken else self._passed_over(step)

    def _took(self, step: Step) -> None:
        work = self._works.get(step.id)
        if step.writer != self.owner:
            if work is not None:
                logger.warning(
                    "The run %s was taken over by %s.", step.id, step.run.owner, extra={"action": "lose_lease"}
                )
                work.task.cancel()
        elif step.claim:
            origin = self._claim_read(step.id)
            if not self._stopping:  # else `stop` hands it over
                self._begin(_Work(step.id, step.run, origin), after=None if work is None else work.task)

    def _passed_over(self, step: Step) -> None:
        if step.writer != self.owner:
            return
        if step.claim:
            self._claim_read(step.id)
        end = self._leases.end_of(step.id)
        if end is not None and step.run != end:
            # Our record came after the end and would be what compaction keeps.
            self._spawn(self._write(step.id, end), f"mend {step.id}")

    # ---- leases

    def _claim(self, id_: str, run: Run) -> asyncio.Task[None]:
        """Claims a run: the claim is on `runs` when the task is done; whether it won is known when it is read back."""
        replaces = self._leases.replaces(id_)
        claim = b"" if replaces is None else b"%d" % replaces
        run = msgspec.structs.replace(run, owner=self.owner, lease_until=self._until())

        def written(task: asyncio.Task[None]) -> None:
            if not task.cancelled() and (error := task.exception()) is not None:
                logger.error("The run %s cannot be claimed: %s", id_, error, extra={"action": "claim"})
                self._claim_read(id_)

        task = asyncio.create_task(self._write(id_, run, (CLAIM, claim)), name=f"claim {id_}")
        task.add_done_callback(written)
        self._claims[id_] = task
        self._settled.clear()
        return task

    def _claim_read(self, id_: str) -> ConsumerRecord | None:
        """Notes that a claim is over, won or lost; answers the tick it was made for, if there was one."""
        self._claims.pop(id_, None)
        if not self._claims:
            self._settled.set()
        return self._origins.pop(id_, None)

    def _until(self) -> datetime:
        return now() + timedelta(seconds=self._lease_s)

    async def _renew(self, work: "_Work") -> None:
        while True:
            await asyncio.sleep(self._lease_s / 3)
            await self._save(work)

    async def _watch(self) -> None:
        forget_at = asyncio.get_running_loop().time() + _FORGET_S
        while True:
            await asyncio.sleep(min(self._lease_s / 10, 1.0))
            for id_, lease in self._leases.expired(now()):
                if (
                    self._stopping
                    or self.failed is not None
                    or len(self._works) + len(self._claims) >= self._concurrency
                ):
                    break
                if id_ not in self._works and id_ not in self._claims:
                    logger.info(
                        "The run %s was left behind by %s and is taken over.",
                        id_,
                        lease.run.owner or "a runner that stopped",
                        extra={"action": "take_over"},
                    )
                    abandoned = lease.run.owner is not None
                    takeovers = lease.run.takeovers + abandoned
                    self._claim(id_, msgspec.structs.replace(lease.run, takeovers=takeovers))
            if asyncio.get_running_loop().time() > forget_at:
                self._leases.forget_old(now())
                forget_at += _FORGET_S

    # ---- the work

    def _begin(self, work: "_Work", after: asyncio.Task[None] | None) -> None:
        def ended(task: asyncio.Task[None]) -> None:
            if self._works.get(work.id) is work and not self._stopping:  # `stop` asks what became of each
                del self._works[work.id]
            if not task.cancelled() and (error := task.exception()) is not None:
                logger.error("The run %s was dropped.", work.id, exc_info=error, extra={"action": "run"})

        self._works[work.id] = work
        work.task = asyncio.create_task(self._do(work, after), name=f"run {work.id}")
        work.task.add_done_callback(ended)

    async def _do(self, work: "_Work", after: asyncio.Task[None] | None) -> None:
        renew = asyncio.create_task(self._renew(work), name=f"renew {work.id}")
        try:
            if after is not None:  # our own former try at the same run
                await asyncio.wait([after])
            await self._carry_out(work)
        except Exception:  # the supervisor of one run: whatever is wrong with it must not touch the others
            logger.exception("The run %s failed.", work.id, extra={"action": "run"})
            await self._end(work, "failed", "the runner failed; its log says why")
        finally:
            renew.cancel()
            await asyncio.gather(renew, return_exceptions=True)

    async def _carry_out(self, work: "_Work") -> None:
        if work.run.takeovers > MAX_TAKEOVERS:
            await self._end(work, "failed", f"given up: {MAX_TAKEOVERS} runners ended while they worked on it")
            return
        configuration = await self._configuration(work.run.configuration)
        if configuration is None:
            error = self._unknown(work.run.configuration)
            await self._bury_run(work, error)
            await self._end(work, "refused", error)
            return
        names, why = self._pull_producers(configuration)
        if not names:
            await self._end(work, "refused", why)
            return
        kept = {part.producer: part for part in work.run.producers if part.state in ("done", "failed")}
        work.parts = {name: kept.get(name) or ProducerRun(producer=name) for name in names}
        async with asyncio.TaskGroup() as group:
            for name in names:
                if name not in kept:
                    group.create_task(self._do_part(work, name))
        failed = sorted(part.producer for part in work.parts.values() if part.state == "failed")
        await self._end(work, "failed" if failed else "done")

    async def _configuration(self, name: str) -> Configuration | None:
        """The configuration, waited for if it is not known yet."""
        deadline = asyncio.get_running_loop().time() + self._unknown_wait_s
        try:
            async with asyncio.timeout_at(deadline):
                while name not in self._definitions.catalog.configurations:
                    await self._changed.wait()
        except TimeoutError:
            return None
        return self._definitions.catalog.configurations.get(name)

    def _unknown(self, name: str) -> str:
        problem = self._definitions.catalog.problems.get(f"configuration/{name}")
        return f"there is no configuration {name!r}" if problem is None else f"configuration {name}: {problem}"

    def _pull_producers(self, configuration: Configuration) -> tuple[list[str], str]:
        """The names of the producers to ask, in order, or why there is none."""
        if not configuration.spec.enabled:
            return [], "the configuration is disabled"
        catalog = self._definitions.catalog
        # One that cannot be used stays in: the run must say so, not pass over it.
        names = [name for name in configuration.spec.producers if _pulls(catalog, name)]
        return names, "the configuration has no producer that can be asked for messages"

    async def _do_part(self, work: "_Work", name: str) -> None:
        async with self._slots:
            work.begun = True
            work.parts[name] = ProducerRun(producer=name, started_at=now())
            assert self._producing is not None  # since the start
            produced, error = await self._producing.ask(name)
            items = read_items(produced, work.id, name, work.run.configuration)
            messages = [item for item in items if item.error is None]
            await self._write_all(MESSAGES.name, [(item.key, item.value or b"") for item in messages])
            await self._bury_items(work, name, items)
            error = error or sum_up(items)
            work.parts[name] = ProducerRun(
                producer=name,
                state="done" if error is None else "failed",
                messages=len(messages),
                error=error,
                started_at=work.parts[name].started_at,
                ended_at=now(),
            )
            if error is not None:
                logger.warning(
                    "The producer %s failed in the run %s: %s", name, work.id, error, extra={"action": "produce"}
                )
            await self._save(work)

    async def _save(self, work: "_Work") -> None:
        """Writes the run as far as it is, with a new lease."""
        async with work.lock:
            if work.run.state == "running":
                parts = tuple(work.parts.values()) or work.run.producers
                work.run = msgspec.structs.replace(work.run, producers=parts, lease_until=self._until())
                await self._write(work.id, work.run)

    async def _end(self, work: "_Work", state: State, error: str | None = None) -> None:
        async with work.lock:  # a renewal that is on its way goes first
            work.run = msgspec.structs.replace(
                work.run,
                state=state,
                producers=tuple(work.parts.values()) or work.run.producers,
                error=error,
                lease_until=None,
                ended_at=now(),
            )
            await self._write(work.id, work.run)
        logger.info("The run %s is %s%s.", work.id, state, f": {error}" if error else "", extra={"action": "end_run"})

    # ---- dead letters

    async def _bury_tick(self, record: ConsumerRecord, error: RecordError | UnknownName) -> None:
        await self._bury(
            DeadLetter.of_record(
                record,
                stage="run",
                reason=error.reason if isinstance(error, RecordError) else "unknown_configuration",
                error=str(error)[:MAX_ERROR_CHARACTERS],
            )
        )

    async def _bury_run(self, work: "_Work", error: str) -> None:
        """The tick of a run whose configuration is not there; its id is the run's, however often this is done."""
        run, origin = work.run, work.origin
        tick = Tick(configuration=run.configuration, scheduled_at=run.scheduled_at, trigger=run.trigger)
        await self._bury(
            DeadLetter(
                id=work.id,
                stage="run",
                reason="unknown_configuration",
                error=error,
                topic=self._settings.topic_prefix + TICKS.name,
                at=now(),
                # Where the tick lies is known only to the runner that read it.
                partition=None if origin is None else origin.partition,
                offset=None if origin is None else origin.offset,
                timestamp=None if origin is None else kafka_time(origin.timestamp),
                key=run.configuration,
                value=tick.encode().decode(),
            )
        )

    async def _bury_items(self, work: "_Work", producer: str, items: Iterable[Item]) -> None:
        """What a producer gave and is no message: with the id, key and topic that it would have had as one."""
        letters = [
            DeadLetter(
                id=item.id,
                stage="run",
                reason=item.reason,
                error=f"producer {producer}: {item.error}",
                topic=self._settings.topic_prefix + MESSAGES.name,
                at=now(),
                key=item.key,
                value=None if item.value is None else item.value.decode(),
            )
            for item in items
            if item.error is not None
        ]
        await self._bury(*letters)

    async def _bury(self, *letters: DeadLetter) -> None:
        await self._write_all(DEAD_LETTERS.name, [(letter.id, letter.encode()) for letter in letters])
        for letter in letters:
            logger.warning("%s is a dead letter: %s", letter.id, letter.error, extra={"action": "dead_letter"})

    # ---- Kafka

    async def _write(self, id_: str, run: Run, *headers: tuple[str, bytes]) -> None:
        """Writes a state of a run on `runs`; returns when Kafka has it."""
        await self._writer.write(RUNS.name, id_, run.encode(), ((OWNER, self.owner.encode()), *headers))

    async def _write_all(self, topic: str, records: Sequence[tuple[str | None, bytes]]) -> None:
        """Writes records; those of one key, which share a partition, one after another, so that they keep their order."""

        async def in_order(key: str | None, values: Sequence[bytes]) -> None:
            for value in values:
                await self._writer.write(topic, key, value)

        for start in range(0, len(records), _CHUNK):
            lanes: dict[object, tuple[str | None, list[bytes]]] = {}
            for number, (key, value) in enumerate(records[start : start + _CHUNK]):
                lanes.setdefault(number if key is None else key, (key, []))[1].append(value)
            async with asyncio.TaskGroup() as group:
                for key, values in lanes.values():
                    group.create_task(in_order(key, values))

    def _definitions_changed(self, catalog: Catalog) -> None:
        if not self._stopping:
            assert self._producing is not None
            self._producing.change(catalog)
            changed, self._changed = self._changed, asyncio.Event()
            changed.set()


class _Work:
    """A run that this runner holds."""

    task: asyncio.Task[None]

    def __init__(self, id_: str, run: Run, origin: ConsumerRecord | None) -> None:
        self.id = id_
        self.run = run  # as last written
        self.origin = origin  # its tick, where this runner read it
        self.parts: dict[str, ProducerRun] = {}  # by producer, in the configuration's order
        self.begun = False  # whether a producer was asked
        self.lock = asyncio.Lock()  # held over a write, so that states lie on `runs` in the order they were made in


def _read_tick(record: ConsumerRecord) -> Tick:
    """The tick that a record holds. Raises RecordError, or UnknownName for what no configuration can be called."""
    tick = Tick.decode(record.value or b"")
    try:
        check_name("configuration", tick.configuration)
    except InputError:
        raise UnknownName("configuration", tick.configuration[:100]) from None
    try:
        assert tick.id
    except OverflowError:  # a time of the year 1 or 9999 that is in another year in UTC
        raise InvalidRecord("`scheduled_at` is out of range", record.value) from None
    return tick


def _pulls(catalog: Catalog, name: str) -> bool:
    plugin = catalog.producers.get(name)
    return plugin is None or plugin.pull
