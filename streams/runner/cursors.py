"""Cursors: what producers have told in each configuration, on the compacted topic `cursors`.

A cursor is written once the messages that it speaks of are acknowledged, and before the run says that the producer is done. Its
record names the run in the header `run`, and in `part` what the producer did there: a runner that takes the run over after that
record, but before the end of the part, finds both and does not ask again; one that finds the older cursor asks again with it,
and makes the same ids. Whose turn it is to ask is `streams.runner.turns`'.
"""

import asyncio
import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import msgspec
from aiokafka import ConsumerRecord

from notifier.catalog import Catalog
from notifier.cursor import MAX_STATE_BYTES, Cursor
from notifier.errors import InvalidRecord, RecordError, RecordTooLarge, UnsupportedVersion
from notifier.outcome import Kind
from notifier.record import JsonObject, now
from notifier.run import ProducerRun
from notifier.settings import Settings
from notifier.topics import CURSORS
from streams.runner.topic_log import TopicLog
from streams.writer import Writer

logger = logging.getLogger(__name__)

_RUN = "run"  # header: the id of the run that told it
_PART = "part"  # header: its ProducerRun as JSON
# A cursor that is younger may be of a definition that this runner does not know yet.
_ORPHANED = timedelta(minutes=10)


@dataclass(frozen=True, kw_only=True, slots=True)
class Known:
    """The newest cursor of a producer in a configuration."""

    value: bytes  # a Cursor as it was written
    run: str | None = None
    part: bytes | None = None
    problem: str | None = None  # why it cannot be used

    def state(self) -> JsonObject | None:
        """A copy of what the producer kept."""
        return Cursor.decode(self.value).state

    def told_in(self, run: str) -> ProducerRun | None:
        """What the producer did in that run, where the cursor is of that run."""
        if self.part is None or self.run != run:
            return None
        try:
            part = msgspec.json.decode(self.part, type=ProducerRun)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None
        return part if part.state in ("done", "failed") else None


class Cursors:
    """The cursors of all configurations, followed on the topic."""

    def __init__(self, settings: Settings, writer: Writer) -> None:
        self._writer = writer
        # No runner writes in a transaction; one that somebody leaves open must not hide what is written after it.
        self._log = TopicLog(settings, CURSORS, uncommitted=True)
        self._known: dict[str, Known] = {}  # by key
        self._catalog: Catalog | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def follow(self) -> None:
        """Follows the topic until it is cancelled."""
        await self._log.follow(self._apply)

    async def known(self, configuration: str, producer: str) -> Known | None:
        """The newest cursor on the topic at this moment; waits while the broker is away."""
        await self._log.catch_up()
        return self._known.get(f"{configuration}/{producer}")

    async def keep(self, configuration: str, run: str, part: ProducerRun, state: Any) -> str | None:
        """Writes what a producer kept in a run; returns when Kafka has it. Where it cannot be kept, nothing is written.

        Returns why it cannot be kept, as a line for people. Nothing is kept for definitions that were deleted meanwhile.
        """
        if self._catalog is None or not _exist(self._catalog, configuration, part.producer):
            return None
        try:
            cursor = Cursor(configuration=configuration, producer=part.producer, state=_checked(state), at=now())
            value = cursor.encode()
            Cursor.decode(value)
            headers = ((_RUN, run.encode()), (_PART, msgspec.json.encode(part)))
            await self._writer.write(CURSORS.name, cursor.key, value, headers)
        except (TypeError, ValueError, OverflowError, RecursionError, RecordError, RecordTooLarge) as error:
            return f"what it keeps cannot be kept, so it will tell the same again: {error}"
        return None

    def change(self, catalog: Catalog) -> None:
        """Forgets the cursors of what is deleted, and those of producers that are of another type now."""
        before, self._catalog = self._catalog, catalog
        if before is None:
            self._spawn(self._forget_orphans())
            return
        for key in list(self._known):
            names = _names(key)
            deleted = not _exist(catalog, *names) and _exist(before, *names)
            if deleted or _is_other(before, catalog, names[1]):
                self._spawn(self._forget(key))

    async def close(self) -> None:
        """Ends what is under way; a cursor that is not forgotten now is by the next runner that starts."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _forget_orphans(self) -> None:
        """Forgets what was left while no runner ran."""
        await self._log.catch_up()
        for key, known in list(self._known.items()):
            assert self._catalog is not None
            if not _exist(self._catalog, *_names(key)) and _written_at(known) < now() - _ORPHANED:
                await self._forget(key)

    async def _forget(self, key: str) -> None:
        logger.info(
            "What %s has told is forgotten, since that is deleted or something else now.",
            key,
            extra={"action": "forget"},
        )
        await self._writer.write(CURSORS.name, key, None)

    def _spawn(self, work: Any) -> None:
        task = asyncio.create_task(work, name="forget cursors")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _apply(self, record: ConsumerRecord) -> None:
        key = (record.key or b"").decode(errors="replace")
        if record.value is None:
            self._known.pop(key, None)
            return
        headers = dict(record.headers)
        problem = None
        try:
            cursor = Cursor.decode(record.value)
        except UnsupportedVersion as error:  # by a newer program: without it everything would be told again
            problem = f"what it has told cannot be read here: {error}"
        else:
            if cursor.key != key:
                raise InvalidRecord(f"its key is {key[:200]!r} and it is of {cursor.key[:200]!r}", record.value)
        run = headers.get(_RUN)
        self._known[key] = Known(
            value=record.value,
            run=None if run is None else run.decode(errors="replace"),
            part=headers.get(_PART),
            problem=problem,
        )


def _checked(state: Any) -> JsonObject:
    if not isinstance(state, dict):
        raise TypeError("it must be an object")
    size = len(msgspec.json.encode(state))
    if size > MAX_STATE_BYTES:
        raise ValueError(f"it is {size} bytes of JSON, and may be {MAX_STATE_BYTES}")
    return state


def _names(key: str) -> tuple[str, str]:
    configuration, _, producer = key.partition("/")
    return configuration, producer


def _exist(catalog: Catalog, configuration: str, producer: str) -> bool:
    """Whether both are defined; one that cannot be used is."""
    return _exists(catalog, "configuration", configuration) and _exists(catalog, "producer", producer)


def _is_other(before: Catalog, catalog: Catalog, producer: str) -> bool:
    """Whether a producer is of another type now, which can do nothing with the cursor."""
    old, new = before.producers.get(producer), catalog.producers.get(producer)
    return old is not None and new is not None and old.type != new.type


def _exists(catalog: Catalog, kind: Kind, name: str) -> bool:
    return name in getattr(catalog, f"{kind}s") or f"{kind}/{name}" in catalog.problems


def _written_at(known: Known) -> datetime:
    if known.problem is not None:
        return now()  # nobody here can say
    return Cursor.decode(known.value).at
