"""Pauses: the producers that a person has paused, as the topic `status` says, and the runs that wait for them.

What a person wants lies there under a key of its own, `producer_pause/<producer>`, and outlives restarts and changes of the
definition. A run that is due meanwhile is held: it keeps its lease and is done once the producer goes on. Of the runs of one
configuration the newest is held, or each of them, by the `missed` of its schedule.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Literal

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from notifier.catalog import Catalog
from notifier.errors import NotifierError, RecordError
from notifier.kafka import ensure_topics, kafka_consumer
from notifier.record import now
from notifier.run import Run
from notifier.settings import Settings
from notifier.status import PRODUCER_PAUSE, Status
from notifier.topics import STATUS
from streams.writer import Writer

logger = logging.getLogger(__name__)

MOST = 10_000  # producers; any client may write of more
MOST_HELD = 100  # runs of one configuration for one producer, where each is held
_OLD = timedelta(minutes=10)  # after which a definition that is not there will not come
_POLL_MS = 200
_RETRY_S = 1.0

Admitted = Literal[
    "go",  # the producer may be asked
    "overtaken",  # a later run asks it in this one's place
    "stopping",  # this runner ends; the run goes on elsewhere
]


class Pauses:
    """The pauses as one runner knows them. Before `loaded` is set every producer counts as paused."""

    def __init__(self, settings: Settings, writer: Writer) -> None:
        self._settings = settings
        self._writer = writer
        self._partition = TopicPartition(settings.topic_prefix + STATUS.name, 0)
        self._next = 0  # offset of the next record
        self._paused: dict[str, datetime] = {}  # producer → since when
        self._held: defaultdict[tuple[str, str], dict[str, datetime]] = defaultdict(dict)  # runs and their due times
        self._moved = asyncio.Event()  # replaced at each change
        self._listeners: list[Callable[[], None]] = []
        self._defined: frozenset[str] | None = None
        self._stopping = False
        self.loaded = asyncio.Event()  # set once what was there at the start is read

    def is_paused(self, producer: str) -> bool:
        """Whether nothing is to be read of its source."""
        return producer in self._paused or not self.loaded.is_set()

    @property
    def held(self) -> int:
        """The number of runs that wait here for a producer, once for each."""
        return sum(map(len, self._held.values()))

    def on_change(self, listener: Callable[[], None]) -> None:
        """Calls `listener` after each change."""
        self._listeners.append(listener)

    async def admit(self, id_: str, run: Run, producer: str, *, every: bool) -> Admitted:
        """Holds a run while the producer is paused. `every`: each due time counts, and not the newest alone."""
        if not self.is_paused(producer) and not self._stopping:
            return "go"
        held = self._held[run.configuration, producer]
        held[id_] = run.scheduled_at
        self._wake()
        try:
            while self.is_paused(producer) and not self._stopping:
                later = sum(at > run.scheduled_at for at in held.values())
                if self.loaded.is_set() and later >= (MOST_HELD if every else 1):
                    return "overtaken"
                await self._moved.wait()
        finally:
            del held[id_]
            if not held:
                self._held.pop((run.configuration, producer), None)
        return "stopping" if self._stopping else "go"

    def stop(self) -> None:
        """Lets go of the runs that are held."""
        self._stopping = True
        self._wake()

    async def change(self, catalog: Catalog) -> None:
        """Takes what is wanted of producers off the topic that are defined no more."""
        known, self._defined = self._defined, _defined(catalog)
        gone = [
            name
            for name, since in self._paused.items()
            if name not in self._defined and (now() - since > _OLD or (known is not None and name in known))
        ]
        for name in gone:
            await self._writer.write(STATUS.name, f"{PRODUCER_PAUSE}/{name}", None)

    # --- following ---

    async def follow(self) -> None:
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
                    "What is known of paused producers cannot be read now; trying again: %s: %s",
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
            if not self.loaded.is_set() and await kafka.position(self._partition) >= end:
                self.loaded.set()
                self._tell()
            for record in (await kafka.getmany(self._partition, timeout_ms=_POLL_MS)).get(self._partition, []):
                self._next = record.offset + 1
                if self.take((record.key or b"").decode(errors="replace"), record.value) and self.loaded.is_set():
                    self._tell()

    def take(self, key: str, value: bytes | None) -> bool:
        """Takes a record of the topic; whether it is about the pause of a producer."""
        kind, _, producer = key.partition("/")
        if kind != PRODUCER_PAUSE:
            return False
        status: Status | None = None
        if value is not None:
            try:
                status = Status.decode(value)
            except RecordError as error:  # of a newer version, too: no reason to end a runner
                logger.debug("A record of the key %s is no status: %s", key[:200], error)
                return False
            if key != f"{status.kind}/{status.name}" or status.state not in ("paused", "resumed"):
                return False
        before = self._paused.pop(producer, None)
        if status is not None and status.state == "paused" and len(self._paused) < MOST:
            self._paused[producer] = status.at
        if (before is None) != (producer not in self._paused):
            words = "is paused" if producer in self._paused else "goes on"
            logger.info("The producer %s %s.", producer, words, extra={"action": "pause", "producer": producer})
        return True

    def _tell(self) -> None:
        self._wake()
        for listener in self._listeners:
            listener()

    def _wake(self) -> None:
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()


def _defined(catalog: Catalog) -> frozenset[str]:
    """The producers that are defined, those that cannot be used among them."""
    broken = [name.partition("/")[2] for name in catalog.problems if name.startswith("producer/")]
    return frozenset([*catalog.producers, *broken])
