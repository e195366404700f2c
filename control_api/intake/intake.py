"""Intake: writes what the API accepted to Kafka, each request whole or not at all.

The records of one request are written in one Kafka transaction, together with those of requests at the same moment; a
`read_committed` reader sees all of a request or nothing. `write` returns when the transaction is committed, so every record
is acknowledged by all in-sync replicas. When the broker does not answer, the caller is told within seconds and nothing of the
request appears later: a commit is only asked for once all records are acknowledged, and a transaction that was given up is
never committed. The next transaction under the same name aborts it, or the broker's own time limit does.

One gap cannot be closed from here: the broker may die between committing and saying so. Then `write` says that the outcome
is unknown, and the caller repeats under the same ids or Idempotency-Key, which makes the repeat recognisable. Even then it
is all or nothing.

Tried and worse: a plain idempotent Kafka producer. aiokafka never gives up a batch of such a producer. A request that was
answered with 503 would be written when the broker is back, and of an array perhaps one half.
"""

import asyncio
import logging
import random
import secrets
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import (
    IllegalOperation,
    KafkaError,
    MessageSizeTooLargeError,
    ProducerFenced,
    RecordListTooLargeError,
)
from aiokafka.partitioner import DefaultPartitioner

from notifier.errors import BrokerError, RecordTooLarge
from notifier.kafka import end_kafka_producer, ensure_topics, kafka_producer
from notifier.settings import Settings
from notifier.topics import MESSAGES, TICKS, Topic

logger = logging.getLogger(__name__)

WAIT_S = 4.0  # that a request waits for a broker that is away before it is refused
STALL_S = 4.0  # without a single answer from the broker until a transaction is given up
_CONNECT_S = 10.0
_RETRY_S = 0.5
_LOOK_S = 2.0  # between an idle intake's questions to the broker
_TRANSACTION_MS = 15_000  # then the broker aborts what a dead process left open; until then it holds up the readers
_GROUP_BYTES = 16 * 1024 * 1024  # of one transaction
_QUEUE_BYTES = 64 * 1024 * 1024  # waiting; beyond it, requests are refused
_BATCH_BYTES = 512 * 1024  # of one partition in one Kafka request

AWAY = "the Kafka broker does not answer, so nothing was accepted: try again"
UNKNOWN = (
    "the Kafka broker went away while it was committing, so either all of this was accepted or nothing:"
    " repeat it with the same ids or Idempotency-Key"
)


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A record to be written. `key` decides the partition; records of a request without key share one, in order."""

    topic: Topic
    value: bytes
    key: bytes | None = None


@dataclass(eq=False, slots=True)
class _Entry:
    records: Sequence[Outgoing]
    size: int
    written: "asyncio.Future[None]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    taken: bool = False  # in a transaction: too late to withdraw
    alone: bool = False  # shares no transaction, since one that it was in was refused


class _TooLarge(Exception):
    pass


class Intake:
    """Writes for one API process. `connected`: whether the broker answered the last time."""

    def __init__(self, settings: Settings, instance: str | None = None) -> None:
        """`instance`: a name unique in this installation that stays the same after a restart (host and port), if there is one.

        With it, a restarted process aborts at once the transaction that its predecessor left open.
        """
        self._settings = settings
        self._name = instance or secrets.token_hex(8)
        self._queue: deque[_Entry] = deque()
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
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        while self._queue:
            self._refuse(self._queue.popleft())

    async def write(self, records: Sequence[Outgoing]) -> None:
        """Writes the records, all or none, and returns when Kafka has committed them.

        Raises BrokerError: nothing was written, or, where the text says so, it is unknown whether all of it was. Raises
        RecordTooLarge for a record that the topic does not take.
        """
        if not records:
            return
        size = sum(len(record.value) + len(record.key or b"") + 70 for record in records)
        if self._queued_bytes and self._queued_bytes + size > _QUEUE_BYTES:
            raise BrokerError("more is waiting to be written than the Kafka broker takes: try again in some seconds")
        entry = _Entry(records, size)
        self._queue.append(entry)
        self._queued_bytes += size
        self._filled.set()
        try:
            await asyncio.wait([entry.written], timeout=WAIT_S)
            if not entry.written.done() and not entry.taken:
                raise BrokerError(AWAY)
            await asyncio.shield(entry.written)  # bounded by the limits of the transaction
        finally:
            if not entry.taken and entry in self._queue:
                self._queue.remove(entry)
                self._queued_bytes -= entry.size
            entry.written.cancel()

    def _refuse(self, entry: _Entry, error: Exception | None = None) -> None:
        if not entry.written.done():
            entry.written.set_exception(error or BrokerError(AWAY))
            entry.written.exception()  # looked at, also where its caller is gone

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
                # Another process has this name, or this one slept past the transaction's limit; a new name ends either.
                self._name = secrets.token_hex(8)
                logger.warning(
                    "Another Kafka producer took over; going on under a new name.", extra={"action": "rename_producer"}
                )
            except _TooLarge:
                logger.warning(
                    "The topic took no record of a size that Notifier takes.", extra={"action": "write_intake"}
                )
            except (KafkaError, BrokerError, OSError, TimeoutError) as error:
                if not quiet:
                    logger.warning(
                        "The Kafka broker does not answer; requests that write are refused until it does: %s",
                        error or type(error).__name__,
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

    def _producer(self) -> AIOKafkaProducer:
        return kafka_producer(
            self._settings,
            transactional_id=f"{self._settings.topic_prefix}api-{self._name}",
            transaction_timeout_ms=_TRANSACTION_MS,
            request_timeout_ms=5_000,
            max_batch_size=_BATCH_BYTES,
            linger_ms=0,
        )

    async def _serve(self, producer: AIOKafkaProducer) -> None:
        while True:
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
                await self._transact(producer, group)

    def _take(self) -> list[_Entry]:
        group: list[_Entry] = []
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

    async def _transact(self, producer: AIOKafkaProducer, group: list[_Entry]) -> None:
        failure: BrokerError | RecordTooLarge | None = BrokerError(AWAY)
        sent: list[asyncio.Future[Any]] = []
        try:
            async with asyncio.timeout(STALL_S) as limit:
                await producer.begin_transaction()
                await self._send(producer, group, sent, limit)
                for future in sent:
                    await future
                    _extend(limit)
            failure = BrokerError(UNKNOWN)  # from here on, until the broker has answered
            async with asyncio.timeout(STALL_S):
                await producer.commit_transaction()
            failure = None
        except (MessageSizeTooLargeError, RecordListTooLargeError) as error:
            # The topic takes less than it takes by default. Nothing was committed; who is to blame shows when each is alone.
            failure = RecordTooLarge(f"the topic takes no record of that size: {error}") if len(group) == 1 else None
            if failure is None:
                self._give_back(group)
            raise _TooLarge from error  # aiokafka loses count of the partition's batches; a new Kafka producer counts anew
        except IllegalOperation as error:
            raise KafkaError(str(error)) from error
        finally:
            for future in sent:
                if not future.cancel() and not future.cancelled():
                    future.exception()  # looked at, so that asyncio does not complain about it
            for entry in group:
                if failure is not None:
                    self._refuse(entry, failure)
                elif entry.taken and not entry.written.done():
                    entry.written.set_result(None)

    def _give_back(self, group: list[_Entry]) -> None:
        """Puts requests back in front of the queue, each to be written alone."""
        for entry in reversed(group):
            if not entry.written.done():
                entry.taken, entry.alone = False, True
                self._queue.appendleft(entry)
                self._queued_bytes += entry.size
        self._filled.set()

    async def _send(
        self,
        producer: AIOKafkaProducer,
        group: list[_Entry],
        sent: "list[asyncio.Future[Any]]",
        limit: asyncio.Timeout,
    ) -> None:
        """Hands all records to the Kafka producer, in batches of one partition each."""
        batches: dict[tuple[str, int], Any] = {}
        known: dict[str, list[int]] = {}  # partitions of a topic
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
                batch = batches.get(place)
                if batch is None:
                    batch = batches[place] = producer.create_batch()
                if batch.append(key=record.key, value=record.value, timestamp=None) is None:
                    sent.append(await producer.send_batch(batch, topic, partition=partition))
                    _extend(limit)
                    batch = batches[place] = producer.create_batch()
                    batch.append(key=record.key, value=record.value, timestamp=None)
                if count % 500 == 499:
                    await asyncio.sleep(0)  # lets other requests run
        for (topic, partition), batch in batches.items():
            sent.append(await producer.send_batch(batch, topic, partition=partition))


def _extend(limit: asyncio.Timeout) -> None:
    limit.reschedule(asyncio.get_running_loop().time() + STALL_S)
