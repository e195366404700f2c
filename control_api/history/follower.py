"""History: follows `attempts`, `dead_letters` and `runs` and keeps them in the database.

The position in each partition is written in the transaction that stores what was read, so each record is in the history
once, whenever a process, the broker or the database dies. Several API processes share the partitions (group
`<prefix>history`); one that does not know yet that it lost a partition stores nothing twice, since a record's place is
unique. Counters are passed over. What cannot be read is logged and passed over, and a version that this program does not
know ends the following: the API is then not ready. Asking the history is `control_api.history.records`', forgetting
`control_api.retention`'s.
"""

import asyncio
import logging
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import unquote

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.abc import ConsumerRebalanceListener
from aiokafka.errors import IllegalStateError, KafkaError
from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession

from control_api.models import AttemptRow, Base, DeadLetterRow, HistoryOffsetRow, RunRow
from notifier.attempt import Attempt, Counters
from notifier.database import Database
from notifier.dead_letter import DeadLetter
from notifier.errors import BrokerError, DatabaseError, InvalidRecord, UnsupportedVersion
from notifier.kafka import ensure_topics, kafka_consumer
from notifier.run import Run
from notifier.settings import Settings
from notifier.topics import ATTEMPTS, DEAD_LETTERS, RUNS

logger = logging.getLogger(__name__)

TOPICS = (ATTEMPTS, DEAD_LETTERS, RUNS)
GROUP = "history"  # after the prefix
_RETRY_S = 1.0
_CONNECT_S = 10.0
_BATCH = 1000  # records in one transaction
_WAIT_MS = 500

Row = dict[str, Any]


class History:
    """The follower of one API process.

    `lag` is how many records of its partitions it has still to read, None while it follows none or the broker is away;
    `failed` says why following ended for good.
    """

    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings = settings
        self._database = database
        self._task: asyncio.Task[None] | None = None
        self.lag: int | None = None
        self.failed: UnsupportedVersion | None = None

    async def start(self) -> None:
        """Begins to follow; returns at once, whether the broker is there or not."""
        if self._task is None:
            self._task = asyncio.create_task(self._follow(), name="history")

    async def stop(self) -> None:
        """Ends the following, after the batch at hand."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _follow(self) -> None:
        quiet = False  # whether an outage was logged already
        while True:
            consumer: AIOKafkaConsumer | None = None
            try:
                async with asyncio.timeout(_CONNECT_S):
                    await ensure_topics(self._settings, TOPICS)
                consumer = kafka_consumer(
                    self._settings,
                    group_id=self._settings.topic_prefix + GROUP,
                    session_timeout_ms=10_000,
                    heartbeat_interval_ms=1_000,
                )
                async with asyncio.timeout(_CONNECT_S):
                    await consumer.start()
                quiet = False
                await self._read(consumer)
            except UnsupportedVersion as error:
                self.failed = error
                logger.critical(
                    "The history ends here, because a record is newer than this program: %s. Update it.",
                    error,
                    extra={"action": "history"},
                )
                return
            except (KafkaError, BrokerError, DatabaseError, OSError, TimeoutError) as error:
                if not quiet:
                    logger.warning(
                        "The history cannot go on now and will be tried again: %s",
                        error or type(error).__name__,
                        extra={"action": "history"},
                    )
                quiet = True
            except Exception:  # the supervisor of this loop: without it the history would end in silence
                logger.exception("The history failed and starts anew.", extra={"action": "history"})
            finally:
                self.lag = None
                if consumer is not None:
                    await consumer.stop()
            await asyncio.sleep(_RETRY_S)

    async def _read(self, consumer: AIOKafkaConsumer) -> None:
        positions = _Positions(self._database, consumer)
        consumer.subscribe([self._settings.topic_prefix + topic.name for topic in TOPICS], listener=positions)
        while True:
            found = await consumer.getmany(timeout_ms=_WAIT_MS, max_records=_BATCH)
            if positions.failed is not None:
                raise positions.failed
            records = [record for batch in found.values() for record in batch]
            # A partition that was given away while we waited is not in the table any more; its new owner reads it.
            records = [record for record in records if positions.has(record)]
            if records:
                generations = positions.generations()  # a copy: a rebalance may empty the table while we store
                async with self._database.write() as session:
                    await self._store(session, records, generations)
                for record in records:
                    positions.pass_over(record)
            self.lag = await _lag(consumer)

    async def _store(
        self, session: AsyncSession, records: Sequence[ConsumerRecord], generations: Mapping[TopicPartition, int]
    ) -> None:
        prefix = self._settings.topic_prefix
        rows: dict[type[Base], list[Row]] = {AttemptRow: [], DeadLetterRow: []}
        runs: dict[tuple[Any, Any], Row] = {}
        for record in records:
            place = {
                "generation": generations[TopicPartition(record.topic, record.partition)],
                "partition": record.partition,
                "offset": record.offset,
            }
            name = record.topic.removeprefix(prefix)
            try:
                if name == ATTEMPTS.name:
                    attempt = attempt_row(record.value)
                    if attempt is not None:
                        rows[AttemptRow].append({**place, **attempt})
                elif name == DEAD_LETTERS.name:
                    rows[DeadLetterRow].append({**place, **dead_letter_row(record.value)})
                elif record.value is not None:
                    run = run_row(record.value)
                    runs[run["configuration"], run["scheduled_at"]] = run
            except InvalidRecord as error:
                logger.error(
                    "A record is passed over: %s",
                    error,
                    extra={
                        "action": "history",
                        "topic": record.topic,
                        "partition": record.partition,
                        "offset": record.offset,
                    },
                )
        insert = sqlite.insert if self._database.is_sqlite else postgresql.insert
        for table, found in rows.items():
            if found:
                await session.execute(insert(table).on_conflict_do_nothing(), found)
        if runs:
            statement = insert(RunRow)
            told = {name: statement.excluded[name] for name in next(iter(runs.values()))}
            await session.execute(
                statement.on_conflict_do_update(index_elements=["configuration", "scheduled_at"], set_=told),
                list(runs.values()),
            )
        statement = insert(HistoryOffsetRow)
        await session.execute(
            statement.on_conflict_do_update(
                index_elements=["topic", "partition"],
                set_={"offset": statement.excluded.offset, "generation": statement.excluded.generation},
            ),
            [
                {"topic": topic, "partition": partition, "generation": generations[topic, partition], "offset": offset}
                for (topic, partition), offset in {
                    (record.topic, record.partition): record.offset + 1 for record in records
                }.items()
            ],
        )


class _Positions(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka has no types
    """Where to go on in each partition that we are given: from the database, not from Kafka's committed offsets."""

    def __init__(self, database: Database, consumer: AIOKafkaConsumer) -> None:
        self._database = database
        self._consumer = consumer
        self._generations: dict[TopicPartition, int] = {}
        self._next: dict[TopicPartition, int] = {}
        self.failed: Exception | None = None

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Called by aiokafka before others are given our partitions."""
        self._generations.clear()
        self._next.clear()

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Called by aiokafka before it fetches. What is raised here it would only log, so it is kept in `failed`."""
        try:
            partitions = list(assigned)
            ends = await self._consumer.end_offsets(partitions) if partitions else {}
            async with self._database.read() as session:
                known = {(row.topic, row.partition): row for row in await session.scalars(select(HistoryOffsetRow))}
            for partition in partitions:
                row = known.get((partition.topic, partition.partition))
                generation, offset = (row.generation, row.offset) if row is not None else (0, 0)
                if (
                    offset > ends[partition]
                ):  # a new topic of the old name, on a new broker perhaps: offsets begin again
                    generation, offset = generation + 1, 0
                self._generations[partition] = generation
                self._next[partition] = offset
                self._consumer.seek(partition, offset)  # older than what is kept: read from what there is
        except (KafkaError, DatabaseError, OSError) as error:
            self.failed = error

    def has(self, record: ConsumerRecord) -> bool:
        """Whether the partition of the record is ours and the record not stored yet."""
        start = self._next.get(TopicPartition(record.topic, record.partition))
        return start is not None and int(record.offset) >= start

    def generations(self) -> dict[TopicPartition, int]:
        """How often the topic of each of our partitions has begun anew."""
        return dict(self._generations)

    def pass_over(self, record: ConsumerRecord) -> None:
        """Notes that the record is stored."""
        partition = TopicPartition(record.topic, record.partition)
        if partition in self._next:
            self._next[partition] = record.offset + 1


async def _lag(consumer: AIOKafkaConsumer) -> int:
    """By what the last fetches told; a partition that nothing was fetched from yet counts as read."""
    lag = 0
    try:
        for partition in consumer.assignment():
            end = consumer.highwater(partition)
            if end is not None:
                lag += max(0, end - await consumer.position(partition))
    except IllegalStateError:
        pass  # a rebalance took it away meanwhile
    return lag


def attempt_row(value: bytes | None) -> Row | None:
    """The columns of an Attempt; None for Counters. Raises InvalidRecord and UnsupportedVersion."""
    data = value or b""
    try:
        attempt = Attempt.decode(data)
    except InvalidRecord:
        if b'"counters"' in data:
            Counters.decode(data)
            return None
        raise
    origin = attempt.origin
    return {
        "delivery": _text(attempt.delivery),
        "number": attempt.number,
        "producer": _text(attempt.producer),
        "message": _text(attempt.message),
        "configuration": _text(attempt.configuration),
        "configuration_version": attempt.configuration_version,
        "consumer": _text(attempt.consumer),
        "recipient": _text(attempt.recipient),
        "outcome": attempt.outcome,
        "reason": attempt.reason,
        "detail": _text(attempt.detail),
        "origin": None
        if origin is None
        else {"topic": origin.topic, "partition": origin.partition, "offset": origin.offset},
        "started_at": attempt.started_at,
        "ended_at": attempt.ended_at,
        "not_before": attempt.not_before,
    }


def dead_letter_row(value: bytes | None) -> Row:
    """The columns of a DeadLetter. Raises InvalidRecord and UnsupportedVersion."""
    letter = DeadLetter.decode(value or b"")
    content, encoded = letter.value, letter.value_base64
    if content is not None and "\0" in content:  # PostgreSQL's text cannot hold it, and a redrive wants it as it was
        encoded = b64encode(content.encode()).decode()
        content = None
    parts: list[str | None] = [None] * 5
    if letter.delivery is not None and letter.delivery.count("/") == 4:
        parts = [unquote(part) for part in letter.delivery.split("/")]
    producer, message, configuration, consumer, recipient = parts
    producer, message = producer or letter.producer, message or letter.message
    return {
        "letter": _text(letter.id),
        "stage": letter.stage,
        "reason": letter.reason,
        "error": _text(letter.error),
        "topic": letter.topic,
        "origin_partition": letter.partition,
        "origin_offset": letter.offset,
        "timestamp": letter.timestamp,
        "key": _text(letter.key),
        "value": content,
        "value_base64": encoded,
        "delivery": _text(letter.delivery),
        "producer": _text(producer),
        "message": _text(message),
        "configuration": _text(configuration),
        "consumer": _text(consumer),
        "recipient": _text(None if recipient == "*" else recipient),
        "attempts": letter.attempts,
        "at": letter.at,
        "redriven_at": letter.redriven_at,
    }


def run_row(value: bytes) -> Row:
    """The columns of a Run. Raises InvalidRecord and UnsupportedVersion."""
    run = Run.decode(value)
    return {
        "configuration": _text(run.configuration),
        "scheduled_at": run.scheduled_at,
        "trigger": run.trigger,
        "state": run.state,
        "error": _text(run.error),
        "started_at": run.started_at,
        "ended_at": run.ended_at,
        "producers": [
            {
                "producer": _text(part.producer),
                "state": part.state,
                "messages": part.messages,
                "error": _text(part.error),
            }
            for part in run.producers
        ],
    }


def _text(value: str | None) -> str | None:
    """Any Kafka client may write a NUL into a message's id; PostgreSQL cannot store it."""
    return value if value is None or "\0" not in value else value.replace("\0", "\N{SYMBOL FOR NULL}")
