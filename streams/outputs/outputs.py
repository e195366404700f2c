"""Outputs: the way out of an agent. Records wait in a queue for each output partition and leave it in batches, in order.

    put ─► queue of a partition ─► one batch in flight ─► acknowledged by all replicas ─► the input batch is finished

A caller `put`s the outputs of an input batch and then `seal`s: `finished` is called when all of them are acknowledged. Meanwhile
the next input batch is routed. A batch that fails is sent again before anything later of its partition, for as long as it takes:
at least once, and in order within an output partition. A record may be written twice, after a failure with an unknown outcome,
and is never lost.

A batch costs about as much as five records, however many it holds, so queues are given time to gather: the more partitions are
written to, the more (`BATCH_COST_S`). With little to do nothing waits.

Topics that are missing are left to `streams.outputs.missing_topics`; requests and their repetition, to
`streams.outputs.batch_producer`.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from time import monotonic

from aiokafka.errors import (
    KafkaError,
    MessageSizeTooLargeError,
    RecordListTooLargeError,
    UnknownTopicOrPartitionError,
)

from notifier.dead_letter import DeadLetter
from notifier.delivery import Delivery
from notifier.ending import end
from notifier.errors import BrokerError
from notifier.record import now
from notifier.settings import Settings
from notifier.topics import DEAD_LETTERS, DELIVERIES, PARKED
from streams.outputs.batch_producer import BatchProducer
from streams.outputs.connection import Connection
from streams.outputs.missing_topics import MissingTopics
from streams.outputs.outlet import Outlet, Outlets
from streams.outputs.queue import Queue, settle_all
from streams.outputs.records import Headers, Output

logger = logging.getLogger(__name__)

# Of a record's value, so that with key, headers and envelope it stays below the broker's limit of 1 MiB for a batch.
MAX_RECORD_BYTES = 1_000_000

# Seconds without sending after each batch. A batch costs about 50 µs of this process, so at most a third of its time goes to
# batches; with 1,000 busy output partitions each gathers for 0.15 s, and with one nobody notices. Where more than `FEW_RECORDS`
# were in a batch, on average, much is to be done, and nobody waits for the next record: then they gather longer, up to
# `LONGER` times. That took a quarter off the cost of a message with 44 busy output partitions.
BATCH_COST_S = 150e-6
FEW_RECORDS = 4
LONGER = 16
LONGEST_GATHER_S = 0.2
_BACKOFF_S = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
_TOO_LARGE = (MessageSizeTooLargeError, RecordListTooLargeError)


@dataclass
class Outbox:
    """Records to be sent, in order, by topic (without the prefix)."""

    topics: dict[str, list[Output]] = field(default_factory=dict)

    def add(self, topic: str, key: bytes, value: bytes) -> None:
        """Appends a record."""
        self.topics.setdefault(topic, []).append((key, value))


class Outputs:
    """The way out of an agent. Connects when the first record is sealed."""

    def __init__(self, settings: Settings, missing_wait_s: float | None = None) -> None:
        self._prefix = settings.topic_prefix
        # As Kafka numbers it; None is not among its names.
        compression = ("none", "gzip", "snappy", "lz4", "zstd").index(settings.kafka_compression)
        self._outlets = Outlets(compression)
        self._connection = Connection(settings, self._outlets)
        self._missing_topics = MissingTopics(settings, self._outlets, self._connection, missing_wait_s)
        self.touched = self._outlets.touched  # queues with records that are not sealed
        self._tasks: list[asyncio.Task[None]] = []
        self._stopped = False
        self.landed = 0  # batches that were acknowledged, ever

    # --- for callers ---

    def outlet(self, topic: str, headers: Headers = ()) -> Outlet:
        """The outlet of a topic (without the prefix), for records with these headers; the same for every call."""
        return self._outlets.outlet(topic, headers)

    def seal(self, finished: Callable[[], None]) -> None:
        """Lets go of the records that were put since the last call. `finished` is called when all are acknowledged, or parked."""
        if self.touched and not self._tasks and not self._stopped:
            self._tasks = [
                asyncio.create_task(self._keep_sending(), name="outputs"),
                asyncio.create_task(self._missing_topics.keep_looking(), name="missing topics"),
            ]
        self._outlets.seal(finished)

    async def send(self, outbox: Outbox) -> None:
        """Writes all records, or parks those whose topic is missing; returns when they are acknowledged. Does not raise."""
        for topic, records in outbox.topics.items():
            outlet = self.outlet(topic)
            for key, value in records:
                outlet.put(key, value)
        acknowledged = asyncio.Event()
        self.seal(acknowledged.set)
        await acknowledged.wait()

    async def stop(self) -> None:
        """Closes the connection. Gives up records that are not acknowledged: their input is not finished, and comes again."""
        self._stopped = True
        tasks, self._tasks = self._tasks, []
        await end(*tasks)
        await self._connection.close()

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
            except Exception:  # a fault of ours must not end the sending
                logger.exception("Records could not be written and will be tried again.", extra={"action": "send"})
                await asyncio.sleep(_BACKOFF_S[-1])

    async def _send_ready(self) -> None:
        """Waits for ready queues and sends a batch of each; then lets them gather."""
        outlets = self._outlets
        while not outlets.ready:
            outlets.wake.clear()
            await outlets.wake.wait()
        producer = await self._connection.ready()
        began = monotonic()
        ready, outlets.ready = outlets.ready, {}
        sent = records = 0
        full = False  # whether a queue has more than one batch
        try:
            while ready:
                queue = next(iter(ready))
                del ready[queue]
                if queue.flying is not None or not queue.waits():
                    continue
                if not outlets.of(queue).open:
                    self._missing_topics.look_soon()  # it makes the queue ready again
                    continue
                self._take_off(producer, queue)
                sent += 1
                records += 0 if queue.flying is None else len(queue.flying)
                full |= queue.waits()
        finally:
            outlets.ready = ready | outlets.ready  # a failure may have left some over
        pause = 0.0 if full else _gathering_s(sent, records) - (monotonic() - began)
        if pause > 0:
            await asyncio.sleep(pause)

    def _take_off(self, producer: BatchProducer, queue: Queue) -> None:
        name = self._prefix + queue.topic
        if not producer.leads(name, queue.partition):  # it is gone, or this producer does not know it yet
            self._outlets.of(queue).open = False
            self._missing_topics.look_soon()
            return
        batch = queue.take()
        queue.since = monotonic()
        self._outlets.flights.add(queue)
        try:
            producer.send(name, queue.partition, batch, partial(self._landed, producer, queue))
        except BaseException as error:
            self._outlets.flights.discard(queue)
            queue.take_back()
            self._outlets.ready[queue] = None
            if isinstance(error, KafkaError):
                self._connection.replace(producer)  # it takes no more batches
            raise

    def _landed(self, producer: BatchProducer, queue: Queue, error: BaseException | None) -> None:
        self._outlets.flights.discard(queue)
        if error is None:
            self.landed += 1
            queue.landed()
        elif isinstance(error, _TOO_LARGE):
            together = 0 if queue.flying is None else len(queue.flying)
            if together == 1:
                self._refuse(queue, error)
            else:
                queue.take_back()
                queue.one_by_one = together
        else:
            queue.take_back()
            if self._connection.producer is producer and not isinstance(error, UnknownTopicOrPartitionError):
                logger.warning(
                    "Records for %s cannot be written now and will be tried again: %r",
                    self._prefix + queue.topic,
                    error,
                    extra={"action": "send", "topic": self._prefix + queue.topic},
                )
                self._connection.replace(producer)
            pause = _BACKOFF_S[min(queue.failures, len(_BACKOFF_S) - 1)]
            queue.failures += 1
            asyncio.get_running_loop().call_later(pause, self._outlets.send_again, queue)
            return
        self._outlets.send_again(queue)

    def _refuse(self, queue: Queue, error: BaseException) -> None:
        """Makes a dead letter of the record in flight, which is alone."""
        topic = queue.topic
        assert queue.flying is not None
        ((key, value),) = queue.flying.pairs()
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
        # The receipt of the record waits for the letter, also where later records of the receipt are in the queue.
        waiting = [receipt for receipt, _ in receipts or [queue.receipts[0]]]
        if not receipts:
            waiting[0].open += 1
        self.outlet(DEAD_LETTERS.name).put(name.encode(), letter.encode())
        self.seal(settle_all(waiting))


def _gathering_s(batches: int, records: int) -> float:
    """How long records gather after so many batches were sent with so many records in all."""
    longer = min(max(records / (batches * FEW_RECORDS), 1.0), LONGER) if batches else 1.0
    return min(batches * BATCH_COST_S * longer, LONGEST_GATHER_S)
