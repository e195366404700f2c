"""Relay: publishes the outbox on `definitions`, one revision after another, each as one Kafka transaction.

    database transaction ── outbox ──► relay ── Kafka transaction ──► definitions ──► router, runner, delivery

At least once: a relay that dies between Kafka's commit and the mark in the database leaves the revision to be published
again, which changes nothing for readers. In order: one relay works at a time, by a lease in the database. A relay that
lost its lease without noticing is fenced by Kafka, because its successor began with the same `transactional.id`. The lease
compares the clocks of its takers; when they differ, the fence still holds.

A relay that begins compares the topic with the database and publishes what the topic has lost (a new or restored broker)
as one transaction. What is on the topic and not in the database it reports and leaves there: a database set by mistake
must not be able to empty a pipeline that works.
"""

import asyncio
import logging
import os
import socket
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import msgspec
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError
from sqlalchemy import Row, Select, delete, func, insert, select, update

from control_api.definitions.changes import as_kind, lock
from control_api.models import ChangeRow, DefinitionRow, LeaseRow, OutboxRow
from notifier.database import Database
from notifier.definition import Definition, definition_key
from notifier.errors import BrokerError, DatabaseError, NotifierError
from notifier.kafka import bootstrap_servers, end_kafka_producer, ensure_topics, kafka_consumer, kafka_producer
from notifier.record import now
from notifier.settings import Settings
from notifier.topics import DEFINITIONS, DELIVERIES, Topic, deliveries

logger = logging.getLogger(__name__)

LEASE = "outbox"  # name of the lease
LEASE_S = 15.0  # seconds that a relay may be silent before another takes over
POLL_S = 1.0  # seconds between looks at the outbox when nobody wakes the relay
_KAFKA_S = 30.0  # seconds for one exchange with Kafka (a whole transaction) before it counts as failed


class _LeaseLost(NotifierError):
    """Another relay has the lease now."""


@dataclass(frozen=True, kw_only=True)
class OutboxRecord:
    """A record to be published. `topic` is the topic of deliveries (with `partitions`) that must be there before."""

    key: str
    value: bytes | None
    topic: str | None = None
    partitions: int = 1


class Relay:
    """Publishes the outbox while it holds the lease. `start` once, `wake` after a commit, `stop` at the end."""

    def __init__(
        self, settings: Settings, database: Database, *, lease_s: float = LEASE_S, poll_s: float = POLL_S
    ) -> None:
        self.problem: str | None = None  # why nothing can be published now; None while all is well
        self._settings = settings
        self._database = database
        self._lease_s = lease_s
        self._poll_s = poll_s
        self._owner = f"{socket.gethostname()}/{os.getpid()}/{uuid.uuid4().hex[:8]}"
        self._renew_at = 0.0  # by the monotonic clock
        self._holds = False
        self._producer: AIOKafkaProducer | None = None
        self._woken = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def leads(self) -> bool:
        """Whether this relay holds the lease, as far as it knows."""
        return self._holds

    def wake(self, revision: int | None = None) -> None:
        """Says that something was committed, from within the event loop; the next look is at once."""
        self._woken.set()

    async def start(self) -> None:
        """Begins to publish in the background. A broker or database that is away is waited for."""
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="relay")

    async def stop(self) -> None:
        """Ends publishing and gives the lease back; what is not published stays in the outbox."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        await self.close()

    async def close(self) -> None:
        """Gives back the lease and the connections."""
        await self._close_kafka()
        if self._holds:
            self._holds = False
            try:
                async with self._database.write() as session:
                    await session.execute(delete(LeaseRow).where(LeaseRow.name == LEASE, LeaseRow.owner == self._owner))
            except DatabaseError as error:
                logger.warning("The relay's lease runs out by itself: %s", error, extra={"action": "release_lease"})

    async def pending(self) -> int:
        """How many revisions wait to be published."""
        async with self._database.read() as session:
            return int(await session.scalar(select(func.count(func.distinct(OutboxRow.revision)))) or 0)

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
            while (waiting := await self._next()) is not None:
                await self._renew()
                revision, records = waiting
                await self._send(revision, records)
                await self._mark(revision, revision)
                logger.info("Published revision %s.", revision, extra={"action": "publish", "revision": revision})
        except _LeaseLost:
            await self._close_kafka()
            return False
        except (KafkaError, OSError, TimeoutError) as error:
            self._renew_at = 0.0  # fenced, perhaps: ask the database again who leads
            await self._close_kafka()
            raise BrokerError(f"the Kafka broker does not take the definitions: {_text(error)}") from error
        except NotifierError:
            await self._close_kafka()
            raise
        return True

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
                self.problem = _text(error)
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

    # ------------------------------------------------------------------------------------------------------- the lease

    async def _lead(self) -> bool:
        if self._holds and time.monotonic() < self._renew_at:
            return True
        if self._holds:
            try:
                await self._renew(force=True)
            except _LeaseLost:
                await self._close_kafka()
            else:
                return True
        return await self._take_lease()

    async def _take_lease(self) -> bool:
        async with self._database.read() as session:  # most looks find a holder, and need not write
            lease = (await session.execute(_lease())).one_or_none()
        if lease is not None and lease.until > now():
            return False
        async with self._database.write() as session:
            await lock(session)
            lease = (await session.execute(_lease())).one_or_none()
            moment = now()
            if lease is not None and lease.until > moment:
                return False
            await session.execute(delete(LeaseRow).where(LeaseRow.name == LEASE))
            until = moment + timedelta(seconds=self._lease_s)
            await session.execute(insert(LeaseRow).values(name=LEASE, owner=self._owner, until=until))
        self._hold()
        logger.info("This process publishes the definitions from now on.", extra={"action": "take_lease"})
        return True

    async def _renew(self, force: bool = False) -> None:
        if not force and time.monotonic() < self._renew_at:
            return
        async with self._database.write() as session:
            renewed = await session.execute(
                update(LeaseRow)
                .where(LeaseRow.name == LEASE, LeaseRow.owner == self._owner)
                .values(until=now() + timedelta(seconds=self._lease_s))
                .returning(LeaseRow.owner)
            )
            if renewed.one_or_none() is None:
                self._holds = False
                raise _LeaseLost("another relay publishes the definitions now")
        self._hold()

    def _hold(self) -> None:
        self._holds = True
        self._renew_at = time.monotonic() + self._lease_s / 3

    # ----------------------------------------------------------------------------------------------------------- Kafka

    async def _open_kafka(self) -> None:
        await ensure_topics(self._settings, [DEFINITIONS])
        producer = kafka_producer(
            self._settings, transactional_id=self._settings.topic_prefix + LEASE, transaction_timeout_ms=60_000
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
            await ensure_topics(self._settings, [_deliveries(record) for record in topics.values()])
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

    # -------------------------------------------------------------------------------------------------------- database

    async def _next(self) -> tuple[int, list[OutboxRecord]] | None:
        """The oldest revision that waits, with its records in order."""
        oldest = select(func.min(OutboxRow.revision)).scalar_subquery()
        statement = select(OutboxRow).where(OutboxRow.revision == oldest).order_by(OutboxRow.position)
        async with self._database.read() as session:
            rows = (await session.scalars(statement)).all()
        if not rows:
            return None
        return rows[0].revision, [
            OutboxRecord(
                key=row.key,
                value=None if row.value is None else row.value.encode(),
                topic=row.topic,
                partitions=row.partitions or 1,
            )
            for row in rows
        ]

    async def _mark(self, first: int, last: int) -> None:
        """Says that Kafka has these revisions, and takes them out of the outbox."""
        async with self._database.write() as session:
            await session.execute(delete(OutboxRow).where(OutboxRow.revision.between(first, last)))
            await session.execute(
                update(ChangeRow)
                .where(ChangeRow.revision.between(first, last), ChangeRow.published_at.is_(None))
                .values(published_at=now())
            )

    async def _repair(self) -> None:
        """Publishes what the topic should have and has not, apart from what waits in the outbox.

        Where the topic is empty, all definitions go out as they stand, in one transaction, so that nobody sees one
        without the others; what waited went with them.
        """
        published = await self._read_topic()
        async with self._database.write() as session:
            await lock(session)  # a change between the two statements would look like something lost
            waiting = (await session.execute(select(OutboxRow.key, OutboxRow.revision))).all()
            rows = (await session.execute(_definitions())).all()
        records = {definition_key(as_kind(row.kind), row.name): _record(row) for row in rows}
        pending = {row.key for row in waiting}
        lost = {key for key in records.keys() - pending if not _same(published.get(key), records[key].value)}
        unknown = sorted(published.keys() - records.keys() - pending)
        if unknown:
            logger.warning(
                "%s definitions on the topic are not in the database, for instance %s: is %s the right database?",
                len(unknown),
                unknown[0],
                self._database.url.render_as_string(hide_password=True),
                extra={"action": "repair"},
            )
        if not lost:
            return
        whole = not published
        keys = [key for key in records if whole or key in lost]
        logger.warning(
            "%s definitions were missing on the topic and are published again.", len(keys), extra={"action": "repair"}
        )
        await self._renew()
        await self._send(max(row.revision for row in rows), [records[key] for key in keys])
        if whole and waiting:
            await self._mark(min(row.revision for row in waiting), max(row.revision for row in waiting))


async def publish_pending(settings: Settings, database: Database, revision: int, timeout_s: float = 20.0) -> None:
    """Returns when the revision is on the topic: publishes it, or waits for the relay that holds the lease.

    Raises BrokerError when it is not there in time, or cannot be; it stays in the outbox and is published later.
    """
    bootstrap_servers(settings)  # raises at once where there is no broker at all
    deadline = time.monotonic() + timeout_s
    relay = Relay(settings, database)
    try:
        while not await _is_published(database, revision):
            if await relay.publish():
                continue
            if time.monotonic() > deadline:
                raise BrokerError("the relay of another process, which publishes definitions, has not done it in time")
            await asyncio.sleep(0.1)
    finally:
        await relay.close()


async def _is_published(database: Database, revision: int) -> bool:
    async with database.read() as session:
        waiting = await session.scalar(select(func.count()).where(OutboxRow.revision == revision))
    return not waiting


def _lease() -> Select[str, datetime]:
    return select(LeaseRow.owner, LeaseRow.until).where(LeaseRow.name == LEASE)


def _definitions() -> Select[Any]:
    return select(
        DefinitionRow.kind, DefinitionRow.name, DefinitionRow.revision, DefinitionRow.spec, DefinitionRow.partitions
    ).order_by(DefinitionRow.revision, DefinitionRow.kind, DefinitionRow.name)


def _record(row: Row[Any]) -> OutboxRecord:
    """What the topic should hold of a stored definition."""
    definition = Definition(kind=as_kind(row.kind), name=row.name, revision=row.revision, spec=row.spec)
    return OutboxRecord(
        key=definition_key(definition.kind, definition.name),
        value=definition.encode(),
        topic=deliveries(row.name).name if row.partitions is not None else None,
        partitions=row.partitions or 1,
    )


def _same(published: bytes | None, stored: bytes | None) -> bool:
    """Whether two values say the same: PostgreSQL keeps no order of fields."""
    if published is None or stored is None or published == stored:
        return published == stored
    try:
        return bool(msgspec.json.decode(published) == msgspec.json.decode(stored))
    except msgspec.DecodeError:
        return False


def _deliveries(record: OutboxRecord) -> Topic:
    assert record.topic is not None
    return deliveries(record.topic.removeprefix(DELIVERIES), record.partitions)


def _text(error: BaseException) -> str:
    """An error on one line; some of Kafka's have no text."""
    return " ".join(str(error).split()) or type(error).__name__
