"""Statuses: what the data plane says of its processes, of consumers, chats and sources, read from the topic `status`.

`streams.reporting`, `streams.delivery.pauses`, `streams.delivery.moved` and `streams.runner.source_states` write them; here
they are kept in memory. A process that was silent for a minute is gone, unless its last word was why it stopped and no other of
its role has said since that it works.
"""

import asyncio
import logging
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from itertools import islice

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError
from msgspec.structs import replace

from control_api.waiting import waiting
from notifier.ending import end
from notifier.errors import NotifierError, RecordError
from notifier.kafka import ensure_topics, kafka_admin, kafka_consumer
from notifier.outcome import Kind
from notifier.record import now, rfc3339
from notifier.settings import Settings
from notifier.status import (
    CHAT,
    CONSUMER,
    PAUSE,
    PRODUCER,
    PRODUCER_PAUSE,
    ROLE,
    ROLES,
    WISHES,
    PassedOver,
    State,
    Status,
)
from notifier.topics import STATUS

logger = logging.getLogger(__name__)

SILENT = timedelta(seconds=60)
_RETRY_S = 1.0
_COUNT_S = 5.0
_MOST_COUNTED = 100  # consumers
_MOST = 1000  # keys; any client may write more
# Of what is kept of a record, which may have a megabyte.
_CHARACTERS = 1000  # of each text
_MOST_PROBLEMS = 200  # as many as a role writes
_STATES: Mapping[str, Sequence[State]] = {
    ROLE: ("ready", "stopped"),
    CHAT: ("moved",),
    PRODUCER: ("ready", "failing", "silent", "paused"),
    CONSUMER: ("paused", "disabled", "resumed"),  # and of PAUSE
}
_MOST_TOPICS = 20  # kept of one status: topics with records that were passed over


class Statuses:
    """Follows `status`. While the broker is away, what was read stays."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._partition = TopicPartition(settings.topic_prefix + STATUS.name, 0)
        self._known: dict[str, Status] = {}  # by key
        self._task: asyncio.Task[None] | None = None
        self._waiting: Mapping[str, int] = {}  # deliveries, by consumer
        self._counted_at = -math.inf  # `time.monotonic()`
        self.loaded = asyncio.Event()  # set once what was there at the start is read

    async def start(self) -> None:
        """Begins to follow; returns at once, whether the broker is there or not."""
        if self._task is None:
            self._task = asyncio.create_task(self._follow(), name="statuses")

    async def stop(self) -> None:
        """Ends the following."""
        task, self._task = self._task, None
        if task is not None:
            await end(task)

    # --- what they say ---

    def present(self) -> list[Status]:
        """Of the processes that work, and of those that stopped and were not replaced; by role and host."""
        # A time that is yet to come would hold for ever; clocks differ by less.
        known = [one for one in self._known.values() if one.role in ROLES and one.at < now() + SILENT]
        working = [one for one in known if one.state == "ready" and now() - one.at < SILENT]
        heard = {one.role: one.at for one in sorted(working, key=lambda one: one.at)}  # the last time, by role
        stopped = [one for one in known if one.state == "stopped" and heard.get(one.role, one.at) <= one.at]
        return sorted([*working, *stopped], key=lambda one: one.name)

    def paused(self) -> list[Status]:
        """The consumers that are paused or disabled, by hand or as delivery says, then the producers that are paused; by name."""
        names = {one.name for one in self._known.values() if one.kind in (CONSUMER, PAUSE)}
        producers = {one.name for one in self._known.values() if one.kind == PRODUCER_PAUSE}
        found = [*map(self.of_consumer, sorted(names)), *map(self.of_producer, sorted(producers))]
        return [one for one in found if one is not None]

    def moved(self) -> list[Status]:
        """The chats that have another number than the definitions of their consumers say, by name."""
        return sorted((one for one in self._known.values() if one.kind == CHAT), key=lambda one: one.name)

    def sources(self) -> list[Status]:
        """How sources are that fail, are silent, say something, or answer again; by the producer's name."""
        return sorted((one for one in self._known.values() if one.kind == PRODUCER), key=lambda one: one.name)

    def of_source(self, name: str) -> Status | None:
        """What is to be said of a producer's source; None: nothing."""
        return self._known.get(f"{PRODUCER}/{name}")

    def of_consumer(self, name: str) -> Status | None:
        """That a consumer is paused or disabled; None where it is not."""
        said, wanted = self._known.get(f"{CONSUMER}/{name}"), self.wanted(name)
        if wanted is None or (said is not None and (said.reason == "paused" or said.state == "disabled")):
            return said
        return replace(wanted, kind=CONSUMER)

    def of_producer(self, name: str) -> Status | None:
        """That a producer is paused; None where it is not."""
        wanted = self.wanted(name, PRODUCER)
        return None if wanted is None else replace(wanted, kind=PRODUCER)

    def wanted(self, name: str, kind: str = CONSUMER) -> Status | None:
        """That a person has paused a consumer or a producer; None where nobody has."""
        return self._known.get(f"{WISHES[kind]}/{name}")

    def waiting(self, name: str) -> int | None:
        """How many deliveries waited for a paused consumer some seconds ago, without those parked; None: not known."""
        return self._waiting.get(name)

    def stopped(self) -> dict[str, Status]:
        """The roles that cannot go on, by name."""
        return {one.role: one for one in self.present() if one.role and one.state == "stopped"}

    def problem(self, kind: Kind, name: str) -> str | None:
        """Why working processes cannot use a definition, why it is paused, or how its source fails; None: nobody says so."""
        said = _said(f"{kind}/{name}", self.present())
        paused = self.of_consumer(name) if kind == "consumer" else None
        paused = self.of_producer(name) if kind == "producer" else paused
        if paused is not None:
            said.append(in_words(paused))
        source = self.of_source(name) if kind == "producer" else None
        if source is not None and source.state != "ready":
            said.append(source_in_words(source))
        return "; ".join(said) or None

    # --- following ---

    async def _follow(self) -> None:
        while True:
            consumer: AIOKafkaConsumer | None = None
            try:
                await ensure_topics(self._settings, [STATUS])
                consumer = kafka_consumer(self._settings)
                await consumer.start()
                await self._read(consumer)
            except (KafkaError, NotifierError, OSError) as error:
                logger.debug("The statuses cannot be read now: %s", error)
            except Exception:  # the supervisor of this loop
                logger.exception("The statuses are read anew.", extra={"action": "follow_statuses"})
            finally:
                if consumer is not None:
                    with suppress(KafkaError, OSError):
                        await consumer.stop()
            await asyncio.sleep(_RETRY_S)

    async def _read(self, consumer: AIOKafkaConsumer) -> None:
        consumer.assign([self._partition])
        await consumer.seek_to_beginning(self._partition)
        end = (await consumer.end_offsets([self._partition]))[self._partition]
        while True:
            if await consumer.position(self._partition) >= end:
                self.loaded.set()
            for record in (await consumer.getmany(self._partition, timeout_ms=500)).get(self._partition, []):
                self._take((record.key or b"").decode(errors="replace"), record.value)
            await self._count(consumer)

    async def _count(self, kafka: AIOKafkaConsumer) -> None:
        """Counts what waits for paused consumers, every few seconds while there are any."""
        names = [one.name for one in self.paused() if one.kind == CONSUMER]
        if names and time.monotonic() - self._counted_at >= _COUNT_S:
            self._counted_at = time.monotonic()
            try:
                async with asyncio.timeout(_COUNT_S), kafka_admin(self._settings) as admin:
                    self._waiting = await waiting(self._settings, admin, kafka, names[:_MOST_COUNTED])
            except (KafkaError, NotifierError, OSError, TimeoutError) as error:  # the statuses matter more
                self._waiting = {}
                logger.debug("What waits for paused consumers cannot be counted now: %s", error)

    def _take(self, key: str, value: bytes | None) -> None:
        self._known.pop(key, None)
        if value is None:
            return
        try:
            status = Status.decode(value)
        except RecordError as error:  # a newer version, too: what it says would only be shown
            logger.debug("A record of the key %s is no status: %s", key[:200], error)
            return
        if len(key) > _CHARACTERS or key != f"{status.kind}/{status.name}":
            return
        if status.state not in _STATES.get(status.kind, _STATES[CONSUMER]):
            return
        if status.state == "resumed":
            if status.kind == PAUSE:
                self._known.pop(f"{CONSUMER}/{status.name}", None)
            return
        if len(self._known) >= _MOST:
            at = now()
            del self._known[min(self._known, key=lambda key: _worth(self._known[key], at))]  # the oldest of those
        self._known[key] = _cut(status)


def in_words(status: Status) -> str:
    """That a consumer is paused or disabled, or a producer paused, and why, as part of a sentence."""
    if status.reason == "paused":
        why = f"by {status.by or 'somebody'}"
    else:
        refused = status.reason in (None, "unauthorized")
        why = "since its credential was refused" if refused else "since its service seems to be down"
    detail = status.detail or ("" if status.reason == "paused" else "no reason is known")
    return f"{status.state}, {why}" + (f": {detail}" if detail else "")


def source_in_words(status: Status) -> str:
    """How a producer's source is, and since when, as part of a sentence."""
    words = {"failing": "its source is failing", "silent": "its source is silent", "paused": "it is paused"}
    since = "" if status.since is None else f" since {rfc3339(status.since)}"
    return words.get(status.state, "its source answers") + since + (f": {status.detail}" if status.detail else "")


def _worth(status: Status, at: datetime) -> int:
    """How much is lost with a record: nothing with a process that is gone, most with a pause, which is not said again."""
    if status.state in ("paused", "disabled", "failing", "silent"):
        return 3
    if abs(at - status.at) < SILENT:
        return 2
    return int(status.state in ("stopped", "moved"))


def _cut(status: Status) -> Status:
    return replace(
        status,
        detail=status.detail and status.detail[:_CHARACTERS],
        became=status.became and status.became[:_CHARACTERS],
        problems={
            name[:_CHARACTERS]: text[:_CHARACTERS] for name, text in islice(status.problems.items(), _MOST_PROBLEMS)
        },
        passed_over=tuple(
            PassedOver(
                topic=one.topic[:_CHARACTERS],
                count=one.count,
                last=one.last and one.last[:_CHARACTERS],
                error=one.error and one.error[:_CHARACTERS],
            )
            for one in status.passed_over[:_MOST_TOPICS]
        ),
    )


def _said(definition: str, statuses: Iterable[Status]) -> list[str]:
    """What the roles say about a definition, each text once, with the roles that say it."""
    roles: dict[str, list[str]] = {}
    for one in statuses:
        text = one.problems.get(definition)
        if text is not None and one.role and one.role not in roles.setdefault(text, []):
            roles[text].append(one.role)
    return [f"{text} ({', '.join(names)})" for text, names in roles.items()]
