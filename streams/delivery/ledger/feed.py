"""Feed: reads `attempts` into the file: forwards as they come, and backwards as far as is wanted.

Before a partition is read on, the last record that was read of it is read again: a topic that was deleted and created anew has
another one there, or none, and is then read like one that was never read.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from notifier.kafka import kafka_consumer
from notifier.settings import Settings
from notifier.topics import DELIVERIES
from streams.delivery.ledger.accepted import Accepted
from streams.delivery.ledger.attempts_topic import AttemptsTopic, mark_of
from streams.delivery.ledger.file import Place
from streams.delivery.ledger.filling import Filling
from streams.delivery.ledger.line import Line, read_line
from streams.delivery.ledger.store import Store

logger = logging.getLogger(__name__)

POLL_MS = 100  # one fetch waits so long for records
_READ_AT_ONCE = 2_000  # records; they take some hundredths of a second
_FEW = 500  # records, after which others are waited for before these are written
_PAUSE_S = 0.1
_LOOK_AGAIN_S = 60.0  # at what is committed, and whether the topic has grown
_TELL_S = 5.0
_UNKNOWN_MS = 2**62  # later than any record


class TopicChanged(Exception):
    """The topic is not the one that was read before, or has lost what was not read yet."""


@dataclass(eq=False, slots=True)
class Asked:
    """Somebody waits until `attempts` are read up to the moment when this is first looked at."""

    oldest_ms: int  # the attempts of records written since then are wanted
    done: asyncio.Future[None]
    ends: dict[int, int] | None = None  # of `attempts` at that moment, by partition


class Feed:
    """Reads on one connection."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        accepted: Accepted,
        asked: Sequence[Asked],
        clock: Callable[[], float],
    ) -> None:
        self._settings = settings
        self._topics = (settings.topic_prefix + DELIVERIES).encode()
        self._store = store
        self._file = store.file
        self._accepted = accepted
        self._asked = asked  # grows and shrinks
        self._clock = clock
        self._tell_at = time.monotonic() + _TELL_S

    async def run(self) -> None:
        """Reads until it is cancelled. Raises TopicChanged, KafkaError, OSError, BrokerError and sqlite3.Error."""
        topic = await AttemptsTopic.ask(self._settings)
        if self._file.cluster != topic.cluster:
            await self._store.call(self._file.begin_with, topic.cluster)
        # What is read is only what was accepted, and no transaction has that in it; so none is waited for.
        async with kafka_consumer(self._settings, isolation_level="read_uncommitted") as kafka:
            begins = await topic.begins(kafka)
            await self._find_places(begins, await topic.ends(kafka))
            filling = Filling(self._store, self._topics, topic, begins, self._clock)
            while True:
                await filling.fill(kafka, self._oldest_ms())
                await self._follow(kafka, topic, filling)

    def _oldest_ms(self) -> int:
        return min((asked.oldest_ms for asked in self._asked), default=_UNKNOWN_MS)

    async def _find_places(self, begins: dict[int, int], ends: dict[int, int]) -> None:
        """Where reading goes on, for each partition. Raises TopicChanged."""
        known = self._file.places
        if any(
            number not in ends or not begins[number] <= place.high <= ends[number] for number, place in known.items()
        ):
            raise TopicChanged
        fresh: dict[int, Place] = {}
        for number, end in ends.items():
            if number not in known and self._file.filled:  # the topic has grown
                fresh[number] = Place(low=begins[number], high=begins[number], since_ms=0)
            elif number not in known:
                fresh[number] = Place(low=end, high=end, since_ms=_UNKNOWN_MS)
        await self._store.call(self._file.write, (), (), fresh)

    async def _follow(self, kafka: AIOKafkaConsumer, topic: AttemptsTopic, filling: Filling) -> None:
        """Reads what comes, until more of the past is wanted. Raises TopicChanged."""
        kafka.assign(topic.partitions)
        unproven: set[int] = set()
        for partition in topic.partitions:
            place = self._file.places[partition.partition]
            if place.mark_offset is not None and place.mark_offset >= filling.begins[partition.partition]:
                unproven.add(partition.partition)
                kafka.seek(partition, place.mark_offset)
            else:
                kafka.seek(partition, place.high)
        look_at = time.monotonic() + _LOOK_AGAIN_S
        while True:
            for asked in [asked for asked in self._asked if asked.ends is None]:
                asked.ends = await topic.ends(kafka)
            if filling.wanted(self._oldest_ms()):
                return
            fetched = await kafka.getmany(timeout_ms=POLL_MS, max_records=_READ_AT_ONCE)
            lines, moved = await self._take_in(kafka, fetched, topic.partitions, unproven)
            await self._write(lines, moved)
            self._answer()
            if time.monotonic() >= look_at:
                await self._look_again(topic)
                look_at = time.monotonic() + _LOOK_AGAIN_S
            elif fetched and sum(map(len, fetched.values())) < _FEW and not self._asked:
                await asyncio.sleep(_PAUSE_S)

    async def _take_in(
        self,
        kafka: AIOKafkaConsumer,
        fetched: dict[TopicPartition, list[ConsumerRecord]],
        partitions: Sequence[TopicPartition],
        unproven: set[int],
    ) -> tuple[list[Line], dict[int, Place]]:
        """The new lines, and the places that change with them."""
        lines: list[Line] = []
        moved: dict[int, Place] = {}
        for partition, records in fetched.items():
            number, first, last = partition.partition, records[0], records[-1]
            place = self._file.places[number]
            if number in unproven:
                if (first.offset, mark_of(first)) != (place.mark_offset, place.mark):
                    raise TopicChanged
                unproven.discard(number)
            elif first.offset < place.high:
                raise TopicChanged
            new = [record for record in records if record.offset >= place.high]
            lines += [line for record in new if (line := read_line(record, self._topics)) is not None]
            if new:
                moved[number] = place._replace(high=last.offset + 1, mark_offset=last.offset, mark=mark_of(last))
        for partition in partitions:  # behind the last record there may be the marker of a transaction
            number, position = partition.partition, await kafka.position(partition)
            place = moved.get(number, self._file.places[number])
            if position > place.high:
                moved[number] = place._replace(high=position)
        return lines, moved

    async def _write(self, lines: list[Line], moved: dict[int, Place]) -> None:
        own = self._accepted.unwritten()
        if own or moved:
            ids = own.union(line.id for line in lines if line.accepted)
            await self._store.call(self._file.write, ids, lines, moved)
            self._accepted.written(own)

    def _answer(self) -> None:
        for asked in self._asked:
            if asked.ends is None or asked.done.done():
                continue
            left = sum(max(0, end - self._file.places[number].high) for number, end in asked.ends.items())
            if not left:
                asked.done.set_result(None)
            elif time.monotonic() >= self._tell_at:
                self._tell_at = time.monotonic() + _TELL_S
                logger.info(
                    "The ledger has %d attempts still to read; until then no new partition is begun with.",
                    left,
                    extra={"action": "read_ledger"},
                )

    async def _look_again(self, topic: AttemptsTopic) -> None:
        found = await AttemptsTopic.ask(self._settings)
        if (found.cluster, found.partitions) != (topic.cluster, topic.partitions):
            raise TopicChanged
        await self._store.call(self._file.forget_tries, found.committed)
