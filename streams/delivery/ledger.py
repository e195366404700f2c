"""The ledger: what the topic `attempts` says about the deliveries of one partition.

There is no other store. Every try is on `attempts` before its offset is committed. The new owner of a partition reads there,
from ten minutes before the first uncommitted record: which ids were accepted, which offsets are finished although their commit
failed, and how far the retries of the others are. A re-sent delivery has the same lane as its key, so it lies in the same
partition, at another offset, and its id is found here.
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
from notifier.bounds import DeliveryId, Number
from notifier.errors import InvalidRecord
from notifier.kafka import kafka_consumer
from notifier.record import Record, Time, now
from notifier.seldom import Seldom
from notifier.settings import Settings
from notifier.topics import ATTEMPTS

logger = logging.getLogger(__name__)
_seldom = Seldom(logger)

REMEMBERED = 100_000  # accepted ids of one partition
BEFORE_MS = 10 * 60 * 1000  # how far before the first uncommitted record `attempts` is read
CLOCKS_DIFFER = timedelta(seconds=2)  # at most, between the machines that write deliveries and attempts
SETTLED = "settled"  # header of the attempt that ended the delivery at its origin
SPARED = "spared"  # header of every attempt: b"1" where its try did not spend the retry schedule, else b"0"
_RETRY_S = 1.0


class _Line(Record, frozen=True, kw_only=True):
    """What the ledger needs of an Attempt. Counters have none of these fields and are skipped."""

    delivery: DeliveryId = ""
    outcome: str = ""
    reason: str = ""
    number: Number = 1
    origin: Origin | None = None
    not_before: Time | None = None
    ended_at: Time | None = None


@dataclass(slots=True)
class PastTries:
    """The tries at the record of one offset."""

    delivery: str  # id
    at: datetime  # when the last try ended
    number: int = 0  # of the last try
    spared: int = 0  # tries that did not spend the retry schedule
    not_before: datetime | None = None  # of the next try
    told: bool = False  # the service itself asked for that wait, at its limit
    settled: bool = False  # nothing is left to do


class Ledger:
    """The accepted ids and the unfinished tries of one partition of a deliveries topic. `accept` adds what happens since."""

    def __init__(self) -> None:
        self._accepted: OrderedDict[str, None] = OrderedDict()
        self._tries: dict[int, PastTries] = {}  # by offset
        self.read_to: dict[int, int] | None = None  # partition of `attempts` → next offset to read; none: not read yet

    def __contains__(self, delivery: str) -> bool:
        """Whether a delivery with that id was accepted."""
        return delivery in self._accepted

    def accept(self, delivery: str) -> None:
        """Remembers an accepted id, and forgets the oldest beyond `REMEMBERED`."""
        self._accepted[delivery] = None
        self._accepted.move_to_end(delivery)
        if len(self._accepted) > REMEMBERED:
            self._accepted.popitem(last=False)

    def tries(self, delivery: str, offset: int, written_at: datetime) -> PastTries | None:
        """The tries at a record so far; None where there are none.

        A topic that was deleted and created again repeats its offsets: the id and the time tell the records apart.
        """
        past = self._tries.get(offset)
        if past is None or past.delivery != delivery or past.at < written_at - CLOCKS_DIFFER:
            return None
        return past

    def committed(self, offset: int) -> None:
        """Forgets the offsets below a committed one."""
        self._tries = {tried: past for tried, past in self._tries.items() if tried >= offset}

    def apply(self, line: _Line, origin: Origin, headers: Mapping[str, bytes]) -> None:
        """Adds one attempt, with its headers."""
        if line.outcome == "accepted":
            self.accept(line.delivery)
        at = line.ended_at or datetime.fromtimestamp(0, UTC)
        past = self._tries.get(origin.offset)
        if past is None or past.delivery != line.delivery:
            past = self._tries[origin.offset] = PastTries(line.delivery, at)
        past.at = max(past.at, at)
        past.number = max(past.number, line.number)
        # Where the header is absent, an older program wrote the attempt: it spared every try that met a rate limit.
        spared = headers[SPARED] == b"1" if SPARED in headers else line.reason == "rate_limited"
        past.spared += spared
        past.told = spared and line.reason == "rate_limited"
        # A hold begins anew with its worker: the first call says whether the credential is refused still.
        past.not_before = None if line.reason == "unauthorized" else line.not_before
        past.settled = past.settled or SETTLED in headers


async def read_back(settings: Settings, wanted: Mapping[TopicPartition, tuple[Ledger, int]]) -> None:
    """Reads `attempts` into ledgers, each from ten minutes before its first uncommitted record, up to this moment.

    `wanted` maps a partition of a deliveries topic to its ledger and that record's time in milliseconds since 1970. A ledger
    that was read before goes on where it stopped. Retries until the broker answers. Raises UnsupportedVersion.
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
        # A client may write a record with a time that is yet to come.
        since = max(0, min(*since_ms, int(now().timestamp() * 1000)) - BEFORE_MS)
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
        _seldom.log(
            logging.WARNING,
            "Offset %s of %s is not an attempt and is skipped: %s",
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
        ledger.apply(line, line.origin, dict(record.headers))
