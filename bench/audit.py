"""Whether a contender's outputs are exactly right, before any of its figures counts."""

from collections import Counter
from collections.abc import Sequence

import msgspec
from aiokafka import TopicPartition

from notifier.kafka import kafka_consumer
from notifier.settings import Settings

Pairs = Counter[tuple[str, str]]  # configuration and message id → how often

SHOWN = 5


class _Delivery(msgspec.Struct):
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
    decode = msgspec.json.Decoder(_Delivery).decode
    found: Pairs = Counter()
    async with kafka_consumer(settings, check_crcs=False, max_partition_fetch_bytes=4_000_000) as consumer:
        consumer.assign(list(partitions))
        ends = await consumer.end_offsets(partitions)
        left = {partition: end for partition, end in ends.items() if end}
        consumer.assign(list(left))
        await consumer.seek_to_beginning(*left)
        while left:
            for records in (await consumer.getmany(timeout_ms=200)).values():
                for record in records:
                    delivery = decode(record.value)
                    found[delivery.configuration, delivery.message_id] += 1
            for partition in list(left):
                if await consumer.position(partition) >= left[partition]:
                    del left[partition]
    return found
