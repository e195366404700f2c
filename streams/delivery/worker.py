"""Delivery: hands deliveries to consumers, records every try, tries again, and gives up in the end.

A plain Kafka consumer with lanes, not a Faust agent, on purpose: a call that hangs would hang an agent's rebalance, and with
it the whole group. What is guaranteed:

* At least once. An offset is committed only when its delivery is finished: its last Attempt, and where there is one its dead
  letter or its parked record, is on the topic with acks=all. After a crash only what was in flight is sent again.
* The same id is sent once. `attempts` is the ledger (`streams.delivery.ledger`).
* Equal lanes of a partition in order, different lanes at the same time. A lane waits for its head for `lane_wait_s`, or as
  long as the service itself asked for; then the head is parked and may be overtaken.
* A consumer that hangs delays its own lane; a service that is down delays its own consumer.
* An orderly stop or a rebalance waits for what is in flight and commits it.
"""

import asyncio
import logging
import math
import random
import re
import signal
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from traceback import format_exception
from typing import Any

import msgspec
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, ConsumerRecord, TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError

from consumers.text.template import Renderer
from notifier.attempt import Origin
from notifier.catalog import Catalog
from notifier.dead_letter import DeadLetter, Source
from notifier.delivery import Delivery, Why
from notifier.errors import InvalidRecord, NotifierError, Permanent, RecordTooLarge, TemplateFailed
from notifier.kafka import ensure_topics, kafka_admin, kafka_consumer
from notifier.outcome import Outcome, Reason
from notifier.plugin import Consumer, Context, Result
from notifier.record import kafka_time, now
from notifier.registry import Registry
from notifier.sandbox import Level, Sandbox, detect_sandbox
from notifier.seal import load_seal
from notifier.settings import Settings
from notifier.topics import ATTEMPTS, DEAD_LETTERS, DELIVERIES, PARKED
from streams.definitions import Definitions
from streams.delivery.lanes import Item, Lane, Lanes
from streams.delivery.ledger import SETTLED, Ledger, read_back
from streams.delivery.parking import Parking
from streams.delivery.recording import attempt_of
from streams.delivery.retry import decide, result_of
from streams.instances import Instances
from streams.registry import load_registry
from streams.writer import Writer

logger = logging.getLogger(__name__)

GROUP = "delivery"
CALLS = 32  # of one consumer at the same time, in one process
FETCHED_AT_ONCE = 1000  # records
COMMIT_INTERVAL_S = 0.5
REVOKE_WAIT_S = 5.0  # for calls in flight, before partitions may go to another worker; well under the rebalance timeout
HUNG_S = (
    3.0  # a call that has been going on for so long is not waited for then: it would hold up everybody's deliveries
)
STOP_WAIT_S = 20.0  # the same on an orderly stop, which must be over before a supervisor loses patience (30 s)
DROP_AFTER_S = 10.0  # a consumer must have been deleted for so long before its topic is dropped
BROKEN_WAIT_S = 5.0  # until a delivery is looked at again whose consumer cannot be used
_ENDED_AT_ONCE = 200  # deliveries that need no call
_POLL_MS = 200
_RETRY_S = 1.0


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka has no types
    def __init__(self, worker: "DeliveryWorker") -> None:
        self._worker = worker

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        await self._worker.let_go()

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        await self._worker.take(assigned)


class DeliveryWorker:
    """One worker of the group; `run` is its life."""

    def __init__(self, settings: Settings, definitions: Definitions, sandbox: Sandbox) -> None:
        self._settings = settings
        self._definitions = definitions
        self._sandbox = sandbox
        self._topics = settings.topic_prefix + DELIVERIES
        self._writer = Writer(settings)
        self._instances = Instances()
        self._renderer = Renderer()
        self._parking = Parking(settings, self._instances.standing)
        self._lanes: dict[TopicPartition, Lanes] = {}
        self._ledgers: dict[TopicPartition, Ledger] = {}
        self._committed: dict[TopicPartition, int] = {}
        self._unread: dict[TopicPartition, int] = {}  # whose ledger is to be read, and its first record's time in ms
        self._read_ledgers = asyncio.Event()
        self._generation = 0  # of the assignment
        self._stopping = False
        self._calls: defaultdict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(CALLS))
        self._late: set[asyncio.Task[None]] = set()
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._kafka: AIOKafkaConsumer | None = None

    async def run(self, stop: asyncio.Event) -> None:
        """Works until `stop` is set, then ends in order. Raises what makes going on impossible."""
        await ensure_topics(self._settings, [ATTEMPTS, PARKED, DEAD_LETTERS])
        await self._definitions.load()
        self._definitions.on_change(self._instances.follow)
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self._renderer.close)
            stack.push_async_callback(self._instances.close)
            stack.push_async_callback(self._writer.close)
            stack.push_async_callback(self._end)
            tasks = [
                asyncio.create_task(self._follow(), name="deliver"),
                asyncio.create_task(self._parking.run(), name="parking"),
                asyncio.create_task(self._load_ledgers(), name="ledgers"),
                asyncio.create_task(self._watch_definitions(), name="definitions"),
            ]
            stack.push_async_callback(_cancel, tasks)
            stopped = asyncio.create_task(_wait(stop))
            stack.push_async_callback(_cancel, [stopped])
            safe = self._sandbox.level in (Level.bubblewrap, Level.landlock)
            logger.log(
                logging.INFO if safe else logging.WARNING,
                "Scripts: %s",
                self._sandbox.explanation,
                extra={"action": "detect_sandbox"},
            )
            logger.info("Delivery has started.", extra={"action": "start"})
            waited: list[asyncio.Future[None]] = [*tasks, stopped, self._failed]
            done, _ = await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
            self._stopping = stop.is_set()
            for ended in done - {stopped}:
                ended.result()  # raises: only a failure ends them
        logger.info("Delivery has stopped.", extra={"action": "stop"})

    # Reading

    async def _follow(self) -> None:
        while True:
            async with AsyncExitStack() as stack:
                kafka = kafka_consumer(
                    self._settings,
                    group_id=self._settings.topic_prefix + GROUP,
                    session_timeout_ms=10_000,
                    heartbeat_interval_ms=1_000,
                    rebalance_timeout_ms=20_000,
                    metadata_max_age_ms=1_000,  # so is a new consumer's topic found
                    fetch_max_wait_ms=_POLL_MS,
                )
                stack.push_async_callback(kafka.stop)
                stack.push_async_callback(self._let_go_of, kafka)
                kafka.subscribe(pattern=f"^{re.escape(self._topics)}.+", listener=_Listener(self))
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

    async def _let_go_of(self, kafka: AIOKafkaConsumer) -> None:
        if self._kafka is kafka:
            await self.let_go()
            self._kafka = None

    async def _read(self, kafka: AIOKafkaConsumer) -> None:
        commit_at = maintain_at = 0.0
        while True:
            for partition, records in (await kafka.getmany(timeout_ms=_POLL_MS, max_records=FETCHED_AT_ONCE)).items():
                self._take_in(partition, records)
            self._balance(kafka)
            if time.monotonic() >= commit_at:
                await self._commit(kafka)
                commit_at = time.monotonic() + COMMIT_INTERVAL_S
            if time.monotonic() >= maintain_at:
                await self._drop_topics(kafka)
                maintain_at = time.monotonic() + 1.0

    def _take_in(self, partition: TopicPartition, records: list[ConsumerRecord]) -> None:
        lanes = self._lanes.get(partition)
        if lanes is None or lanes.halted:
            return
        if not lanes.opened and partition not in self._unread:
            self._unread[partition] = records[0].timestamp
            self._read_ledgers.set()
        for record in records:
            delivery, error = self._decode(record)
            item = Item(
                offset=record.offset,
                timestamp=kafka_time(record.timestamp) or now(),
                key=record.key,
                value=record.value,
                delivery=delivery,
                error=error,
            )
            if delivery is None:
                lane = f"\0{record.offset}"  # alone: it delays nobody
            elif delivery.not_before is not None and delivery.not_before > now():
                lane = f"\0{record.offset}"  # what is delayed has no order
            else:
                item.attempt, item.spared = delivery.attempt, delivery.spared
                lane = delivery.lane
            lanes.add(item, lane)

    def _decode(self, record: ConsumerRecord) -> tuple[Delivery | None, str]:
        try:
            delivery = Delivery.decode(record.value or b"")
        except InvalidRecord as error:
            return None, str(error)
        if delivery.consumer != self._consumer_of(record.topic):
            return None, f"it is for the consumer {delivery.consumer!r}, which has a topic of its own"
        return delivery, ""

    def _consumer_of(self, topic: str) -> str:
        return topic.removeprefix(self._topics)

    def _balance(self, kafka: AIOKafkaConsumer) -> None:
        """Stops fetching partitions of which too much is in flight; lets those go on that have worked it off."""
        paused = kafka.paused()
        for partition, lanes in self._lanes.items():
            if lanes.full:
                self._relieve(partition, lanes)
                if partition not in paused and partition in kafka.assignment():
                    kafka.pause(partition)
            elif partition in paused and lanes.relaxed:
                kafka.resume(partition)

    def _relieve(self, partition: TopicPartition, lanes: Lanes) -> None:
        """Where a lane that stands still fills its partition, what waits in it is parked, so that other lanes go on."""
        instance = self._instances.get(self._consumer_of(partition.topic))
        if instance is None or instance.fixed_address() or not lanes.opened or lanes.halted:
            return  # a fixed address has one lane: there is nobody to make room for
        for lane in lanes.stalled(self._settings.lane_wait_s):
            items = lanes.take_behind_head(lane)
            lanes.begin(items)
            lanes.run(self._overtake(partition, lanes, items))

    async def _overtake(self, partition: TopicPartition, lanes: Lanes, items: list[Item]) -> None:
        wait_s = max(self._settings.lane_wait_s, BROKEN_WAIT_S)
        detail = "not tried: its lane stands still, and it may be overtaken"
        try:
            for item in items:
                await self._put_off(partition, lanes, item, reason="timeout", detail=detail, wait_s=wait_s)
        finally:
            lanes.end(items)

    # The group

    async def take(self, partitions: Iterable[TopicPartition]) -> None:
        """These partitions are ours now, and no others."""
        before = self._lanes
        self._lanes = {partition: before.get(partition) or self._make_lanes(partition) for partition in partitions}
        self._ledgers = {partition: self._ledgers.get(partition) or Ledger() for partition in self._lanes}
        self._committed = {}
        self._unread = {}
        self._generation += 1
        for partition, lanes in self._lanes.items():
            if partition in before:
                lanes.revive()
        for partition, lanes in before.items():
            if partition not in self._lanes:
                await lanes.cancel()

    def _make_lanes(self, partition: TopicPartition) -> Lanes:
        async def step(lanes: Lanes, lane: Lane) -> None:
            await self._step(partition, lanes, lane)

        return Lanes(step, self._fail)

    def _fail(self, error: BaseException) -> None:
        if not self._failed.done():
            self._failed.set_exception(error)

    async def let_go(self) -> None:
        """The partitions may go to others: begin nothing new, wait for what is in flight, commit what is finished."""
        for lanes in self._lanes.values():
            lanes.halt()
        self._unread = {}
        timeout_s, hung_s = (STOP_WAIT_S, math.inf) if self._stopping else (REVOKE_WAIT_S, HUNG_S)
        await asyncio.gather(*(lanes.wait_idle(timeout_s, hung_s) for lanes in self._lanes.values()))
        if self._kafka is not None:
            await self._commit(self._kafka)

    async def _commit(self, kafka: AIOKafkaConsumer) -> None:
        offsets = {}
        for partition, lanes in self._lanes.items():
            offset = lanes.committable
            if offset is not None and offset > self._committed.get(partition, -1):
                offsets[partition] = offset
        if not offsets:
            return
        try:
            await asyncio.wait_for(kafka.commit(offsets), 5.0)
        except (CommitFailedError, IllegalStateError) as error:
            # The group is changing. Whoever reads these records again finds in the ledger that they are finished.
            logger.info("Offsets were not committed: %s", error, extra={"action": "commit"})
        except (KafkaError, TimeoutError) as error:
            logger.warning(
                "Offsets cannot be committed now: %s: %s", type(error).__name__, error, extra={"action": "commit"}
            )
        else:
            for partition, offset in offsets.items():
                if partition in self._lanes:
                    self._committed[partition] = offset
                    self._lanes[partition].committed(offset)
                    self._ledgers[partition].committed(offset)

    async def _load_ledgers(self) -> None:
        while True:
            await self._read_ledgers.wait()
            await asyncio.sleep(0.05)  # after a rebalance many partitions ask at once: one reading serves all
            self._read_ledgers.clear()
            wanted = {
                partition: (self._ledgers[partition], since)
                for partition, since in self._unread.items()
                if not self._lanes[partition].opened
            }
            generation = self._generation
            if wanted:
                await read_back(self._settings, wanted)
            if generation == self._generation:  # else the partitions may have been somebody else's meanwhile
                for partition in wanted.keys() & self._unread.keys():
                    del self._unread[partition]
                    self._lanes[partition].open()

    async def _watch_definitions(self) -> None:
        while self._definitions.failed is None:  # noqa: ASYNC110 - the follower has no event for it
            await asyncio.sleep(1.0)
        raise self._definitions.failed

    async def _end(self) -> None:
        for lanes in self._lanes.values():
            await lanes.cancel()
        await asyncio.gather(*self._late)
        self._failed.cancel()

    # One step of one lane

    async def _step(self, partition: TopicPartition, lanes: Lanes, lane: Lane) -> None:
        consumer = self._consumer_of(partition.topic)
        head = lane.items[0]
        if self._begin(partition, lanes, head):
            lane.items.popleft()
            return
        if head.delivery is None or self._early(partition, head):
            with _working(lanes, lane, [head]):
                await self._end_early(partition, lanes, head)
            return
        standing = self._instances.standing(consumer)
        if standing == "unknown":
            head.due = time.monotonic() + 0.2
        elif standing == "usable":
            async with self._calls[consumer]:
                with self._instances.use(consumer) as instance:
                    if instance is not None and not lanes.halted and lane.items and lane.items[0] is head:
                        await self._try(partition, lanes, lane, instance)
        else:
            items = self._front(partition, lanes, lane, _ENDED_AT_ONCE)
            with _working(lanes, lane, items):
                await asyncio.gather(*(self._end_without(partition, lanes, item, standing) for item in items))

    def _begin(self, partition: TopicPartition, lanes: Lanes, item: Item) -> bool:
        """Compares a record with the ledger, once; True where nothing is left to do for it."""
        if item.fresh and item.delivery is not None:
            item.fresh = False
            tried = self._ledgers[partition].tried(item.delivery.id, item.offset, item.timestamp)
            if tried is not None:
                if tried.settled:
                    lanes.finish(item)
                    return True
                item.attempt = max(item.attempt, tried.number + 1)
                item.spared += tried.spared
                if tried.not_before is not None:
                    item.due = time.monotonic() + max(0.0, (tried.not_before - now()).total_seconds())
        return False

    def _early(self, partition: TopicPartition, item: Item) -> bool:
        """Whether a delivery ends without a look at its consumer: accepted before, or delayed."""
        assert item.delivery is not None
        not_before = item.delivery.not_before
        return item.delivery.id in self._ledgers[partition] or (not_before is not None and not_before > now())

    async def _end_early(self, partition: TopicPartition, lanes: Lanes, item: Item) -> None:
        if item.delivery is None:
            await self._bury(partition, item, reason="invalid", error=item.error, attempts=0)
            lanes.finish(item)
        elif item.delivery.id in self._ledgers[partition]:
            await self._record(partition, item, outcome="suppressed", reason="duplicate", settled=True)
            lanes.finish(item)
        else:
            assert item.delivery.not_before is not None
            wait_s = (item.delivery.not_before - now()).total_seconds()
            detail = "delayed: it is not to be delivered earlier"
            why: Why = item.delivery.why or "delayed"
            not_before = item.delivery.not_before
            await self._put_off(
                partition, lanes, item, reason="ok", detail=detail, wait_s=wait_s, why=why, not_before=not_before
            )

    async def _end_without(self, partition: TopicPartition, lanes: Lanes, item: Item, standing: str) -> None:
        """Ends a delivery whose consumer is deleted or cannot be used."""
        consumer = self._consumer_of(partition.topic)
        if standing == "broken":
            detail = f"not tried: the consumer {consumer} cannot be used: {self._instances.problem(consumer)}"
            await self._put_off(partition, lanes, item, reason="paused", detail=detail, wait_s=BROKEN_WAIT_S)
            return
        error = f"the consumer {consumer} was deleted"
        await self._bury(partition, item, reason="consumer_deleted", error=error, attempts=item.attempt - 1)
        await self._record(partition, item, outcome="refused", reason="consumer_deleted", detail=error, settled=True)
        lanes.finish(item)

    def _front(self, partition: TopicPartition, lanes: Lanes, lane: Lane, limit: int) -> list[Item]:
        """The head and what may go together with it: due, each id once, none that ends by itself."""
        head = lane.items[0]
        found: list[Item] = []
        ids: set[str] = set()
        for item in lane.items:
            if len(found) == limit:
                break
            if item is not head and (
                item.delivery is None
                or head.alone
                or item.alone
                or item.delivery.id in ids
                or (item.fresh and self._ledgers[partition].tried(item.delivery.id, item.offset, item.timestamp))
                or item.due > time.monotonic()
                or self._early(partition, item)
            ):
                break
            assert item.delivery is not None
            item.fresh = False
            ids.add(item.delivery.id)
            found.append(item)
        return found

    async def _try(self, partition: TopicPartition, lanes: Lanes, lane: Lane, instance: Consumer[Any]) -> None:
        items = self._front(partition, lanes, lane, max(1, instance.batch()))
        with _working(lanes, lane, items):
            started_at = now()
            for item in items:
                item.began = item.began or time.monotonic()
            try:
                results = await self._call(instance, items)
            except asyncio.CancelledError:
                self._record_cut_off(partition, items, started_at)
                raise
            ended_at = now()
            await asyncio.gather(
                *(
                    self._conclude(partition, lanes, lane, item, result, started_at, ended_at)
                    for item, result in zip(items, results, strict=True)
                )
            )

    async def _call(self, instance: Consumer[Any], items: Sequence[Item]) -> Sequence[Result]:
        deliveries = [
            msgspec.structs.replace(item.delivery, attempt=item.attempt) for item in items if item.delivery is not None
        ]
        faults: dict[str, str] = {}
        context = self._context(deliveries[0].consumer, faults)
        timeout_s = instance.timeout_s()
        limit = asyncio.timeout(timeout_s)
        try:
            async with limit:
                results = list(await instance.deliver(deliveries, context))
            if len(results) == len(items):
                return [
                    _with_detail(result, faults.get(delivery.id))
                    for result, delivery in zip(results, deliveries, strict=True)
                ]
            text = f"the consumer answered {len(results)} results for {len(items)} deliveries"
            result = Result(outcome="unknown", reason="server_error", detail=text)
        except Exception as error:  # a plugin may raise what it likes; each kind has its meaning
            if limit.expired() and isinstance(error, TimeoutError):
                text = f"no answer within {timeout_s:g} s; it may have been delivered"
                result = Result(outcome="unknown", reason="timeout", detail=text)
            else:
                result = result_of(error)
                # What a service or a library says may quote the address or the header that held a secret.
                result = replace(result, detail=None if result.detail is None else instance.mask(result.detail))
                if not isinstance(error, NotifierError):
                    logger.warning(
                        "The consumer %s raised what it should not: %s",
                        context.name,
                        instance.mask("".join(format_exception(error))),
                        extra={"action": "deliver", "consumer": context.name},
                    )
                if isinstance(error, Permanent):
                    return [result] * len(items)
        for item in items:
            item.alone = len(items) > 1  # one of them may be what fails all
        return [result] * len(items)

    def _context(self, consumer: str, faults: dict[str, str]) -> Context:
        """What a call of a consumer is given. Templates that fail during it are put into `faults`, by delivery."""
        catalog = self._definitions.catalog

        async def text(delivery: Delivery) -> str | None:
            configuration = catalog.configurations.get(delivery.configuration)
            if configuration is None or configuration.spec.template is None:
                return None
            try:
                return await self._renderer.render(configuration.spec.template, delivery)
            except TemplateFailed as error:  # a fault of form must not cost the message
                faults[delivery.id] = (
                    f"the template of the configuration {delivery.configuration} failed, so the default text was taken: {error}"
                )
                logger.warning(
                    "The template of the configuration %s failed: %s",
                    delivery.configuration,
                    error,
                    extra={"action": "render", "configuration": delivery.configuration},
                )
                return None

        return Context(
            name=consumer,
            sandbox=self._sandbox,
            script=catalog.script,
            services=self._settings.services,
            text=text,
        )

    def _record_cut_off(self, partition: TopicPartition, items: Sequence[Item], started_at: datetime) -> None:
        """Records calls that were ended from outside, in a task of its own, because this one is ending."""

        async def record() -> None:
            for item in items:
                await self._record(
                    partition,
                    item,
                    outcome="unknown",
                    reason="timeout",
                    detail="cut off: its partition went to another worker, or this one stopped",
                    started_at=started_at,
                )

        task = asyncio.create_task(record())
        self._late.add(task)
        task.add_done_callback(self._late.discard)

    async def _conclude(
        self,
        partition: TopicPartition,
        lanes: Lanes,
        lane: Lane,
        item: Item,
        result: Result,
        started_at: datetime,
        ended_at: datetime,
    ) -> None:
        """Records one try and does what follows from it."""
        delivery = item.delivery
        assert delivery is not None
        assert item.began is not None
        decision = decide(
            result,
            attempt=item.attempt,
            spared=item.spared,
            schedule=self._settings.retry_schedule_s,
            chance=random.random(),  # noqa: S311 - spreads retries, keeps no secret
        )
        if decision.wait_s is None:
            if decision.dead is not None:
                error = decision.detail or decision.reason
                await self._bury(partition, item, reason=decision.dead, error=error, attempts=item.attempt)
            await self._record(
                partition,
                item,
                outcome=decision.outcome,
                reason=decision.reason,
                detail=decision.detail,
                started_at=started_at,
                ended_at=ended_at,
                settled=True,
            )
            if decision.outcome == "accepted":
                self._ledgers[partition].accept(delivery.id)
            lane.moved = time.monotonic()
            lanes.finish(item)
            return
        waited_s = time.monotonic() - item.began
        number = item.attempt
        item.attempt, item.spared = number + 1, decision.spared
        if decision.told or waited_s + decision.wait_s <= self._settings.lane_wait_s:
            item.due = time.monotonic() + decision.wait_s
            await self._record(
                partition,
                item,
                outcome=decision.outcome,
                reason=decision.reason,
                detail=decision.detail,
                number=number,
                started_at=started_at,
                ended_at=ended_at,
                not_before=ended_at + timedelta(seconds=decision.wait_s),
            )
        else:
            await self._put_off(
                partition,
                lanes,
                item,
                outcome=decision.outcome,
                reason=decision.reason,
                detail=decision.detail,
                wait_s=decision.wait_s,
                why="held" if decision.outcome == "held" else "retry",
                number=number,
                started_at=started_at,
                ended_at=ended_at,
            )
            lane.moved = time.monotonic()

    async def _put_off(
        self,
        partition: TopicPartition,
        lanes: Lanes,
        item: Item,
        *,
        reason: Reason,
        detail: str | None,
        wait_s: float,
        outcome: Outcome = "deferred",
        why: Why = "retry",
        not_before: datetime | None = None,
        number: int | None = None,
        started_at: datetime | None = None,
        ended_at: datetime | None = None,
    ) -> None:
        """Parks a delivery and records it; it may be overtaken from now on."""
        assert item.delivery is not None
        until = not_before or (ended_at or now()) + timedelta(seconds=wait_s)
        parked = msgspec.structs.replace(
            item.delivery, attempt=item.attempt, spared=item.spared, not_before=until, why=why
        )
        dead = False
        try:
            await self._writer.write(PARKED.name, parked.id, parked.encode())
        except RecordTooLarge as error:
            dead = True
            await self._bury(partition, item, reason="too_large", error=str(error), attempts=item.attempt - 1)
        await self._record(
            partition,
            item,
            outcome="refused" if dead else outcome,
            reason=reason,
            detail=detail,
            number=number,
            started_at=started_at,
            ended_at=ended_at,
            not_before=None if dead else until,
            settled=True,
        )
        lanes.finish(item)

    # Recording

    async def _record(
        self,
        partition: TopicPartition,
        item: Item,
        *,
        outcome: Outcome,
        reason: Reason,
        detail: str | None = None,
        number: int | None = None,
        started_at: datetime | None = None,
        ended_at: datetime | None = None,
        not_before: datetime | None = None,
        settled: bool = False,
    ) -> None:
        """Writes an Attempt. `settled`: nothing is left to do for the record, whoever reads it again."""
        delivery = item.delivery
        assert delivery is not None
        attempt = attempt_of(
            delivery,
            outcome=outcome,
            reason=reason,
            detail=detail,
            origin=Origin(topic=partition.topic, partition=partition.partition, offset=item.offset),
            number=item.attempt if number is None else number,
            started_at=started_at,
            ended_at=ended_at,
            not_before=not_before,
        )
        headers = [(SETTLED, b"1")] if settled else []
        await self._writer.write(ATTEMPTS.name, delivery.id, attempt.encode(), headers)

    async def _bury(self, partition: TopicPartition, item: Item, *, reason: Reason, error: str, attempts: int) -> None:
        """Writes a dead letter."""
        delivery = item.delivery
        letter = DeadLetter.of_record(
            Source(
                partition.topic,
                partition.partition,
                item.offset,
                round(item.timestamp.timestamp() * 1000),
                item.key,
                item.value,
            ),
            stage="deliver",
            reason=reason,
            error=error,
            delivery=None if delivery is None else delivery.id,
            attempts=attempts,
        )
        await self._writer.write(DEAD_LETTERS.name, letter.id, letter.encode())
        logger.warning(
            "The delivery %s is a dead letter: %s: %s",
            letter.id,
            reason,
            error,
            extra={"action": "dead_letter", "delivery": letter.id, "reason": reason},
        )

    # Topics of deleted consumers

    async def _drop_topics(self, kafka: AIOKafkaConsumer) -> None:
        """Drops the topics of deleted consumers once nothing is left on them; whoever has partition 0 does it."""
        for partition, lanes in list(self._lanes.items()):
            consumer = self._consumer_of(partition.topic)
            if self._instances.missing_s(consumer) < DROP_AFTER_S or lanes.unfinished or lanes.halted:
                continue
            # Behind the last delivery there may be marks of transactions, which are never seen as records.
            position = await kafka.position(partition)
            if position > self._committed.get(partition, -1) and not lanes.unfinished:
                await kafka.commit({partition: position})
                self._committed[partition] = position
            if partition.partition == 0 and await self._drained(kafka, partition.topic):
                async with kafka_admin(self._settings) as admin:
                    if self._instances.missing_s(consumer) >= DROP_AFTER_S:
                        await admin.delete_topics([partition.topic])
                        logger.info(
                            "The consumer %s is deleted and its topic %s is drained: dropped the topic.",
                            consumer,
                            partition.topic,
                            extra={"action": "drop_topic", "consumer": consumer},
                        )

    async def _drained(self, kafka: AIOKafkaConsumer, topic: str) -> bool:
        partitions = [TopicPartition(topic, number) for number in kafka.partitions_for_topic(topic) or ()]
        if not partitions:
            return False
        begins = await kafka.beginning_offsets(partitions)
        ends = await kafka.end_offsets(partitions)
        for partition in partitions:
            committed = await kafka.committed(partition)
            if max(committed or 0, begins[partition]) < ends[partition]:
                return False
        return True


def _with_detail(result: Result, more: str | None) -> Result:
    return result if more is None else replace(result, detail="; ".join(filter(None, (result.detail, more))))


@contextmanager
def _working(lanes: Lanes, lane: Lane, items: Sequence[Item]) -> Iterator[None]:
    """The first items of a lane are being worked on; afterwards those that are finished are taken out of it."""
    lane.calling = len(items)
    lanes.begin(items)
    try:
        yield
    finally:
        lane.calling = 0
        for _ in items:
            lane.items.popleft()
        lane.items.extendleft(item for item in reversed(items) if not lanes.is_finished(item))
        lanes.end(items)


async def _wait(event: asyncio.Event) -> None:
    await event.wait()


async def _cancel(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def run_delivery(
    settings: Settings, *, stop: asyncio.Event, registry: Registry | None = None, sandbox: Sandbox | None = None
) -> None:
    """One delivery worker, until `stop` is set; then it finishes what is in flight, commits and leaves its group.

    `registry` and `sandbox` are what is installed and possible here, unless given. Raises NotifierError where it cannot go
    on: no broker at the start, a secret key missing, or a record newer than this program.
    """
    seal = load_seal(settings)
    definitions = Definitions(settings, Catalog(registry=registry or load_registry(), seal=seal))
    if sandbox is None:
        sandbox = await asyncio.to_thread(detect_sandbox, settings)
    worker = DeliveryWorker(settings, definitions, sandbox)
    try:
        await worker.run(stop)
    finally:
        await definitions.stop()


def run_delivery_process(settings: Settings, registry: Registry | None = None) -> int:
    """Runs a delivery worker as this process until SIGTERM or SIGINT, which end it in order. Answers the exit status."""

    async def work() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        await run_delivery(settings, stop=stop, registry=registry)

    try:
        asyncio.run(work())
    except NotifierError as error:
        logger.critical("Delivery cannot go on: %s", error, extra={"action": "stop"})
        return error.exit_code or 1
    return 0
