"""The ledger: what the topic `attempts` says about the deliveries of one partition.

There is no other store. Every try is on `attempts` before its offset is committed, so whoever takes a partition over reads
there, from ten minutes before the first uncommitted record, which ids were accepted, which offsets are finished although
their commit did not come through, and how far the retries of the others are. A re-sent delivery lies at another offset of the
same partition, because its key is the same lane, and so finds its id here.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from notifier.attempt import Origin
from notifier.errors import InvalidRecord
from notifier.kafka import kafka_consumer
from notifier.record import Record, Time
from notifier.settings import Settings
from notifier.topics import ATTEMPTS

logger = logging.getLogger(__name__)

REMEMBERED = 100_000  # accepted ids of one partition
BEFORE_MS = 10 * 60 * 1000  # how far before the first uncommitted record `attempts` is read
CLOCKS_DIFFER = timedelta(seconds=2)  # of the machines that write deliveries and attempts, at most
SETTLED = "settled"  # header of an attempt after which nothing is left to do for its origin
_RETRY_S = 1.0


class _Line(Record, frozen=True, kw_only=True):
    """What the ledger needs of an Attempt; Counters, which have none of it, are read too and passed over."""

    delivery: str = ""
    outcome: str = ""
    reason: str = ""
    number: int = 1
    origin: Origin | None = None
    not_before: Time | None = None
    ended_at: Time | None = None


@dataclass(slots=True)
class Tried:
    """What was done with the record at one offset."""

    delivery: str  # its delivery id
    at: datetime  # when the last try ended
    number: int = 0  # of the last try
    spared: int = 0  # how many of these tries did not spend the schedule
    not_before: datetime | None = None
    settled: bool = False  # nothing is left to do for it


class Ledger:
    """What is known of one partition of a deliveries topic. Grows with what this process records itself."""

    def __init__(self) -> None:
        self._accepted: OrderedDict[str, None] = OrderedDict()
        self._tried: dict[int, Tried] = {}  # by offset
        self.read_to: dict[int, int] | None = None  # per partition of `attempts`, where reading goes on

    def __contains__(self, delivery: str) -> bool:
        """Whether a delivery of that id was accepted."""
        return delivery in self._accepted

    def accept(self, delivery: str) -> None:
        """Remembers an accepted id, and forgets the oldest beyond 100,000."""
        self._accepted[delivery] = None
        self._accepted.move_to_end(delivery)
        if len(self._accepted) > REMEMBERED:
            self._accepted.popitem(last=False)

    def tried(self, delivery: str, offset: int, written_at: datetime) -> Tried | None:
        """What was done with a record already, if anything.

        A topic that was deleted and made again has the same offsets once more: the id and the time tell the records apart.
        """
        tried = self._tried.get(offset)
        if tried is None or tried.delivery != delivery or tried.at < written_at - CLOCKS_DIFFER:
            return None
        return tried

    def committed(self, offset: int) -> None:
        """Forgets the offsets that are not read again."""
        self._tried = {tried: state for tried, state in self._tried.items() if tried >= offset}

    def apply(self, line: _Line, origin: Origin, settled: bool) -> None:
        """Takes one line of `attempts` in."""
        if line.outcome == "accepted":
            self.accept(line.delivery)
        at = line.ended_at or datetime.fromtimestamp(0, UTC)
        state = self._tried.get(origin.offset)
        if state is None or state.delivery != line.delivery:
            state = self._tried[origin.offset] = Tried(line.delivery, at)
        state.at = max(state.at, at)
        state.number = max(state.number, line.number)
        state.spared += line.reason == "rate_limited"
        state.not_before = line.not_before
        state.settled = state.settled or settled


async def read_back(settings: Settings, wanted: Mapping[TopicPartition, tuple[Ledger, int]]) -> None:
    """Reads `attempts` into ledgers, each from ten minutes before its first uncommitted record, up to this moment.

    `wanted` maps a partition of a deliveries topic to its ledger and that record's time in milliseconds. A ledger that was
    read before goes on where it stopped. Tries until the broker answers. Raises UnsupportedVersion.
    """
    while True:
        try:
            async with kafka_consumer(settings, isolation_level="read_uncommitted") as kafka:
                await _read(kafka, settings.topic_prefix + ATTEMPTS.name, wanted)
                return
        except (KafkaError, OSError) as error:
            logger.warning(
                "The attempts cannot be read now and will be tried again: %s", error, extra={"action": "read_ledger"}
            )
            await asyncio.sleep(_RETRY_S)


async def _read(kafka: AIOKafkaConsumer, topic: str, wanted: Mapping[TopicPartition, tuple[Ledger, int]]) -> None:
    numbers = kafka.partitions_for_topic(topic) or range(ATTEMPTS.partitions)
    partitions = [TopicPartition(topic, number) for number in sorted(numbers)]
    kafka.assign(partitions)
    ends: dict[TopicPartition, int] = await kafka.end_offsets(partitions)
    starts = dict(ends)
    since_ms = [since for ledger, since in wanted.values() if ledger.read_to is None]
    if since_ms:
        since = max(0, min(since_ms) - BEFORE_MS)
        for partition, found in (await kafka.offsets_for_times(dict.fromkeys(partitions, since))).items():
            if found is not None:
                starts[partition] = min(starts[partition], found.offset)
    for ledger, _ in wanted.values():
        for partition in partitions:
            if ledger.read_to is not None:
                starts[partition] = min(starts[partition], ledger.read_to.get(partition.partition, 0))
    left = {partition for partition in partitions if starts[partition] < ends[partition]}
    if left:
        kafka.assign(list(left))
    for partition in left:
        kafka.seek(partition, starts[partition])
    ledgers = {(partition.topic, partition.partition): ledger for partition, (ledger, _) in wanted.items()}
    while left:
        for batch in (await kafka.getmany(timeout_ms=200)).values():
            for record in batch:
                _apply(record, ledgers)
        left = {partition for partition in left if await kafka.position(partition) < ends[partition]}
    for ledger, _ in wanted.values():
        ledger.read_to = {partition.partition: end for partition, end in ends.items()}


def _apply(record: ConsumerRecord, ledgers: Mapping[tuple[str, int], Ledger]) -> None:
    try:
        line = _Line.decode(record.value or b"{}")
    except InvalidRecord as error:
        logger.warning(
            "Offset %s of %s is not an attempt and is passed over: %s",
            record.offset,
            record.topic,
            error,
            extra={"action": "read_ledger"},
        )
        return
    if line.origin is None:
        return
    ledger = ledgers.get((line.origin.topic, line.origin.partition))
    if ledger is not None:
        ledger.apply(line, line.origin, any(name == SETTLED for name, _ in record.headers))
