"""Relay: publishes the outbox on `definitions`, one revision after another, each as one Kafka transaction.

    database transaction ── outbox ──► relay ── Kafka transaction ──► definitions ──► router, runner, delivery

At least once: a relay that dies between Kafka's commit and the mark in the database leaves the revision to be published
again, which changes nothing for readers. In order: one relay works at a time, by `control_api.definitions.lease`. A relay
that lost its lease without noticing is fenced by Kafka, because its successor began with the same `transactional.id`.

A relay that begins compares the topic with the database and publishes what the topic has lost (a new or restored broker)
as one transaction. Definitions that only the topic has are reported and stay there: a wrong database in the settings must
not be able to empty a pipeline that works.
"""

import asyncio
import logging
import time
from collections.abc import Sequence

import msgspec
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError

from control_api.definitions.lease import LEASE_S, Lease, LeaseLost
from control_api.definitions.outbox import Outbox, OutboxRecord
from notifier.database import Database
from notifier.ending import end
from notifier.errors import BrokerError, DatabaseError, NotifierError
from notifier.kafka import (
    bootstrap_servers,
    end_kafka_producer,
    ensure_topics,
    grow_topics,
    kafka_consumer,
    kafka_producer,
)
from notifier.one_line import one_line
from notifier.settings import Settings
from notifier.topics import DEFINITIONS, DELIVERIES, Topic, deliveries

logger = logging.getLogger(__name__)

POLL_S = 1.0  # seconds between looks at the outbox when nobody wakes the relay
_TRANSACTIONAL_ID = "outbox"
_KAFKA_S = 30.0  # seconds for one exchange with Kafka (a whole transaction) before it counts as failed


class Relay:
    """Publishes the outbox while it holds the lease. `start` once, `wake` after a commit, `stop` at the end."""

    def __init__(
        self, settings: Settings, database: Database, *, lease_s: float = LEASE_S, poll_s: float = POLL_S
    ) -> None:
        self.problem: str | None = None  # why nothing can be published now; None while all is well
        self._settings = settings
        self._database = database
        self._lease = Lease(database, lease_s)
        self._outbox = Outbox(database)
        self._poll_s = poll_s
        self._producer: AIOKafkaProducer | None = None
        self._woken = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def leads(self) -> bool:
        """Whether this relay holds the lease, as far as it knows."""
        return self._lease.held

    def wake(self, revision: int | None = None) -> None:
        """Has the relay look at the outbox at once. Called from within the event loop, after a commit."""
        self._woken.set()

    async def start(self) -> None:
        """Begins to publish in the background. A broker or database that is away is waited for."""
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="relay")

    async def stop(self) -> None:
        """Ends publishing and gives the lease back; what is not published stays in the outbox."""
        task, self._task = self._task, None
        if task is not None:
            await end(task)
        await self.close()

    async def close(self) -> None:
        """Gives back the connections and the lease."""
        await self._close_kafka()
        await self._lease.release()

    async def pending(self) -> int:
        """How many revisions wait to be published."""
        return await self._outbox.pending()

    async def publish(self) -> bool:
        """Publishes all that waits, if the lease can be had; False when another relay has it.

        Raises BrokerError or DatabaseError; nothing is lost then, and the next call goes on.
        """
        try:
            if not await self._lead():
                return False
            if self._producer is None:
                await self._open_kafka()
                await self._repair()
            while (waiting := await self._outbox.oldest()) is not None:
                await self._lease.renew()
                revision, records = waiting
                await self._send(revision, records)
                await self._outbox.mark(revision, revision)
                logger.info("Published revision %s.", revision, extra={"action": "publish", "revision": revision})
        except LeaseLost:
            await self._close_kafka()
            return False
        except (KafkaError, OSError, TimeoutError) as error:
            self._lease.doubt()  # fenced, perhaps
            await self._close_kafka()
            raise BrokerError(f"the Kafka broker does not take the definitions: {one_line(error)}") from error
        except NotifierError:
            await self._close_kafka()
            raise
        return True

    async def _lead(self) -> bool:
        try:
            return await self._lease.acquire()
        except LeaseLost:
            await self._close_kafka()  # the other relay has fenced it
            return await self._lease.acquire()

    async def _run(self) -> None:
        while True:
            self._woken.clear()
            try:
                await self.publish()
            except (BrokerError, DatabaseError) as error:
                if self.problem is None:
                    logger.warning(
                        "Definitions cannot be published now and wait in the outbox: %s",
                        error,
                        extra={"action": "publish"},
                    )
                self.problem = str(error)
            except Exception as error:  # the supervisor of this loop: one bad revision must be seen, not end publishing
                logger.exception("Publishing definitions failed and is tried again.", extra={"action": "publish"})
                self.problem = one_line(error)
                await self._close_kafka()
            else:
                if self.problem is not None:
                    logger.info("Definitions are published again.", extra={"action": "publish"})
                self.problem = None
            try:
                async with asyncio.timeout(self._poll_s):
                    await self._woken.wait()
            except TimeoutError:
                pass  # time for the next look

    async def _repair(self) -> None:
        """Publishes what the topic should hold and does not, apart from what waits in the outbox.

        Where the topic is empty, all definitions go out as they stand, in one transaction, so that no reader sees one
        without the others. The outbox is empty then: its revisions went with them.
        """
        published = await self._read_topic()
        stored = await self._outbox.snapshot()
        pending = {key for key, _ in stored.waiting}
        unknown = sorted(published.keys() - stored.records.keys() - pending)
        if unknown:
            logger.warning(
                "%s definitions on the topic are not in the database, for instance %s: is %s the right database?",
                len(unknown),
                unknown[0][:200],
                self._database.url.render_as_string(hide_password=True),
                extra={"action": "repair"},
            )
        lost = {
            key
            for key, record in stored.records.items()
            if key not in pending and not _same(published.get(key), record.value)
        }
        if not lost:
            return
        whole = not published
        records = [record for key, record in stored.records.items() if whole or key in lost]
        logger.warning(
            "%s definitions were missing on the topic and are published again.",
            len(records),
            extra={"action": "repair"},
        )
        await self._lease.renew()
        await self._send(stored.newest, records)
        if whole and stored.waiting:
            revisions = [revision for _, revision in stored.waiting]
            await self._outbox.mark(min(revisions), max(revisions))

    # --- Kafka ---

    async def _open_kafka(self) -> None:
        await ensure_topics(self._settings, [DEFINITIONS])
        producer = kafka_producer(
            self._settings,
            transactional_id=self._settings.topic_prefix + _TRANSACTIONAL_ID,
            transaction_timeout_ms=60_000,
        )
        self._producer = producer
        async with asyncio.timeout(_KAFKA_S):
            await producer.start()  # from here on every earlier producer of this id is fenced

    async def _close_kafka(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            await end_kafka_producer(producer)  # a transaction that is open now is aborted by the next relay

    async def _send(self, revision: int, records: Sequence[OutboxRecord]) -> None:
        """Publishes records as one Kafka transaction. Returns when it is committed."""
        assert self._producer is not None
        topics = {record.topic: record for record in records if record.topic is not None}
        # Also asked without topics: a Kafka producer takes its whole time limit to notice that the broker is away.
        async with asyncio.timeout(_KAFKA_S):
            wanted = [_deliveries(record) for record in topics.values()]
            await ensure_topics(self._settings, wanted)
            await grow_topics(self._settings, wanted)
        topic = self._settings.topic_prefix + DEFINITIONS.name
        number = [("revision", str(revision).encode())]
        async with asyncio.timeout(_KAFKA_S):
            await self._producer.begin_transaction()
            sent = [
                await self._producer.send(
                    topic,
                    key=record.key.encode(),
                    value=record.value,
                    partition=0,
                    headers=[*number, ("last", b"1")] if place == len(records) else number,
                )
                for place, record in enumerate(records, 1)
            ]
            answers = await asyncio.gather(*sent, return_exceptions=True)  # one that fails takes the others with it
            for answer in answers:
                if isinstance(answer, BaseException):
                    raise answer
            await self._producer.commit_transaction()

    async def _read_topic(self) -> dict[str, bytes]:
        """The definitions on the topic: the newest value of each key."""
        partition = TopicPartition(self._settings.topic_prefix + DEFINITIONS.name, 0)
        found: dict[str, bytes] = {}
        consumer = kafka_consumer(self._settings)
        try:
            async with asyncio.timeout(_KAFKA_S):
                await consumer.start()
                consumer.assign([partition])
                end = (await consumer.end_offsets([partition]))[partition]
                await consumer.seek_to_beginning(partition)
                while await consumer.position(partition) < end:
                    for record in (await consumer.getmany(partition, timeout_ms=200)).get(partition, []):
                        key = (record.key or b"").decode(errors="replace")
                        if record.value is None:
                            found.pop(key, None)
                        else:
                            found[key] = record.value
        finally:
            await consumer.stop()
        return found


async def publish_pending(settings: Settings, database: Database, revision: int, timeout_s: float = 20.0) -> None:
    """Returns when the revision is on the topic: publishes it, or waits for the relay that holds the lease.

    Raises BrokerError when it is not there in time, or cannot be; it stays in the outbox and is published later.
    """
    bootstrap_servers(settings)  # raises at once where there is no broker at all
    deadline = time.monotonic() + timeout_s
    outbox = Outbox(database)
    relay = Relay(settings, database)
    try:
        while await outbox.holds(revision):
            if await relay.publish():
                continue
            if time.monotonic() > deadline:
                raise BrokerError("the relay of another process, which publishes definitions, has not done it in time")
            await asyncio.sleep(0.1)
    finally:
        await relay.close()


def _same(published: bytes | None, stored: bytes | None) -> bool:
    """Whether two values are equal as JSON: PostgreSQL keeps no order of fields."""
    if published is None or stored is None or published == stored:
        return published == stored
    try:
        return bool(msgspec.json.decode(published) == msgspec.json.decode(stored))
    except (msgspec.DecodeError, RecursionError):
        return False


def _deliveries(record: OutboxRecord) -> Topic:
    assert record.topic is not None
    return deliveries(record.topic.removeprefix(DELIVERIES), record.partitions)
