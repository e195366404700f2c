"""Filling: reads `attempts` backwards into a file that is new, or holds less of the past than somebody needs.

It goes back for a day, then on until a million ids are known or the topic has no more. A step of all partitions is one
transaction, so a process that is killed meanwhile goes on with the next step.
"""

import logging
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from streams.delivery.ledger.attempts_topic import AttemptsTopic, mark_of
from streams.delivery.ledger.file import KEPT_S, Place
from streams.delivery.ledger.line import Line, read_line
from streams.delivery.ledger.store import Store

logger = logging.getLogger(__name__)

# How much earlier than the oldest record that is asked for: the broker takes records of an hour to come, and clocks differ.
BEFORE_MS = 70 * 60 * 1000
_STEP = 25_000  # offsets of each partition
_READ_AT_ONCE = 4_000  # records; they take some hundredths of a second
_ADDED_AT_ONCE = 20_000  # lines, in the order of their ids; a tenth of them takes twice the time
_TELL_S = 5.0


class _Found(NamedTuple):
    """What one step read of a partition."""

    # In milliseconds since 1970. The newest of a step counts: a client may write any time, and one record that is too old must
    # not end the reading.
    newest_ms: int
    last: ConsumerRecord


class Filling:
    """The past of one topic, of which nothing is older than `begins`."""

    def __init__(
        self,
        store: Store,
        topics: bytes,
        topic: AttemptsTopic,
        begins: Mapping[int, int],
        clock: Callable[[], float],
    ) -> None:
        self.begins = begins
        self._store = store
        self._file = store.file
        self._topics = topics
        self._topic = topic
        self._clock = clock
        self._read = 0  # records
        self._told_at = time.monotonic()

    def wanted(self, oldest_ms: int) -> list[int]:
        """The partitions of which more is wanted, so that the attempts of records written since then are in the file."""
        until_ms = oldest_ms - BEFORE_MS
        if not self._file.filled:
            until_ms = min(until_ms, int((self._clock() - KEPT_S) * 1000))
        left = {number: place for number, place in self._file.places.items() if place.low > self.begins[number]}
        found = [number for number, place in left.items() if place.since_ms > until_ms]
        if not found and not self._file.filled and self._file.count < self._file.kept:
            return list(left)
        return found

    async def fill(self, kafka: AIOKafkaConsumer, oldest_ms: int) -> None:
        """Reads as far back as `wanted` says."""
        began = time.monotonic()
        while numbers := self.wanted(oldest_ms):
            await self._step(kafka, numbers)
        if not self._file.filled:
            await self._store.call(self._mark_filled)
            logger.info(
                "The ledger is read: %d accepted deliveries, of %d attempts, in %.1f s.",
                self._file.count,
                self._read,
                time.monotonic() - began,
                extra={"action": "read_ledger"},
            )

    def _mark_filled(self) -> None:
        self._file.begin()
        self._file.fill()
        self._file.commit()

    async def _step(self, kafka: AIOKafkaConsumer, numbers: list[int]) -> None:
        """Reads one step back in these partitions."""
        places = {partition: self._file.places[partition.partition] for partition in self._topic.partitions}
        places = {partition: place for partition, place in places.items() if partition.partition in numbers}
        starts = {
            partition: max(self.begins[partition.partition], place.low - _STEP) for partition, place in places.items()
        }
        kafka.assign(list(places))
        for partition, start in starts.items():
            kafka.seek(partition, start)
        await self._store.call(self._file.begin)
        try:
            found = await self._read_between(kafka, places)
            moved = {
                partition.partition: self._moved(place, starts[partition], found.get(partition), partition.partition)
                for partition, place in places.items()
            }
            await self._store.call(self._file.move, moved)
            await self._store.call(self._file.commit)
        except BaseException:
            self._store.undo()
            raise

    def _moved(self, place: Place, start: int, found: _Found | None, number: int) -> Place:
        """A place after a step back to `start`."""
        if found is not None and place.mark is None:
            place = place._replace(mark_offset=found.last.offset, mark=mark_of(found.last))
        if start == self.begins[number]:
            return place._replace(low=start, since_ms=0)
        return place._replace(low=start, since_ms=place.since_ms if found is None else found.newest_ms)

    async def _read_between(
        self, kafka: AIOKafkaConsumer, places: Mapping[TopicPartition, Place]
    ) -> dict[TopicPartition, _Found]:
        """Adds what lies before the places, from where the consumer is; says what that was, where there was any."""
        found: dict[TopicPartition, _Found] = {}
        moment_ms = int(self._clock() * 1000)
        left = set(places)
        lines: list[Line] = []
        while left:
            for partition, records in (await kafka.getmany(*left, timeout_ms=200, max_records=_READ_AT_ONCE)).items():
                low = places[partition].low
                old = [record for record in records if record.offset < low]
                if old:
                    lines += [line for record in old if (line := read_line(record, self._topics)) is not None]
                    newest_ms = max(min(record.timestamp, moment_ms) for record in old)
                    before = found.get(partition)
                    found[partition] = _Found(max(newest_ms, before.newest_ms if before else 0), old[-1])
                    self._read += len(old)
            for partition in [
                partition for partition in left if await kafka.position(partition) >= places[partition].low
            ]:
                left.discard(partition)
                kafka.pause(partition)
            if len(lines) >= _ADDED_AT_ONCE or not left:
                ids = [line.id for line in lines if line.accepted]
                await self._store.call(self._file.add, ids, [line for line in lines if self._is_open(line)])
                lines = []
            self._tell()
        return found

    def _is_open(self, line: Line) -> bool:
        """Whether the record of a try may be read again, since it is not committed."""
        return line.offset >= self._topic.committed.get((line.topic, line.partition), 0)

    def _tell(self) -> None:
        if time.monotonic() - self._told_at >= _TELL_S:
            self._told_at = time.monotonic()
            logger.info(
                "The ledger is being read from the attempts: %d of them so far, %d deliveries accepted; nothing is sent before.",
                self._read,
                self._file.count,
                extra={"action": "read_ledger"},
            )
