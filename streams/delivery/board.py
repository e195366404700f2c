"""Board: what the topic `status` says of consumers: which are paused, since when and why, and what people want.

Every worker follows it, so that a pause is one pause for all of them, and outlives them. Records that are about processes, and
those that nobody could have written, are passed over. What follows from them is `streams.delivery.pauses`'s.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError
from msgspec.structs import replace

from notifier.errors import NotifierError, RecordError
from notifier.kafka import ensure_topics, kafka_consumer
from notifier.settings import Settings
from notifier.status import CONSUMER, PAUSE, Status
from notifier.topics import STATUS

logger = logging.getLogger(__name__)

MOST = 10_000  # consumers; any client may write of more
_CHARACTERS = 2000  # kept of a text; what is written anew must fit into a record
_NAME_CHARACTERS = 100  # no consumer has a longer name
_RETRY_S = 1.0
_POLL_MS = 200


class Board:
    """The newest records by consumer. After `load`, `heard` is called with each consumer that a record was read of."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._partition = TopicPartition(settings.topic_prefix + STATUS.name, 0)
        self._loaded = asyncio.Event()
        self._next = 0  # offset of the next record
        self._own: dict[str, bytes | None] = {}  # consumer → what this worker wrote last and has not read yet
        self.said: dict[str, Status] = {}  # by delivery: paused, disabled or resumed
        self.wanted: dict[str, Status] = {}  # by people: paused, or resumed
        self.over: set[str] = set()  # consumers of which the topic says still what a person has ended
        self.heard: Callable[[str], None] = lambda consumer: None
        # By kind: what takes the key and the value of records that are not about pauses, also of those there were before.
        self.others: dict[str, Callable[[str, bytes | None], None]] = {}

    async def load(self) -> None:
        """Waits until what was there is read; `run` does that."""
        await self._loaded.wait()

    async def run(self) -> None:
        """Follows the topic until it is cancelled. While the broker is away, what was read stays."""
        while True:
            kafka: AIOKafkaConsumer | None = None
            try:
                await ensure_topics(self._settings, [STATUS])
                kafka = kafka_consumer(self._settings, fetch_max_wait_ms=_POLL_MS)
                await kafka.start()
                await self._read(kafka)
            except (KafkaError, NotifierError, OSError) as error:
                logger.warning(
                    "What is known of paused consumers cannot be read now; trying again: %s: %s",
                    type(error).__name__,
                    error,
                    extra={"action": "follow_status"},
                )
            finally:
                if kafka is not None:
                    with suppress(KafkaError, OSError):
                        await kafka.stop()
            await asyncio.sleep(_RETRY_S)

    async def _read(self, kafka: AIOKafkaConsumer) -> None:
        kafka.assign([self._partition])
        end = (await kafka.end_offsets([self._partition]))[self._partition]
        if 0 < self._next <= end:
            kafka.seek(self._partition, self._next)
        else:
            await kafka.seek_to_beginning(self._partition)
        while True:
            if await kafka.position(self._partition) >= end:
                self._loaded.set()
            for record in (await kafka.getmany(self._partition, timeout_ms=_POLL_MS)).get(self._partition, []):
                self._next = record.offset + 1
                consumer = self.take((record.key or b"").decode(errors="replace"), record.value)
                if consumer is not None and self._loaded.is_set():
                    self.heard(consumer)

    def put(self, consumer: str, status: Status | None) -> bytes | None:
        """Takes what this worker is about to write of a consumer, and returns its value; older records say nothing any more."""
        value = None if status is None else status.encode()
        self.said.pop(consumer, None)
        if status is not None:
            self.said[consumer] = status
        self.over.discard(consumer)
        self._own[consumer] = value
        return value

    def give_up(self, consumer: str, value: bytes | None) -> None:
        """What `put` returned was perhaps not written."""
        if consumer in self._own and self._own[consumer] == value:
            del self._own[consumer]

    def take(self, key: str, value: bytes | None) -> str | None:
        """Takes a record. Returns the consumer that it is about; None for any other record."""
        kind, _, consumer = key.partition("/")
        if (other := self.others.get(kind)) is not None:
            other(key, value)
        if kind not in (CONSUMER, PAUSE) or len(consumer) > _NAME_CHARACTERS:
            return None
        if kind == CONSUMER and consumer in self._own:
            if value != self._own[consumer]:
                return None
            del self._own[consumer]
            return consumer
        status: Status | None = None
        if value is not None:
            try:
                status = Status.decode(value)
            except RecordError as error:  # of a newer version, too: no reason to end a worker
                logger.debug("A record of the key %s is no status: %s", key[:200], error)
                return None
            if key != f"{status.kind}/{status.name}" or status.state not in ("paused", "disabled", "resumed"):
                return None
        records = self.said if kind == CONSUMER else self.wanted
        records.pop(consumer, None)
        if kind == CONSUMER:
            self.over.discard(consumer)
        if status is not None and len(records) < MOST:
            records[consumer] = replace(
                status,
                detail=status.detail and status.detail[:_CHARACTERS],
                by=status.by and status.by[:_CHARACTERS],
                problems={},
                passed_over=(),
            )
        if kind == PAUSE and status is not None and status.state == "resumed":
            said = self.said.get(consumer)
            if said is not None and said.state != "resumed":
                self.said[consumer] = replace(said, state="resumed", by=status.by, at=status.at, not_before=None)
                self.over.add(consumer)
        return consumer
