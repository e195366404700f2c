"""Outputs: the way out of an agent. Records wait in a queue for each output partition and leave it in batches, in order.

    put ─► queue of a partition ─► one batch in flight ─► acknowledged by all replicas ─► the input batch is finished

Whoever routes an input batch `put`s what came of it and then `seal`s: `finished` is called once all of that is acknowledged.
Meanwhile the next input batch is routed. What fails is sent again before anything later of its partition, for as long as it
takes: at least once, and in order within an output partition. So a record may be written twice (after a failure whose outcome
nobody knows), never lost.

A batch costs about as much as five records, whatever is in it, so queues are given time to gather: the more partitions are
written to, the more (`BATCH_COST_S`). With little to do nothing waits.

A topic of the table that is missing is created. A `deliveries.` topic that is missing for `missing_wait_s` has its deliveries
parked (`retry`, due in 30 s), and those that come later at once; nothing else waits for it.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from time import monotonic
from typing import Any

import msgspec
from aiokafka.errors import (
    KafkaError,
    MessageSizeTooLargeError,
    RecordListTooLargeError,
    UnknownTopicOrPartitionError,
)

from notifier.dead_letter import DeadLetter
from notifier.delivery import Delivery
from notifier.errors import BrokerError
from notifier.kafka import ensure_topics
from notifier.record import now
from notifier.settings import Settings
from notifier.topics import DEAD_LETTERS, DELIVERIES, PARKED, TOPICS
from streams.outputs.partitioner import partition_of
from streams.outputs.produce_request import Sender
from streams.outputs.record_batch import OpenBatch, Output, RecordBatch, framed

logger = logging.getLogger(__name__)

MISSING_WAIT_S = 30.0
PARKED_FOR_S = 30.0
# What a record may have, so that with key, headers and envelope it stays below the broker's limit of 1 MiB for a batch.
MAX_RECORD_BYTES = 1_000_000

BATCH_BYTES = 256 * 1024  # of one batch of several records
# Seconds that nothing is sent after each batch. A batch costs about 50 µs of this process, so a third of its time at most
# goes to batches; with 1,000 output partitions busy each gathers for 0.15 s, and with one nobody notices.
BATCH_COST_S = 150e-6
LONGEST_GATHER_S = 0.2
_BACKOFF_S = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
_POLL_S = 0.25
_WATCH_S = 1.0
_TOO_LARGE = (MessageSizeTooLargeError, RecordListTooLargeError)
_KEYS = 100_000  # whose partitions are remembered, for each topic


@dataclass
class Outbox:
    """Records to be sent, in order, by topic (without the prefix)."""

    topics: dict[str, list[Output]] = field(default_factory=dict)

    def add(self, topic: str, key: bytes, value: bytes) -> None:
        """Appends one."""
        self.topics.setdefault(topic, []).append((key, value))


class Receipt:
    """How many queues still hold records of something that is finished when none does."""

    __slots__ = ("_finished", "open")

    def __init__(self, queues: int, finished: Callable[[], None]) -> None:
        self.open = queues
        self._finished = finished

    def settle(self) -> None:
        """One queue less."""
        self.open -= 1
        if not self.open:
            self._finished()


class Queue:
    """What waits for one output partition, and the batch of it that is in flight."""

    __slots__ = (
        "_closed", "_compression", "_open", "_waiting", "failures", "flying", "landing", "one_by_one", "outlet", "partition",
        "receipts", "sent", "since",
    )  # fmt: skip

    def __init__(self, outlet: "Outlet", partition: int, compression: int) -> None:
        self.outlet = outlet
        self.partition = partition
        self._compression = compression
        self._waiting: deque[RecordBatch] = deque()
        self._closed = 0  # records in those
        self._open: OpenBatch | None = None  # behind them
        self.sent = 0  # records that have left the queue, ever
        self.receipts: deque[tuple[Receipt, int]] = deque()  # each with what `sent` is when its last record has left
        self.flying: RecordBatch | None = None
        self.landing: list[Receipt] = []  # receipts whose last record is in flight
        self.since = 0.0  # when it took off
        self.one_by_one = False  # after the broker refused a batch as too large, so that it is known which record it is
        self.failures = 0  # in a row

    def append(self, key: bytes, value: bytes) -> None:
        """Puts a record behind the others; the key is `framed`."""
        batch = self._open
        if batch is None or batch.size + len(value) > BATCH_BYTES:
            self._close()
            batch = self._open = OpenBatch()
        batch.append(key, value)

    def _close(self) -> None:
        if self._open is not None:
            self._waiting.append(self._open.close(self._compression))
            self._closed += self._open.count
            self._open = None

    def waits(self) -> bool:
        """Whether anything waits to take off."""
        return self._open is not None or bool(self._waiting)

    def seal(self, receipt: Receipt) -> None:
        """Settles the receipt when everything that waits now is acknowledged."""
        last = self.sent + self._closed
        self.receipts.append((receipt, last if self._open is None else last + self._open.count))

    def take(self) -> RecordBatch:
        """Lets the first batch take off."""
        if not self._waiting:
            self._close()
        batch = self._waiting.popleft()
        if self.one_by_one and batch.count > 1:
            self._waiting.extendleft(reversed([self._batch_of([record]) for record in batch.records()]))
            batch = self._waiting.popleft()
        self.flying = batch
        self._closed -= batch.count
        self.sent += batch.count
        while self.receipts and self.receipts[0][1] <= self.sent:
            self.landing.append(self.receipts.popleft()[0])
        return batch

    def take_back(self) -> None:
        """Puts what is in flight back in front of the others."""
        if self.flying is None:
            return
        ends = self.sent
        self.sent -= self.flying.count
        self._closed += self.flying.count
        self._waiting.appendleft(self.flying)
        self.receipts.extendleft((receipt, ends) for receipt in reversed(self.landing))
        self.flying, self.landing = None, []

    def _batch_of(self, records: Iterable[Output]) -> RecordBatch:
        batch = OpenBatch()
        for key, value in records:
            batch.append(framed(key), value)
        return batch.close(self._compression)

    def landed(self) -> None:
        """All that is in flight has been acknowledged."""
        receipts, self.flying, self.landing, self.failures = self.landing, None, [], 0
        for receipt in receipts:
            receipt.settle()

    def empty(self) -> tuple[list[Output], list[Receipt]]:
        """Everything that waits; whoever takes it settles the receipts."""
        self._close()
        records = [record for batch in self._waiting for record in batch.records()]
        receipts = [receipt for receipt, _ in self.receipts]
        self.sent += self._closed
        self._closed = 0
        self._waiting, self.receipts = deque(), deque()
        return records, receipts


class Outlet:
    """One output topic. Until its partitions are known, and while it is missing, its records wait."""

    def __init__(self, outputs: "Outputs", topic: str) -> None:
        self.topic = topic  # without the prefix
        self.open = False  # whether its partitions are known and it can be written to
        self.missing_since: float | None = None
        # By partition; before they are known, one for all.
        self.queues: list[Queue] = [Queue(self, -1, outputs.compression)]
        self._outputs = outputs
        # Of keys that were seen, their queue and themselves as records have them; `find` has the others.
        self.by_key: dict[bytes, tuple[Queue, bytes]] = {}
        self._touched = outputs.touched

    def put(self, key: bytes, value: bytes) -> None:
        """Appends a record; it is sent after the next `seal`."""
        queue, text = self.by_key.get(key) or self.find(key)
        queue.append(text, value)
        self._touched.add(queue)

    def waits(self) -> bool:
        """Whether there are records for it that are not in flight."""
        return any(queue.waits() for queue in self.queues)

    def find(self, key: bytes) -> tuple[Queue, bytes]:
        """The queue of a key, and the key as records have it."""
        if len(self.by_key) >= _KEYS:
            self.by_key.clear()
        queues = self.queues
        found = self.by_key[key] = queues[partition_of(key, len(queues))], framed(key)
        return found

    def divide(self, partitions: int) -> None:
        """Has that many partitions from now on; what waits is put again, in order."""
        before = self.queues
        # What is in flight keeps its queue until it lands.
        self.queues = [Queue(self, number, self._outputs.compression) for number in range(partitions)]
        self.by_key.clear()
        for queue in before:
            self.put_again(queue)

    def put_again(self, queue: Queue) -> None:
        """Puts what waits in a queue of a former division where it belongs now, in order."""
        records, receipts = queue.empty()
        for key, value in records:
            self.put(key, value)
        self._outputs.seal(_settle_all(receipts))


class Outputs:
    """The way out of an agent. Connects when the first record is sealed."""

    def __init__(self, settings: Settings, missing_wait_s: float | None = None) -> None:
        self._settings = settings
        self._prefix = settings.topic_prefix
        self._missing_wait_s = MISSING_WAIT_S if missing_wait_s is None else missing_wait_s
        # As Kafka numbers it; None is not among its names.
        self.compression = ("none", "gzip", "snappy", "lz4", "zstd").index(settings.kafka_compression)
        self.touched: set[Queue] = set()  # with records that are not sealed
        self._outlets: dict[str, Outlet] = {}
        self._ready: dict[Queue, None] = {}  # with records and nothing in flight, the longest waiting first
        self._flights: set[Queue] = set()
        self._wake = asyncio.Event()
        self._unopened = asyncio.Event()  # there are records for an outlet that is not open
        self._starting = asyncio.Lock()
        self._tasks: list[asyncio.Task[None]] = []
        self._closing: set[asyncio.Task[None]] = set()
        self._sender: Sender | None = None
        self._stopped = False

    # --- what whoever routes uses ---

    def outlet(self, topic: str) -> Outlet:
        """The outlet of a topic (without the prefix), the same for every call."""
        found = self._outlets.get(topic)
        if found is None:
            found = self._outlets[topic] = Outlet(self, topic)
        return found

    def seal(self, finished: Callable[[], None]) -> None:
        """Lets go of what was put since the last time. `finished` is called once it is all acknowledged, or parked."""
        touched = self.touched
        if not touched:
            finished()
            return
        receipt = Receipt(len(touched), finished)
        ready = self._ready
        for queue in touched:
            queue.seal(receipt)
            if queue.flying is None:
                ready[queue] = None
        touched.clear()
        self._wake.set()
        if not self._tasks and not self._stopped:
            self._tasks = [
                asyncio.create_task(self._keep_sending(), name="outputs"),
                asyncio.create_task(self._keep_watching(), name="missing topics"),
            ]

    async def send(self, outbox: Outbox) -> None:
        """Writes all of it, or parks what has no topic; returns when all of that is acknowledged. Does not raise."""
        for topic, records in outbox.topics.items():
            outlet = self.outlet(topic)
            for key, value in records:
                outlet.put(key, value)
        acknowledged = asyncio.Event()
        self.seal(acknowledged.set)
        await acknowledged.wait()

    async def stop(self) -> None:
        """Closes the sender. What is not acknowledged is given up: its input is not finished, and comes again."""
        self._stopped = True
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._sender is not None:
            self._replace(self._sender)
        if self._closing:
            await asyncio.gather(*self._closing, return_exceptions=True)

    # --- sending ---

    async def _keep_sending(self) -> None:
        failures = 0
        while True:
            try:
                await self._send_ready()
                failures = 0
            except (KafkaError, BrokerError, OSError) as error:
                logger.warning(
                    "Records cannot be written now and will be tried again: %r", error, extra={"action": "send"}
                )
                await asyncio.sleep(_BACKOFF_S[min(failures, len(_BACKOFF_S) - 1)])
                failures += 1
            except Exception:  # a fault of ours must not end the way out
                logger.exception("Records could not be written and will be tried again.", extra={"action": "send"})
                await asyncio.sleep(_BACKOFF_S[-1])

    async def _send_ready(self) -> None:
        """Sends what is ready, for as long as anything is; then waits for more."""
        while not self._ready:
            self._wake.clear()
            await self._wake.wait()
        sender = await self._ready_sender()
        began = monotonic()
        ready, self._ready = self._ready, {}
        sent = 0
        try:
            while ready:
                queue = next(iter(ready))
                del ready[queue]
                if queue.flying is not None or not queue.waits():
                    continue
                if not queue.outlet.open:
                    self._unopened.set()  # whoever opens it makes it ready again
                    continue
                self._take_off(sender, queue)
                sent += 1
        finally:
            self._ready = ready | self._ready  # of those that a failure left over
        pause = min(sent * BATCH_COST_S, LONGEST_GATHER_S) - (monotonic() - began)
        if pause > 0:
            await asyncio.sleep(pause)

    def _take_off(self, sender: Sender, queue: Queue) -> None:
        name = self._prefix + queue.outlet.topic
        if not sender.leads(name, queue.partition):  # it went, or is not known to this sender yet
            queue.outlet.open = False
            self._unopened.set()
            return
        batch = queue.take()
        queue.since = monotonic()
        self._flights.add(queue)
        try:
            sender.send(name, queue.partition, batch, partial(self._landed, sender, queue))
        except BaseException as error:
            self._flights.discard(queue)
            queue.take_back()
            self._ready[queue] = None
            if isinstance(error, KafkaError):
                self._replace(sender)  # it takes nothing any more
            raise

    def _landed(self, sender: Sender, queue: Queue, error: BaseException | None) -> None:
        self._flights.discard(queue)
        if error is None:
            queue.landed()
            if queue.one_by_one and not queue.waits():
                queue.one_by_one = False
        elif isinstance(error, _TOO_LARGE):
            if queue.one_by_one:
                self._refuse(queue, error)
            else:
                queue.one_by_one = True
                queue.take_back()
        else:
            queue.take_back()
            if self._sender is sender and not isinstance(error, UnknownTopicOrPartitionError):
                logger.warning(
                    "Records for %s cannot be written now and will be tried again: %r",
                    self._prefix + queue.outlet.topic,
                    error,
                    extra={"action": "send", "topic": self._prefix + queue.outlet.topic},
                )
                self._replace(sender)
            pause = _BACKOFF_S[min(queue.failures, len(_BACKOFF_S) - 1)]
            queue.failures += 1
            asyncio.get_running_loop().call_later(pause, self._again, queue)
            return
        self._again(queue)

    def _again(self, queue: Queue) -> None:
        outlet = queue.outlet
        if queue.waits() and queue.flying is None:
            if outlet.queues[max(queue.partition, 0) % len(outlet.queues)] is not queue:  # it was divided meanwhile
                outlet.put_again(queue)
                return
            self._ready[queue] = None
            self._wake.set()

    def _refuse(self, queue: Queue, error: BaseException) -> None:
        """Makes a dead letter of the record in flight, which is alone."""
        topic = queue.outlet.topic
        assert queue.flying is not None
        ((key, value),) = queue.flying.records()
        name = key.decode(errors="replace")
        if topic.startswith(DELIVERIES):
            name = Delivery.decode(value).id
        letter = DeadLetter(
            id=name,
            stage="route",
            reason="too_large",
            error=f"the broker refuses a record of {len(value)} bytes on {self._prefix + topic}: {error}",
            topic=self._prefix + topic,
            at=now(),
            delivery=name if topic.startswith((DELIVERIES, PARKED.name)) else None,
        )
        receipts, queue.flying, queue.landing = queue.landing, None, []
        # Whoever waits for the record waits for its letter; also where more of the same is behind it in the queue.
        waiting = receipts or [queue.receipts[0][0]]
        if not receipts:
            waiting[0].open += 1
        self.outlet(DEAD_LETTERS.name).put(name.encode(), letter.encode())
        self.seal(_settle_all(waiting))

    # --- topics that are not there ---

    async def _keep_watching(self) -> None:
        """Finds the partitions of topics that are new, missing, back or grown."""
        while True:
            missing = any(outlet.missing_since is not None for outlet in self._outlets.values())
            await self._wait_to_look(_POLL_S if missing else _WATCH_S)
            try:
                await self._look()
            except (KafkaError, BrokerError, OSError) as error:
                logger.warning("The broker does not say which topics it has: %r", error, extra={"action": "send"})
                await asyncio.sleep(_WATCH_S)
            except Exception:  # as in `_keep_sending`
                logger.exception("Missing topics could not be looked for.", extra={"action": "send"})
                await asyncio.sleep(_BACKOFF_S[-1])
            if any(outlet.missing_since is not None for outlet in self._outlets.values()):
                await asyncio.sleep(_POLL_S)  # however many records for it come meanwhile

    async def _wait_to_look(self, limit_s: float) -> None:
        try:
            await asyncio.wait_for(self._unopened.wait(), limit_s)
        except TimeoutError:
            pass  # then it is time for a look all the same
        self._unopened.clear()

    async def _look(self) -> None:
        sender = await self._ready_sender()
        late = monotonic() - _WATCH_S
        doubtful = {outlet for outlet in self._outlets.values() if not outlet.open and outlet.waits()}
        doubtful |= {queue.outlet for queue in self._flights if queue.since < late}
        if doubtful:
            for outlet in doubtful:
                # Not awaited: the one update below is for all of them.
                sender.client.add_topic(self._prefix + outlet.topic).add_done_callback(_forget)
            if not await sender.client.force_metadata_update():
                raise KafkaError("the broker does not answer")  # then nobody knows which topics are there
        cluster = sender.client.cluster
        for outlet in list(self._outlets.values()):
            partitions = len(cluster.partitions_for_topic(self._prefix + outlet.topic) or ())
            if partitions:
                self._open(outlet, partitions)
            elif outlet in doubtful:
                await self._miss(sender, outlet)

    def _open(self, outlet: Outlet, partitions: int) -> None:
        if not outlet.open or partitions != len(outlet.queues):
            outlet.open, outlet.missing_since = True, None
            if outlet.queues[0].partition < 0 or partitions != len(outlet.queues):
                outlet.divide(partitions)
            for queue in outlet.queues:
                self._again(queue)

    async def _miss(self, sender: Sender, outlet: Outlet) -> None:
        if not outlet.topic.startswith(DELIVERIES):
            await ensure_topics(self._settings, [row for row in TOPICS if row.name == outlet.topic])
            self._unopened.set()
            return
        outlet.open = False
        if outlet.missing_since is None:
            outlet.missing_since = monotonic()
            logger.warning(
                "The topic %s is missing; in %.0f s its records are parked.",
                self._prefix + outlet.topic,
                self._missing_wait_s,
                extra={"action": "send", "topic": self._prefix + outlet.topic},
            )
        elif monotonic() - outlet.missing_since >= self._missing_wait_s:
            if any(queue.outlet is outlet for queue in self._flights):
                # The sender holds on to them, and would write them should the topic come back.
                self._replace(sender)
            self._park(outlet)

    def _park(self, outlet: Outlet) -> None:
        due = now() + timedelta(seconds=PARKED_FOR_S)
        shelf = self.outlet(PARKED.name)
        count = 0
        for queue in outlet.queues:
            records, receipts = queue.empty()
            for _, value in records:
                delivery = Delivery.decode(value)
                not_before = max(due, delivery.not_before) if delivery.not_before else due
                parked = msgspec.structs.replace(delivery, why="retry", not_before=not_before)
                shelf.put(delivery.id.encode(), parked.encode())
            count += len(records)
            self.seal(_settle_all(receipts))
        if count:
            logger.warning(
                "%s deliveries are parked because the topic %s is missing.",
                count,
                self._prefix + outlet.topic,
                extra={"action": "park", "topic": self._prefix + outlet.topic},
            )

    # --- the sender ---

    async def _ready_sender(self) -> Sender:
        async with self._starting:
            if self._sender is None:
                sender = Sender(self._settings)
                try:
                    await sender.start()
                    if self._outlets:
                        await sender.client.set_topics([self._prefix + topic for topic in self._outlets])
                except BaseException:
                    await sender.stop()
                    raise
                self._sender = sender
            return self._sender

    def _replace(self, sender: Sender) -> None:
        """Takes another sender from now on."""
        if self._sender is sender:
            self._sender = None
            task = asyncio.create_task(sender.stop(), name="close sender")
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)


def _settle_all(receipts: Iterable[Receipt]) -> Callable[[], None]:
    def settle() -> None:
        for receipt in receipts:
            receipt.settle()

    return settle


def _forget(future: "asyncio.Future[Any]") -> None:
    if not future.cancelled():
        future.exception()  # or the event loop complains that nobody asked
