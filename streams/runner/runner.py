"""The runner: takes ticks on as runs, holds their leases and takes over the runs of runners that died.

A tick is acknowledged once its run is on `runs` with a lease; so the Faust agent only hands over ticks, and the work happens
beside it. Left to others: how leases are won and lost (`streams.runner.leases`), the log of runs (`.run_log`), the work itself
(`.work`), and what is said of sources (`.source_states`).

Guarantee: at least once. A run on `runs` is done by some runner, whichever of them die: an expired lease is taken over, and
the producers that had not finished are asked again. Messages carry ids made of their tick's, so a repeat is recognised
downstream. An item without an id of its own is known by its position: a script whose output changes between two tries of one
run should give ids.
"""

import asyncio
import logging
import secrets
import socket
from collections.abc import Coroutine, Sequence
from typing import Any

import msgspec
from aiokafka import ConsumerRecord

from notifier.catalog import Catalog
from notifier.definition import check_name
from notifier.ending import end
from notifier.errors import InputError, RecordError, UnknownName, UnsupportedVersion
from notifier.kafka import ensure_topics
from notifier.network import Network
from notifier.record import now
from notifier.run import Run
from notifier.sandbox import Level, Sandbox, detect_sandbox
from notifier.settings import Settings
from notifier.tick import Tick
from notifier.topics import CURSORS, DEAD_LETTERS, MESSAGES, RUNS, TICKS
from streams.definitions import Definitions
from streams.runner.claims import Claims
from streams.runner.cursors import Cursors
from streams.runner.dead_letters import DeadLetters
from streams.runner.following import Following
from streams.runner.leases import Lease, Leases, Transition
from streams.runner.pauses import Pauses
from streams.runner.producing import CONCURRENCY, Producing
from streams.runner.run_log import RunLog
from streams.runner.source_states import SourceStates
from streams.runner.turns import Turns
from streams.runner.work import OwnedRun, RunWork, Told
from streams.writer import Writer

logger = logging.getLogger(__name__)

LEASE_S = 30.0  # how long a run stays its owner's after the owner's last record
UNKNOWN_WAIT_S = 10.0  # for a tick's configuration: a tick comes straight, a definition by way of the outbox
_FORGET_S = 3600.0


class Runner:
    """Does runs. Give it the records of `ticks`, batch by batch, by `accept`; any number of runners share the work.

    `failed` says why it ended for good (a record on `runs` is newer than this program); the role is then not ready.
    """

    def __init__(
        self,
        settings: Settings,
        definitions: Definitions,
        sandbox: Sandbox | None = None,  # None: the best that this machine has, found at the start
        *,
        lease_s: float = LEASE_S,
        concurrency: int = CONCURRENCY,
        unknown_wait_s: float = UNKNOWN_WAIT_S,
    ) -> None:
        self.owner = f"{socket.gethostname()}-{secrets.token_hex(4)}"  # its name on `runs`; new with each start
        self.failed: Exception | None = None
        self.worked = 0  # ticks that were taken on, ever
        self._settings = settings
        self._definitions = definitions
        self._sandbox = sandbox
        self._concurrency = concurrency
        self._unknown_wait_s = unknown_wait_s
        self._writer = Writer(settings)
        self._sources = SourceStates(settings, self._writer)
        self._run_log = RunLog(settings, self._writer, owner=self.owner, lease_s=lease_s)
        self._dead_letters = DeadLetters(settings, self._writer)
        self._leases = Leases()
        self._pauses = Pauses(settings, self._writer)
        self._told = Told(
            cursors=Cursors(settings, self._writer), turns=Turns(self._leases, self._run_log), pauses=self._pauses
        )
        self._work: RunWork | None = None
        self._following: Following | None = None
        self._owned: dict[str, OwnedRun] = {}
        self._claims = Claims(self._run_log, self._leases)
        self._writes: set[asyncio.Task[None]] = set()  # other writes under way
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = False

    @property
    def busy(self) -> int:
        """The number of runs that it holds."""
        return len(self._owned)

    async def start(self) -> None:
        """Reads the definitions and `runs` to their ends, then watches for runs whose leases expire.

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
        await ensure_topics(self._settings, [TICKS, RUNS, CURSORS, MESSAGES, DEAD_LETTERS])
        producing = Producing(
            self._sandbox,
            await self._definitions.load(),
            self._settings.services,
            Network(allowed=self._settings.allowed_addresses),
            files=self._settings.files,
            concurrency=self._concurrency,
            sources=self._sources,
        )
        self._following = Following(self._settings, producing, self._writer, self._pauses, self._sources.tell)
        self._work = RunWork(
            self._definitions,
            producing,
            self._writer,
            self._dead_letters,
            self._told,
            unknown_wait_s=self._unknown_wait_s,
        )
        self._sources.change(self._definitions.catalog)
        self._definitions.on_change(self._definitions_changed)
        self._supervise(self._told.cursors.follow(), "cursors")
        follow = self._supervise(self._follow(), "runs")
        read_up = asyncio.create_task(self._run_log.read_up.wait())
        await asyncio.wait([follow, read_up], return_when=asyncio.FIRST_COMPLETED)
        read_up.cancel()
        if self.failed is not None:
            await self.stop(0)
            raise self.failed
        self._leases.forget_old(now())
        self._supervise(self._watch(), "watch leases")
        self._supervise(self._pauses.follow(), "pauses")
        self._following.begin(self._definitions.catalog)
        self._supervise(self._sources.follow(), "follow sources")
        self._supervise(self._sources.write(), "report sources")

    async def accept(self, records: Sequence[ConsumerRecord]) -> None:
        """Takes ticks on: returns once each is a run on `runs` or a dead letter, acknowledged by Kafka.

        Quick: no producer is asked here. Skips ticks whose run exists, so the same tick twice is one run; only a refused run,
        which did nothing, is judged again. Raises nothing for the content of a record, and retries while Kafka is away. Safe
        to cancel: the same records, accepted again, complete what was left undone.
        """
        if self._stopping:
            raise RuntimeError("the runner has been stopped: end the agent before it")
        await self._run_log.read_up.wait()
        writes: list[asyncio.Task[None]] = []
        for record in records:
            try:
                tick = _read_tick(record)
            except (RecordError, UnknownName) as error:
                writes.append(self._spawn(self._dead_letters.bury_tick(record, error), "bury a tick"))
                continue
            claim = self._claims.get(tick.id)
            if claim is None and self._leases.open(tick.id):
                run = Run(
                    configuration=tick.configuration,
                    scheduled_at=tick.scheduled_at,
                    trigger=tick.trigger,
                    started_at=now(),
                )
                claim = self._claims.claim(tick.id, run, record)
            if claim is not None:
                writes.append(claim)
        for write in writes:
            await asyncio.shield(write)  # a claim goes on when the agent is cancelled; its record will come again
            self.worked += 1

    async def stop(self, timeout_s: float = 20.0) -> None:
        """Ends in order: runs at work may end within `timeout_s` seconds; the others are handed over at once.

        A run that is handed over has no owner on `runs`, so the next runner goes on with it.
        """
        if self._stopping:
            return
        self._stopping = True
        self._pauses.stop()
        if self._following is not None:
            await self._following.stop()
        for owned in list(self._owned.values()):
            if not owned.begun:
                owned.task.cancel()
        if self._owned:
            await asyncio.wait([owned.task for owned in self._owned.values()], timeout=timeout_s)
        await end(*[owned.task for owned in self._owned.values()])
        if self.failed is None:
            # `runs` is still followed: a claim of a moment ago is ours, to be handed over, once it was read back.
            await self._claims.wait_until_read_back(2.0)
        await self._told.cursors.close()
        await end(*[*self._tasks, *self._claims.writes(), *self._writes])
        self._tasks.clear()
        try:
            async with asyncio.timeout(max(timeout_s, 5.0)):
                await self._hand_over()
                await self._writer.close()
        except TimeoutError:
            logger.warning(
                "Kafka does not answer, so runs may not be handed over; they go on elsewhere once their leases end.",
                extra={"action": "stop_runner"},
            )
        if self._work is not None:
            await self._work.close()

    async def _hand_over(self) -> None:
        writes = []
        for id_ in self._leases.held_by(self.owner):
            lease, owned = self._leases.get(id_), self._owned.get(id_)
            assert lease is not None
            run = lease.run if owned is None else owned.run
            if run.state == "running":
                writes.append(self._run_log.write(id_, msgspec.structs.replace(run, owner=None, lease_until=now())))
        await asyncio.gather(*writes)

    # --- tasks ---

    def _supervise(self, loop: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """A task that lives until `stop`; an error in it ends the runner for good."""
        task = asyncio.create_task(loop, name=name)
        task.add_done_callback(self._loop_ended)
        self._tasks.append(task)
        return task

    def _loop_ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self.failed = error if isinstance(error, Exception) else RuntimeError(repr(error))
            logger.critical(
                "The runner cannot go on: %s ended.", task.get_name(), exc_info=error, extra={"action": "run"}
            )

    def _spawn(self, write: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """A write in a task of its own, because its caller may be cancelled."""
        task = asyncio.create_task(write, name=name)
        self._writes.add(task)
        task.add_done_callback(self._writes.discard)
        return task

    def _definitions_changed(self, catalog: Catalog) -> None:
        if not self._stopping:
            assert self._work is not None
            self._work.change(catalog)
            if self._following is not None and self._following.begun:
                self._following.begin(catalog)
            self._spawn(self._pauses.change(catalog), "forget pauses")

    # --- following `runs` ---

    async def _follow(self) -> None:
        try:
            await self._run_log.follow(self._apply)
        except UnsupportedVersion as error:
            self.failed = error
            logger.critical(
                "The runs are newer than this program: %s. Update it.", error, extra={"action": "follow_runs"}
            )

    def _apply(self, record: ConsumerRecord) -> None:
        transition = self._leases.apply(record)
        if transition is not None and transition.taken:
            self._taken(transition)
        elif transition is not None:
            self._passed_over(transition)

    def _taken(self, transition: Transition) -> None:
        owned = self._owned.get(transition.id)
        if transition.writer != self.owner:
            if owned is not None:
                logger.warning(
                    "The run %s was taken over by %s.",
                    transition.id,
                    transition.run.owner,
                    extra={"action": "lose_lease"},
                )
                owned.task.cancel()
        elif transition.claim:
            origin = self._claims.close(transition.id)
            if not self._stopping:  # else `stop` hands it over
                fresh = OwnedRun(transition.id, transition.run, origin, self._run_log)
                self._begin(fresh, after=None if owned is None else owned.task)

    def _passed_over(self, transition: Transition) -> None:
        if transition.writer != self.owner:
            return
        if transition.claim:
            self._claims.close(transition.id)
        end = self._leases.end_of(transition.id)
        if end is not None and transition.run != end:
            # Our record came after the end, and compaction would keep it.
            self._spawn(self._run_log.write(transition.id, end), f"mend {transition.id}")

    def _begin(self, owned: OwnedRun, after: asyncio.Task[None] | None) -> None:
        def ended(task: asyncio.Task[None]) -> None:
            if self._owned.get(owned.id) is owned and not self._stopping:  # `stop` needs the state of each
                del self._owned[owned.id]
            if not task.cancelled() and (error := task.exception()) is not None:
                logger.error("The run %s was dropped.", owned.id, exc_info=error, extra={"action": "run"})

        assert self._work is not None
        self._owned[owned.id] = owned
        owned.task = asyncio.create_task(self._work.do(owned, after), name=f"run {owned.id}")
        owned.task.add_done_callback(ended)

    # --- taking over ---

    async def _watch(self) -> None:
        """Takes over runs whose leases have expired, while there is room for them."""
        clock = asyncio.get_running_loop().time
        forget_at = clock() + _FORGET_S
        while True:
            await asyncio.sleep(min(self._run_log.lease_s / 10, 1.0))
            for id_, lease in self._leases.expired(now()):
                # Those that wait for their turn may wait for the very runs that are to be taken over.
                busy = len(self._owned) - self._told.turns.waiting - self._pauses.held
                full = busy + len(self._claims) >= self._concurrency
                if full or self._stopping or self.failed is not None:
                    break
                if id_ not in self._owned and id_ not in self._claims:
                    self._take_over(id_, lease)
            if clock() > forget_at:
                self._leases.forget_old(now())
                forget_at += _FORGET_S

    def _take_over(self, id_: str, lease: Lease) -> None:
        owner = lease.run.owner
        logger.info(
            "The run %s was left behind by %s and is taken over.",
            id_,
            owner or "a runner that stopped",
            extra={"action": "take_over"},
        )
        takeovers = lease.run.takeovers + (owner is not None)
        self._claims.claim(id_, msgspec.structs.replace(lease.run, takeovers=takeovers))


def _read_tick(record: ConsumerRecord) -> Tick:
    """The tick of a record. Raises RecordError, or UnknownName where no configuration can have the name."""
    tick = Tick.decode(record.value or b"")
    try:
        check_name("configuration", tick.configuration)
    except InputError:
        raise UnknownName("configuration", tick.configuration[:100]) from None
    return tick
