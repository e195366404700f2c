"""Whether a contender's outputs are exactly right, before any of its figures counts."""

from collections import Counter
from collections.abc import AsyncIterator, Sequence

import msgspec
from aiokafka import TopicPartition

from notifier.kafka import kafka_consumer
from notifier.settings import Settings

Pairs = Counter[tuple[str, str]]  # configuration and message id → how often

SHOWN = 5


class _Delivery(msgspec.Struct):
    id: str
    configuration: str
    message_id: str


def faults(expected: Pairs, found: Pairs) -> list[str]:
    """What is wrong with the deliveries found, in words; nothing where the two are the same, however often each occurs."""
    missing, surplus = expected - found, found - expected
    said = []
    for pairs, what in ((missing, "missing"), (surplus, "too many")):
        if pairs:
            shown = ", ".join(f"{message} by {configuration}" for configuration, message in sorted(pairs)[:SHOWN])
            said.append(f"{pairs.total()} of {expected.total()} deliveries {what}: {shown}")
    return said


async def read_deliveries(settings: Settings, partitions: Sequence[TopicPartition]) -> Pairs:
    """What lies on the consumers' topics now."""
    found: Pairs = Counter()
    async for delivery in _deliveries(settings, partitions):
        found[delivery.configuration, delivery.message_id] += 1
    return found


async def count_deliveries(settings: Settings, partitions: Sequence[TopicPartition]) -> tuple[Counter[str], int]:
    """How many deliveries of each message lie there now, and how many of all deliveries are repeated.

    Equal deliveries are in one partition, so one partition after the other is read: there may be millions.
    """
    found: Counter[str] = Counter()
    repeated = 0
    for partition in partitions:
        ids: set[str] = set()
        count = 0
        async for delivery in _deliveries(settings, [partition]):
            ids.add(delivery.id)
            found[delivery.message_id] += 1
            count += 1
        repeated += count - len(ids)
    return found, repeated


async def _deliveries(settings: Settings, partitions: Sequence[TopicPartition]) -> AsyncIterator[_Delivery]:
    decode = msgspec.json.Decoder(_Delivery).decode
    async with kafka_consumer(settings, check_crcs=False, max_partition_fetch_bytes=4_000_000) as consumer:
        consumer.assign(list(partitions))
        ends = await consumer.end_offsets(partitions)
        left = {partition: end for partition, end in ends.items() if end}
        if not left:
            return
        consumer.assign(list(left))
        await consumer.seek_to_beginning(*left)
        while left:
            for records in (await consumer.getmany(timeout_ms=200)).values():
                for record in records:
                    yield decode(record.value)
            for partition in list(left):
                if await consumer.position(partition) >= left[partition]:
                    del left[partition]
