"""Definitions as the data plane sees them: the compacted topic read from its start, then followed live.

The control API publishes each database transaction as one Kafka transaction whose last record has the header `last`. The
follower reads only committed records and swaps the catalog whole at the end of a transaction, so no message is judged by half
a change. After `load()` the catalog holds everything that was committed before the call.

A record that is no definition is passed over, and changes nothing. Only a version that this program does not know ends the
following, unless a newer record of its key has taken its place: whatever it said, to go on without it could tell people what
they must not hear.
"""

import asyncio
import logging
from collections.abc import Callable, Collection
from datetime import datetime
from typing import cast

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from notifier.catalog import Catalog, Change
from notifier.definition import Definition, check_name, definition_key
from notifier.ending import end
from notifier.errors import InputError, InvalidRecord, UnsupportedVersion
from notifier.kafka import ensure_topics, kafka_consumer
from notifier.outcome import KINDS, Kind
from notifier.record import kafka_time
from notifier.seldom import Seldom
from notifier.settings import Settings
from notifier.status import PassedOver
from notifier.topics import DEFINITIONS

logger = logging.getLogger(__name__)
_seldom = Seldom(logger)

LAST = "last"  # header of the last record of a transaction
_RETRY_S = 1.0
_MAX_REVISION = 2**63 - 1  # what the database can hold
_ERROR_CHARACTERS = 500  # of a log line, which may quote the record

# What is to be changed: by kind and name the definition, None for none, and when it was written.
_Pending = dict[tuple[Kind, str], tuple[Definition | None, datetime | None]]


class Definitions:
    """Follows `definitions`. `catalog` is always whole; listeners are called with each new one, in the event loop."""

    def __init__(self, settings: Settings, empty: Catalog) -> None:
        self._settings = settings
        self._partition = TopicPartition(settings.topic_prefix + DEFINITIONS.name, 0)
        self.catalog = empty
        # By key of configurations and consumers: when the present version was published. A schedule counts from there, and a
        # wait from before it is over.
        self.written_at: dict[str, datetime] = {}
        self.passed_over = PassedOver(topic=self._partition.topic)  # records that are no definitions
        self.failed: Exception | None = None  # why following ended for good; the role is then not ready
        self._newer: dict[bytes | None, UnsupportedVersion] = {}  # by key, where that is the newest record of it
        self._known: dict[tuple[Kind, str], Definition] = {}  # what the catalog was made of
        self._looked_to = 0  # the offset behind the last record that was looked at
        self._listeners: list[Callable[[Catalog], None]] = []
        self._loaded = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def loaded(self) -> bool:
        """Whether the catalog holds what was committed when the following began."""
        return self._loaded.is_set()

    def on_change(self, listener: Callable[[Catalog], None]) -> None:
        """Calls `listener` with every new catalog, and with this one at once if there is one already."""
        self._listeners.append(listener)
        if self._loaded.is_set():
            listener(self.catalog)

    async def start(self) -> None:
        """Begins to follow. Returns at once; see `load`."""
        if self._task is None:
            self._task = asyncio.create_task(self._follow(), name="definitions")

    async def load(self) -> Catalog:
        """Waits until every committed record is read; returns the catalog. Raises what ended the following for good."""
        await self.start()
        assert self._task is not None
        loaded = asyncio.create_task(self._loaded.wait())
        await asyncio.wait([loaded, self._task], return_when=asyncio.FIRST_COMPLETED)
        loaded.cancel()
        if self.failed is not None:
            raise self.failed
        return self.catalog

    async def stop(self) -> None:
        """Ends the following; the catalog stays."""
        task, self._task = self._task, None
        if task is not None:
            await end(task)

    async def _follow(self) -> None:
        while True:
            consumer: AIOKafkaConsumer | None = None
            try:
                await ensure_topics(self._settings, [DEFINITIONS])
                consumer = kafka_consumer(self._settings, fetch_max_wait_ms=100)
                await consumer.start()
                await self._read(consumer)
            except UnsupportedVersion as error:
                self.failed = error
                logger.critical(
                    "The definitions are newer than this program: %s. Update it.",
                    error,
                    extra={"action": "load_definitions"},
                )
                return
            except (KafkaError, OSError) as error:
                logger.warning(
                    "The definitions cannot be read now and will be tried again: %s",
                    error,
                    extra={"action": "load_definitions"},
                )
                await asyncio.sleep(_RETRY_S)
            except Exception:  # the supervisor of this loop: without it no change would be seen any more, in silence
                logger.exception("The definitions are read anew.", extra={"action": "load_definitions"})
                await asyncio.sleep(_RETRY_S)
            finally:
                if consumer is not None:
                    await consumer.stop()

    async def _read(self, consumer: AIOKafkaConsumer) -> None:
        # From the start also after a broken connection, since the topic is compacted. What was there when the reading began is
        # taken over as one change: what used to be true on the way must not be acted on again.
        consumer.assign([self._partition])
        await consumer.seek_to_beginning(self._partition)
        end = (await consumer.end_offsets([self._partition]))[self._partition]
        is_same_topic = end >= self._looked_to
        self._newer = {}
        pending: _Pending = {}
        keys: set[bytes | None] = set()  # of all records until the reading has caught up
        caught_up, is_whole = False, True
        while True:
            records = (await consumer.getmany(self._partition, timeout_ms=200)).get(self._partition, [])
            for record in records:
                keys.add(record.key)
                change = self._change(record)
                if change is not None:
                    kind, name, definition = change
                    pending[kind, name] = (definition, kafka_time(record.timestamp))
                is_last = any(name == LAST for name, _ in record.headers)
                is_whole = is_last or (is_whole and change is None)
                if is_last and caught_up:
                    self._swap(pending)
                    pending = {}
            position = await consumer.position(self._partition)
            if position < end:
                continue
            for error in self._newer.values():
                raise error
            # Compaction may have removed the last record of a transaction; it is whole once all committed records are read.
            if is_whole or (not records and position >= (consumer.last_stable_offset(self._partition) or 0)):
                if not caught_up and is_same_topic:
                    pending |= self._gone(keys)
                self._swap(pending)
                pending = {}
                caught_up = is_whole = True
                keys.clear()
                self._loaded.set()

    def _gone(self, keys: Collection[bytes | None]) -> _Pending:
        """The definitions of which the topic has no record any more, not even a tombstone."""
        return {known: (None, None) for known in self._known if definition_key(*known).encode() not in keys}

    def _swap(self, pending: _Pending) -> None:
        # One that is as it was stays what it is: who compares by identity would take it for changed.
        changed = {key: one for key, one in pending.items() if one[0] != self._known.get(key)}
        if not changed:
            return
        self.catalog = self.catalog.with_changes([(*key, definition) for key, (definition, _) in changed.items()])
        for (kind, name), (definition, written_at) in changed.items():
            if definition is None:
                del self._known[kind, name]
            else:
                self._known[kind, name] = definition
            self._remember_time(kind, name, None if definition is None else written_at)
        for listener in self._listeners:
            try:
                listener(self.catalog)
            except Exception:  # what one part makes of a definition must not keep the next change from all
                logger.exception("A change of definitions was not taken over.", extra={"action": "load_definitions"})

    def _remember_time(self, kind: Kind, name: str, written_at: datetime | None) -> None:
        if kind not in ("configuration", "consumer"):
            return
        if written_at is None:
            self.written_at.pop(definition_key(kind, name), None)
        else:
            self.written_at[definition_key(kind, name)] = written_at

    def _change(self, record: ConsumerRecord) -> Change | None:
        """What a record changes; None where it is no definition."""
        first_time = record.offset >= self._looked_to
        self._looked_to = max(self._looked_to, record.offset + 1)
        self._newer.pop(record.key, None)
        place = f"{record.topic}/{record.partition}/{record.offset}"
        try:
            return _read_change(record)
        except UnsupportedVersion as error:
            self._newer[record.key] = UnsupportedVersion(f"{place}: {error}", error.data)
        except (InvalidRecord, InputError) as error:
            if first_time:  # after an outage the topic is read from its start again
                text = str(error)[:_ERROR_CHARACTERS]
                self.passed_over = self.passed_over.and_one(place, text)
                _seldom.log(
                    logging.ERROR,
                    "The record %s is no definition and is passed over: %s",
                    place,
                    text,
                    extra={"action": "load_definitions"},
                )
        return None


def _read_change(record: ConsumerRecord) -> Change:
    kind, _, name = (record.key or b"").decode(errors="replace").partition("/")
    # First of all, since a newer program may know more kinds: raises UnsupportedVersion.
    definition = None if record.value is None else Definition.decode(record.value)
    if kind not in KINDS:
        raise InvalidRecord(f"there is no kind {kind[:100]!r}", record.value)
    known = cast("Kind", kind)
    if definition is None:
        return known, name, None
    if (definition.kind, definition.name) != (kind, name):
        said = f"{definition.kind}/{definition.name}"
        raise InvalidRecord(f"its key is {kind}/{name[:200]} and it defines {said[:200]}", record.value)
    check_name(known, name)
    if not 0 <= definition.revision <= _MAX_REVISION:
        raise InvalidRecord("its revision is out of range", record.value)
    return known, name, definition
