"""Writer: a queue of requests, and the one Kafka producer that writes those that wait, together.

What is common to `control_api.intake.singles` and `control_api.intake.transactions`, which say what a group is to Kafka.
"""

import asyncio
import logging
import random
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, ProducerFenced
from aiokafka.partitioner import DefaultPartitioner

from control_api.intake.outgoing import Outgoing
from notifier.ending import end
from notifier.errors import BrokerError, RecordTooLarge
from notifier.kafka import end_kafka_producer, ensure_topics, kafka_producer
from notifier.settings import Settings
from notifier.topics import MESSAGES, TICKS

logger = logging.getLogger(__name__)

WAIT_S = 4.0  # that a request waits for a broker that is away before it is refused
STALL_S = 4.0  # without a single answer from the broker until a group is given up
_CONNECT_S = 10.0
_RETRY_S = 0.5
_LOOK_S = 2.0  # between an idle writer's questions to the broker
_GROUP_BYTES = 16 * 1024 * 1024  # written together
_QUEUE_BYTES = 64 * 1024 * 1024  # waiting; beyond it, requests are refused
_BATCH_BYTES = 512 * 1024  # of one partition in one Kafka request

AWAY = "the Kafka broker does not answer, so nothing was accepted: try again"
UNKNOWN = (
    "the Kafka broker went away while it was writing, so either all of this was accepted or nothing:"
    " repeat it with the same ids or Idempotency-Key"
)


@dataclass(eq=False, slots=True)
class Entry:
    """One request in the queue."""

    records: Sequence[Outgoing]
    size: int
    written: "asyncio.Future[None]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    taken: bool = False  # in a group: too late to withdraw
    alone: bool = False  # shares no group, since one that it was in was refused

    def accept(self) -> None:
        """Says that it is written."""
        if not self.written.done():
            self.written.set_result(None)

    def refuse(self, error: Exception) -> None:
        """Says why it is not, or may not be."""
        if not self.written.done():
            self.written.set_exception(error)
            self.written.exception()  # looked at, also where its caller is gone

    def give_up(self) -> None:
        """Refuses it where nobody has taken it so far."""
        if not self.taken:
            self.refuse(BrokerError(AWAY))


@dataclass(slots=True)
class Sent:
    """One batch that was handed to the Kafka producer, and the requests that have a record in it."""

    answer: "asyncio.Future[Any]"
    entries: list[Entry]


class TopicRefused(Exception):
    """The topic took no record of a size that Notifier takes. A new Kafka producer is needed."""


class Writer:
    """Writes one group after another. `connected`: whether the broker answered the last time."""

    def __init__(self, settings: Settings, **options: Any) -> None:
        """`options`: of the Kafka producer."""
        self._settings = settings
        self._options = options
        self._queue: deque[Entry] = deque()
        self._queued_bytes = 0
        self._filled = asyncio.Event()
        self._partitioner = DefaultPartitioner()
        self._task: asyncio.Task[None] | None = None
        self.connected = False

    async def start(self) -> None:
        """Begins to work; returns at once, whether the broker is there or not."""
        if self._task is None:
            self._task = asyncio.create_task(self._work(), name="intake")

    async def stop(self) -> None:
        """Ends. What is still waiting is refused."""
        task, self._task = self._task, None
        if task is not None:
            await end(task)
        while self._queue:
            self._queue.popleft().refuse(BrokerError(AWAY))

    async def write(self, records: Sequence[Outgoing]) -> None:
        """Writes the records of one request. See `control_api.intake.intake`."""
        size = sum(len(record.value or b"") + len(record.key or b"") + 70 for record in records)
        if self._queued_bytes and self._queued_bytes + size > _QUEUE_BYTES:
            raise BrokerError("more is waiting to be written than the Kafka broker takes: try again in some seconds")
        entry = Entry(records, size)
        self._queue.append(entry)
        self._queued_bytes += size
        self._filled.set()
        patience = asyncio.get_running_loop().call_later(WAIT_S, entry.give_up)
        try:
            await entry.written  # bounded by that, and once it is taken by the limits of the group
        finally:
            patience.cancel()
            if not entry.taken and entry in self._queue:
                self._queue.remove(entry)
                self._queued_bytes -= entry.size

    async def _work(self) -> None:
        quiet = False  # whether an outage was logged already
        while True:
            producer: AIOKafkaProducer | None = None
            try:
                async with asyncio.timeout(_CONNECT_S):
                    await ensure_topics(self._settings, [MESSAGES, TICKS])
                producer = self._producer()
                async with asyncio.timeout(_CONNECT_S):
                    await producer.start()
                self.connected, quiet = True, False
                await self._serve(producer)
            except ProducerFenced:
                self._rename()
            except TopicRefused:
                logger.warning(
                    "The topic took no record of a size that Notifier takes.", extra={"action": "write_intake"}
                )
            except (KafkaError, BrokerError, OSError, TimeoutError) as error:
                if not quiet:
                    logger.warning(
                        "The Kafka broker does not answer; requests that write are refused until it does: %s",
                        str(error) or type(error).__name__,
                        extra={"action": "write_intake"},
                    )
                quiet = True
            except Exception:  # the supervisor of this loop: without it the API would refuse writes for ever
                logger.exception("Writing to Kafka failed and starts anew.", extra={"action": "write_intake"})
            finally:
                self.connected = False
                if producer is not None:
                    await end_kafka_producer(producer)
            await asyncio.sleep(_RETRY_S)

    def _rename(self) -> None:
        """Takes a new name, where another Kafka producer has the one so far."""

    def _producer(self) -> AIOKafkaProducer:
        options = {"request_timeout_ms": 5_000, "max_batch_size": _BATCH_BYTES, "linger_ms": 0, **self._options}
        return kafka_producer(self._settings, **options)

    async def _serve(self, producer: AIOKafkaProducer) -> None:
        while True:
            if not self._filled.is_set():
                try:
                    async with asyncio.timeout(_LOOK_S):
                        await self._filled.wait()
                except TimeoutError:
                    async with asyncio.timeout(STALL_S):
                        # aiokafka notices a lost connection only when it next needs one.
                        await producer.client.fetch_all_metadata()
                    continue
            group = self._take()
            if group:
                await self._put(producer, group)

    def _take(self) -> list[Entry]:
        group: list[Entry] = []
        size = 0
        while self._queue and (not group or size + self._queue[0].size <= _GROUP_BYTES):
            if group and (self._queue[0].alone or group[0].alone):
                break
            entry = self._queue.popleft()
            self._queued_bytes -= entry.size
            entry.taken = True
            size += entry.size
            group.append(entry)
        if not self._queue:
            self._filled.clear()
        return group

    async def _put(self, producer: AIOKafkaProducer, group: list[Entry]) -> None:
        """Writes the group, and says to each of its requests how that ended. Raises what ends the Kafka producer."""
        raise NotImplementedError

    def _refuse_as_too_large(self, entries: list[Entry], error: Exception) -> None:
        """The topic takes less than it takes by default. Who is to blame shows when each is alone."""
        if len(entries) == 1:
            entries[0].refuse(RecordTooLarge(f"the topic takes no record of that size: {error}"))
            return
        for entry in reversed(entries):
            if not entry.written.done():
                entry.taken, entry.alone = False, True
                self._queue.appendleft(entry)
                self._queued_bytes += entry.size
        self._filled.set()

    async def _send(
        self, producer: AIOKafkaProducer, group: list[Entry], sent: list[Sent], limit: asyncio.Timeout
    ) -> None:
        """Hands all records to the Kafka producer, in batches of one partition each."""
        batches: dict[tuple[str, int], tuple[Any, list[Entry]]] = {}
        known: dict[str, list[int]] = {}  # partitions of a topic

        async def hand_over(place: tuple[str, int]) -> None:
            batch, entries = batches[place]
            sent.append(Sent(await producer.send_batch(batch, place[0], partition=place[1]), entries))
            extend(limit)

        for entry in group:
            keyless: dict[str, int] = {}
            for count, record in enumerate(entry.records):
                topic = self._settings.topic_prefix + record.topic.name
                partitions = known.get(topic)
                if partitions is None:
                    partitions = known[topic] = sorted(await producer.partitions_for(topic))
                if record.key is not None:
                    partition = self._partitioner(record.key, partitions, partitions)
                else:
                    partition = keyless.setdefault(topic, random.choice(partitions))  # noqa: S311 - spreads load
                place = topic, partition
                if place not in batches:
                    batches[place] = producer.create_batch(), []
                batch, entries = batches[place]
                if batch.append(key=record.key, value=record.value, timestamp=None) is None:
                    await hand_over(place)
                    batch, entries = batches[place] = producer.create_batch(), []
                    batch.append(key=record.key, value=record.value, timestamp=None)
                if not entries or entries[-1] is not entry:
                    entries.append(entry)
                if count % 500 == 499:
                    await asyncio.sleep(0)  # lets other requests run
        for place in batches:
            await hand_over(place)


def look_at(sent: list[Sent]) -> None:
    """Takes note of failures, so that asyncio does not complain about them."""
    for one in sent:
        if not one.answer.cancel() and not one.answer.cancelled():
            one.answer.exception()


def extend(limit: asyncio.Timeout) -> None:
    """The broker may be silent for `STALL_S` from now on."""
    limit.reschedule(asyncio.get_running_loop().time() + STALL_S)
