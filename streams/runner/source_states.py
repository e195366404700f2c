"""SourceStates: what the runners know of the sources of producers, shared among them on `status`.

Every runner follows the topic, so that a source is said to be failing once, since one moment, whichever of them asks it. Only
changes are written: nothing is said of a source that has always answered. What is known of a producer that was deleted is taken
off the topic. A source that is silent is the control API's to say, and that one is paused a person's; an answer changes neither.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from notifier.catalog import Catalog
from notifier.errors import NotifierError, RecordError
from notifier.kafka import ensure_topics, kafka_consumer
from notifier.one_line import one_line
from notifier.record import now
from notifier.settings import Settings
from notifier.status import PRODUCER, Status
from notifier.topics import STATUS
from streams.writer import Writer

logger = logging.getLogger(__name__)

MOST = 10_000  # producers; any client may write of more
_DETAIL_CHARACTERS = 1000
_POLL_MS = 500
_RETRY_S = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Answered:
    """How a source answered the last time that it was asked."""

    error: str | None  # for people, without secrets; None: as it should
    notice: str | None = None  # what the producer said about it


class SourceStates:
    """The states of sources as one runner knows them. `follow` and `write` go on until they are cancelled."""

    def __init__(self, settings: Settings, writer: Writer) -> None:
        self._settings = settings
        self._writer = writer
        self._partition = TopicPartition(settings.topic_prefix + STATUS.name, 0)
        self._known: dict[str, Status] = {}  # by producer
        self._answered: dict[str, Answered] = {}  # what is still to be looked at, by producer
        self._defined: Callable[[str], bool] = lambda producer: True
        self._loaded = asyncio.Event()
        self._wake = asyncio.Event()

    def is_failing(self, producer: str) -> bool:
        """Whether the source did not answer as it should the last time."""
        answered = self._answered.get(producer)
        if answered is not None:
            return answered.error is not None
        known = self._known.get(producer)
        return known is not None and known.state == "failing"

    def tell(self, producer: str, error: str | None, notice: str | None = None) -> None:
        """Notes how a source answered; it is written in the background. Neither text may hold a secret."""
        self._answered[producer] = Answered(error=error, notice=notice)
        self._wake.set()

    def change(self, catalog: Catalog) -> None:
        """Forgets the producers that are not defined in this catalog."""
        self._defined = lambda producer: producer in catalog.producers or f"{PRODUCER}/{producer}" in catalog.problems
        self._wake.set()

    # --- writing ---

    async def write(self) -> None:
        """Writes what changes, once it is known what was said before."""
        await self._loaded.wait()
        while True:
            await self._wake.wait()
            self._wake.clear()
            for producer in [name for name in self._known if not self._defined(name)]:
                self._known.pop(producer, None)  # another runner may have taken it off while this one wrote
                await self._writer.write(STATUS.name, f"{PRODUCER}/{producer}", None)
            while self._answered:
                producer = next(iter(self._answered))
                status = following(producer, self._known.get(producer), self._answered.pop(producer))
                if status is not None and self._defined(producer):
                    self._known[producer] = status
                    self._log(status)
                    await self._writer.write(STATUS.name, f"{PRODUCER}/{producer}", status.encode())

    def _log(self, status: Status) -> None:
        failing = status.state == "failing"
        logger.log(
            logging.WARNING if failing else logging.INFO,
            "The source of the producer %s %s%s.",
            status.name,
            "is failing" if failing else "answers",
            f": {status.detail}" if status.detail else "",
            extra={"action": "source_state", "producer": status.name},
        )

    # --- following ---

    async def follow(self) -> None:
        """Follows the topic. While the broker is away, what was read stays."""
        while True:
            kafka: AIOKafkaConsumer | None = None
            try:
                await ensure_topics(self._settings, [STATUS])
                kafka = kafka_consumer(self._settings, fetch_max_wait_ms=_POLL_MS)
                await kafka.start()
                await self._read(kafka)
            except (KafkaError, NotifierError, OSError) as error:
                logger.warning(
                    "What is known of sources cannot be read now; trying again: %s: %s",
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
        await kafka.seek_to_beginning(self._partition)
        end = (await kafka.end_offsets([self._partition]))[self._partition]
        while True:
            if not self._loaded.is_set() and await kafka.position(self._partition) >= end:
                self._loaded.set()
                self._wake.set()
            for record in (await kafka.getmany(self._partition, timeout_ms=_POLL_MS)).get(self._partition, []):
                self.take((record.key or b"").decode(errors="replace"), record.value)

    def take(self, key: str, value: bytes | None) -> None:
        """Takes a record of the topic."""
        kind, _, producer = key.partition("/")
        if kind != PRODUCER:
            return
        self._known.pop(producer, None)
        if value is None or len(self._known) >= MOST:
            return
        try:
            status = Status.decode(value)
        except RecordError as error:  # of a newer version, too: no reason to end a runner
            logger.debug("A record of the key %s is no status: %s", key[:200], error)
            return
        if key == f"{status.kind}/{status.name}":
            self._known[producer] = status


def following(producer: str, before: Status | None, answered: Answered) -> Status | None:
    """What is to be said of a source that was asked, after what was said of it before; None: nothing new. Pure."""
    if before is not None and before.state == "paused":
        return None
    at = now()
    if answered.error is not None:
        detail = one_line(answered.error, _DETAIL_CHARACTERS)
        goes_on = before is not None and before.state == "failing"
        if before is not None and goes_on and before.detail == detail:
            return None
        since = (before.since or at) if before is not None and goes_on else at
        return Status(kind=PRODUCER, name=producer, state="failing", at=at, detail=detail, since=since)
    notice = one_line(answered.notice, _DETAIL_CHARACTERS) if answered.notice else None
    if before is not None and before.state == "silent":
        return None  # an answer without a message is no arrival
    if (before is None and notice is None) or (
        before is not None and before.state == "ready" and before.detail == notice
    ):
        return None
    return Status(kind=PRODUCER, name=producer, state="ready", at=at, detail=notice)
