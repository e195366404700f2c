"""Delivery: hands deliveries to consumers, records every try, tries again, and gives up in the end.

Here is the life of one worker of the group: reading, back-pressure, rebalances, commits, and the loading of ledgers. The work
of a partition is `streams.delivery.partition`'s. A plain Kafka consumer with lanes, not a Faust agent, on purpose: a call that
hangs would hang an agent's rebalance, and with it the whole group. What delivery guarantees:

* At least once. An offset is committed only when its delivery is finished: its last Attempt, and where there is one its dead
  letter or its parked record, is on the topic with acks=all. After a crash only what was in flight is sent again.
* The same id is sent once within a day and a million ids. `attempts` tell which were accepted (`streams.delivery.ledger`).
* Equal lanes of a partition in order, different lanes at the same time. A lane waits for its head for `lane_wait_s`, or as
  long as the service itself asked for; then the head is parked and may be overtaken.
* A consumer that hangs delays its own lane; a service that is down delays its own consumer.
* An orderly stop or a rebalance waits for what is in flight and commits it.
"""

import asyncio
import gc
import logging
import math
import re
import time
from collections.abc import Iterable, Sequence
from contextlib import AsyncExitStack
from functools import partial

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError

from notifier.catalog import Catalog
from notifier.ending import end
from notifier.kafka import ensure_topics
from notifier.network import Network
from notifier.registry import Registry
from notifier.role import run_role
from notifier.sandbox import Level, Sandbox, detect_sandbox
from notifier.seal import load_seal
from notifier.settings import Settings
from notifier.status import CHAT
from notifier.topics import ATTEMPTS, DEAD_LETTERS, DELIVERIES, PARKED, STATUS
from notifier.wish import LINK, WISH
from streams.definitions import Definitions
from streams.delivery.assignor import Assignor
from streams.delivery.board import Board
from streams.delivery.calling import Calling
from streams.delivery.consumers import Consumers
from streams.delivery.deleted_topics import drop_drained_topics
from streams.delivery.group import GROUP, POLL_MS, OnRebalance, divide_anew, group_consumer
from streams.delivery.holds import Holds
from streams.delivery.ledger import Ledgers, Unread
from streams.delivery.listening import Listening
from streams.delivery.moved import Moved
from streams.delivery.notices import Notices
from streams.delivery.parking import Parking
from streams.delivery.partition import Partition
from streams.delivery.past_sends import recall
from streams.delivery.pauses import Pauses
from streams.delivery.recording import Recording
from streams.delivery.rereading import reread
from streams.outputs.outputs import Outputs
from streams.outputs.partitioner import hashed
from streams.registry import load_registry
from streams.reporting import reported
from streams.writer import Writer

logger = logging.getLogger(__name__)

FETCHED_AT_ONCE = 1000  # records
COMMIT_INTERVAL_S = 0.5
REVOKE_WAIT_S = 5.0  # for calls in flight before partitions may go to another worker; well under the rebalance timeout
HUNG_S = 3.0  # a call in flight for longer is not waited for then: it would hold up the deliveries of the whole group
STOP_WAIT_S = 20.0  # for calls in flight on an orderly stop, before a supervisor loses patience (30 s)
_RETRY_S = 1.0


class DeliveryWorker:
    """One worker of the group; `run` is its life."""

    def __init__(
        self, settings: Settings, definitions: Definitions, sandbox: Sandbox, ledgers: Ledgers | None = None
    ) -> None:
        self._settings = settings
        self._definitions = definitions
        self._sandbox = sandbox
        self._writer = Writer(settings, hashed)
        self._moved = Moved(self._writer)
        network = Network(allowed=settings.allowed_addresses)
        self._calling = Calling(
            sandbox, definitions.catalog, settings.services, network, self._moved, settings.topic_prefix
        )
        self._board = Board(settings)
        self._outputs = Outputs(settings)
        self._recording = Recording(self._writer, self._outputs)
        self._notices = Notices(settings.operators_consumer, self._writer)
        self._pauses = Pauses(settings, self._writer, self._board, self._notices, self._go_on)
        holds = Holds(settings.retry_schedule_s, self._pauses.begin, self._pauses.end)
        self.ledgers = ledgers or Ledgers(settings)
        self._consumers = Consumers(definitions.catalog, definitions.written_at, holds, self.ledgers.accepted)
        self._parking = Parking(settings, self._consumers)
        self._partitions: dict[TopicPartition, Partition] = {}  # that are ours
        self._unread: dict[TopicPartition, Unread] = {}  # whose ledgers are to be read
        self._read_ledgers = asyncio.Event()
        self._generation = 0  # of the assignment
        self._stopping = False
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._kafka: AIOKafkaConsumer | None = None
        self._listening = Listening(
            settings=settings, calling=self._calling, writer=self._writer, catalog=definitions.catalog
        )
        self._board.others = {
            LINK: self._listening.replies.take,
            WISH: self._listening.replies.take,
            CHAT: lambda key, value: self._moved.take(key.removeprefix(f"{CHAT}/"), value),
        }
        topics = settings.topic_prefix + DELIVERIES
        self._assignor = Assignor(lambda topic: self._calling.credential(topic.removeprefix(topics)))

    async def run(self, stop: asyncio.Event) -> None:
        """Works until `stop` is set, then ends in order. Raises what makes going on impossible."""
        await ensure_topics(self._settings, [ATTEMPTS, PARKED, DEAD_LETTERS, STATUS])
        await self._definitions.load()
        self._definitions.on_change(self._change)
        # As in the router: what is there now stays, and a batch of deliveries is thousands of objects that end together.
        gc.collect()
        gc.freeze()
        gc.set_threshold(10_000, 5, 5)
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self._calling.close)
            stack.push_async_callback(self._writer.close)
            stack.push_async_callback(self._outputs.stop)
            attempts = asyncio.create_task(self.ledgers.run(), name="attempts")
            stack.push_async_callback(end, attempts)  # not before what asks it has ended
            stack.push_async_callback(self._end)
            board = asyncio.create_task(self._board.run(), name="board")
            stack.push_async_callback(end, board)
            await self._board.load()
            self._pauses.hear_all(self._consumers)
            self._moved.forget_older(self._consumers)
            self._board.heard = partial(self._pauses.hear, consumers=self._consumers)
            tasks = [
                board,
                asyncio.create_task(self._pauses.run(self._consumers, self._led), name="pauses"),
                asyncio.create_task(self._listening.run(self._led), name="listening"),
                asyncio.create_task(self._follow(), name="deliver"),
                asyncio.create_task(self._parking.run(), name="parking"),
                asyncio.create_task(self._load_ledgers(), name="ledgers"),
                asyncio.create_task(reread(self._settings, lambda: self._partitions.values()), name="read again"),
                asyncio.create_task(self._watch_definitions(), name="definitions"),
            ]
            stack.push_async_callback(end, *tasks)
            stopped = asyncio.create_task(_wait(stop))
            stack.push_async_callback(end, stopped)
            safe = self._sandbox.level in (Level.bubblewrap, Level.landlock)
            logger.log(
                logging.INFO if safe else logging.WARNING,
                "Scripts: %s",
                self._sandbox.explanation,
                extra={"action": "detect_sandbox"},
            )
            logger.info("Delivery has started.", extra={"action": "start"})
            waited: list[asyncio.Future[None]] = [*tasks, attempts, stopped, self._failed]
            done, _ = await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
            self._stopping = stop.is_set()
            for ended in done - {stopped}:
                ended.result()  # raises: only a failure ends them
        logger.info("Delivery has stopped.", extra={"action": "stop"})

    async def _watch_definitions(self) -> None:
        while self._definitions.failed is None:  # noqa: ASYNC110 - the follower has no event for it
            await asyncio.sleep(1.0)
        raise self._definitions.failed

    def _change(self, catalog: Catalog) -> None:
        """Takes a new catalog, and wakes what waits for something that it changes."""
        changed, users = self._consumers.follow(catalog)
        self._calling.change(catalog)
        self._moved.forget(changed)
        self._notices.follow(catalog)
        self._listening.follow(catalog)
        self._parking.follow(changed, users)
        for partition in self._partitions.values():
            partition.follow(changed)

    def _go_on(self, consumer: str) -> None:
        """A consumer is not paused any more: what waits for it goes on."""
        for partition in self._partitions.values():
            if partition.consumer == consumer:
                partition.lanes.forget_waits()

    def _led(self) -> list[str]:
        """The consumers for which this worker does what is to be done once."""
        owned = self._partitions.items()
        return [one.consumer for place, one in owned if place.partition == 0 and not one.lanes.halted]

    @property
    def notice(self) -> str | None:
        """What a worker that works has to say to people."""
        return "; ".join(filter(None, (self.ledgers.notice, self._listening.notice))) or None

    def _fail(self, error: BaseException) -> None:
        if not self._failed.done():
            self._failed.set_exception(error)

    async def _end(self) -> None:
        for partition in self._partitions.values():
            await partition.lanes.cancel()
        await self._recording.finish()
        await self._pauses.finish()
        await self._moved.finish()
        self._failed.cancel()

    # --- reading ---

    async def _follow(self) -> None:
        topics = self._settings.topic_prefix + DELIVERIES
        while True:
            async with AsyncExitStack() as stack:
                # Metadata is fetched every second, so that the topic of a new consumer is found.
                kafka = group_consumer(
                    self._settings,
                    GROUP,
                    metadata_max_age_ms=1_000,
                    partition_assignment_strategy=[self._assignor],
                )
                stack.push_async_callback(kafka.stop)
                stack.push_async_callback(self._leave, kafka)
                kafka.subscribe(
                    pattern=f"^{re.escape(topics)}.+", listener=OnRebalance(take=self._take, let_go=self._let_go)
                )
                try:
                    await kafka.start()
                    self._kafka = kafka
                    await self._read(kafka)
                except (KafkaError, OSError) as error:
                    logger.warning(
                        "Deliveries cannot be read now; trying again: %s: %s",
                        type(error).__name__,
                        error,
                        extra={"action": "deliver"},
                    )
            await asyncio.sleep(_RETRY_S)

    async def _leave(self, kafka: AIOKafkaConsumer) -> None:
        if self._kafka is kafka:
            await self._let_go()
            self._kafka = None

    async def _read(self, kafka: AIOKafkaConsumer) -> None:
        commit_at = maintain_at = 0.0
        while True:
            fetched = await kafka.getmany(timeout_ms=POLL_MS, max_records=FETCHED_AT_ONCE)
            for topic_partition, records in fetched.items():
                self._take_in(topic_partition, records)
            self._balance(kafka)
            if time.monotonic() >= commit_at:
                await self._commit(kafka)
                commit_at = time.monotonic() + COMMIT_INTERVAL_S
            if time.monotonic() >= maintain_at:
                if self._assignor.is_outdated():
                    divide_anew(kafka)
                await drop_drained_topics(self._settings, self._consumers.standings, kafka, self._partitions.values())
                maintain_at = time.monotonic() + 1.0

    def _take_in(self, topic_partition: TopicPartition, records: Sequence[ConsumerRecord]) -> None:
        partition = self._partitions.get(topic_partition)
        if partition is None or partition.lanes.halted:
            return
        if not partition.lanes.opened and topic_partition not in self._unread:
            self._unread[topic_partition] = Unread(records[0].offset, min(record.timestamp for record in records))
            self._read_ledgers.set()
        partition.take_in(records)

    def _balance(self, kafka: AIOKafkaConsumer) -> None:
        """Back-pressure: pauses fetching of partitions that are full, and resumes it where they have been worked off."""
        paused = kafka.paused()
        for topic_partition, partition in self._partitions.items():
            if partition.lanes.full:
                partition.relieve()
            if partition.lanes.full:
                if topic_partition not in paused and topic_partition in kafka.assignment():
                    kafka.pause(topic_partition)
            elif topic_partition in paused and partition.lanes.relaxed:
                kafka.resume(topic_partition)

    async def _load_ledgers(self) -> None:
        """Reads the ledgers of new partitions and then lets their lanes begin."""
        while True:
            await self._read_ledgers.wait()
            await asyncio.sleep(0.05)  # after a rebalance many partitions ask at once: one reading serves all
            self._read_ledgers.clear()
            wanted = {
                topic_partition: (partition.ledger, unread)
                for topic_partition, unread in self._unread.items()
                if not (partition := self._partitions[topic_partition]).lanes.opened
            }
            generation = self._generation
            if wanted:
                await self.ledgers.load(wanted)
                consumers = {self._partitions[partition].consumer for partition in wanted.keys() & self._unread.keys()}
                await recall(self._settings, self._consumers.pacing, consumers, self._definitions.catalog)
            if generation == self._generation:  # else another worker may have had the partitions meanwhile
                for topic_partition in wanted.keys() & self._unread.keys():
                    del self._unread[topic_partition]
                    self._partitions[topic_partition].lanes.open()

    # --- the group ---

    async def _take(self, assigned: Iterable[TopicPartition]) -> None:
        """These partitions are ours now, and no others. One that was ours before keeps its ledger and its calls in flight."""
        before, self._partitions = self._partitions, {}
        for topic_partition in assigned:
            partition = before.get(topic_partition)
            if partition is None:
                partition = Partition(
                    topic_partition, self._settings, self._recording, self._calling, self._consumers, self._fail
                )
            else:
                partition.resume()
            self._partitions[topic_partition] = partition
        self._consumers.pacing.keep(
            {self._calling.credential(partition.consumer) for partition in self._partitions.values()}
        )
        self._unread = {}
        self._generation += 1
        for topic_partition, partition in before.items():
            if topic_partition not in self._partitions:
                await partition.lanes.cancel()

    async def _let_go(self) -> None:
        """The partitions may go to others: begins nothing new, waits for what is in flight, commits what is finished."""
        for partition in self._partitions.values():
            partition.lanes.halt()
        self._unread = {}
        timeout_s, hung_s = (STOP_WAIT_S, math.inf) if self._stopping else (REVOKE_WAIT_S, HUNG_S)
        await asyncio.gather(*(partition.lanes.wait_idle(timeout_s, hung_s) for partition in self._partitions.values()))
        if self._kafka is not None:
            await self._commit(self._kafka)

    async def _commit(self, kafka: AIOKafkaConsumer) -> None:
        offsets = {
            topic_partition: offset
            for topic_partition, partition in self._partitions.items()
            if (offset := partition.to_commit()) is not None
        }
        if not offsets:
            return
        try:
            async with asyncio.timeout(5.0):
                await kafka.commit(offsets)
        except (CommitFailedError, IllegalStateError) as error:
            # The group is changing. The next owner of these records finds in the ledger that they are finished.
            logger.info("Offsets were not committed: %s", error, extra={"action": "commit"})
        except (KafkaError, TimeoutError) as error:
            logger.warning(
                "Offsets cannot be committed now: %s: %s", type(error).__name__, error, extra={"action": "commit"}
            )
        else:
            for topic_partition, offset in offsets.items():
                if topic_partition in self._partitions:
                    self._partitions[topic_partition].commit_succeeded(offset)


async def _wait(event: asyncio.Event) -> None:
    await event.wait()


async def run_delivery(
    settings: Settings,
    *,
    stop: asyncio.Event,
    registry: Registry | None = None,
    sandbox: Sandbox | None = None,
    ledgers: Ledgers | None = None,
) -> None:
    """One delivery worker, until `stop` is set; then it finishes what is in flight, commits and leaves its group.

    `registry` and `sandbox` default to the installed plugins and the strongest sandbox of this machine. Raises NotifierError
    where it cannot go on: no broker at the start, a secret key missing, a damaged ledger, or a record newer than this program.
    """
    seal = load_seal(settings)
    definitions = Definitions(settings, Catalog(registry=registry or load_registry(), seal=seal))
    if sandbox is None:
        sandbox = await asyncio.to_thread(detect_sandbox, settings)
    worker = DeliveryWorker(settings, definitions, sandbox, ledgers)
    try:
        async with reported(settings, ["delivery"], definitions, lambda: worker.notice):
            await worker.run(stop)
    finally:
        await definitions.stop()


def run_delivery_process(settings: Settings, registry: Registry | None = None) -> int:
    """Runs a delivery worker as this process; returns the exit status."""
    return run_role(settings, "delivery", lambda stop: run_delivery(settings, stop=stop, registry=registry))
