"""Rereading: brings back what lanes dropped, from its topic, when it comes near their heads."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable, Sequence

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from notifier.kafka import kafka_consumer
from notifier.settings import Settings
from streams.delivery.partition import Partition

logger = logging.getLogger(__name__)

_LOOK_S = 0.1  # until it is looked again what is wanted
_RETRY_S = 1.0
_GAP = 500  # offsets that are read over rather than skipped
_EMPTY_POLLS = 20  # of `_POLL_MS`, after which what is wanted is asked for anew
_POLL_MS = 200


async def reread(settings: Settings, partitions: Callable[[], Iterable[Partition]]) -> None:
    """Reads again what the lanes of a worker's partitions want, until it is cancelled. Raises UnsupportedVersion."""
    while True:
        if not any(len(partition.lanes.far) for partition in partitions()):
            await asyncio.sleep(_LOOK_S)
            continue
        try:
            async with kafka_consumer(settings) as kafka:
                while any(len(partition.lanes.far) for partition in partitions()):
                    for partition in list(partitions()):
                        await _bring(kafka, partition)
                    await asyncio.sleep(_LOOK_S)
        except (KafkaError, OSError) as error:
            logger.warning(
                "Deliveries that wait cannot be read again now; trying again: %s: %s",
                type(error).__name__,
                error,
                extra={"action": "read_again"},
            )
            await asyncio.sleep(_RETRY_S)


async def _bring(kafka: AIOKafkaConsumer, partition: Partition) -> None:
    wanted = partition.lanes.wanted()
    if not wanted:
        return
    missed = await _read(kafka, partition, wanted)
    if not missed:
        return
    place = partition.topic_partition
    begin, end = (await kafka.beginning_offsets([place]))[place], (await kafka.end_offsets([place]))[place]
    lost = [(offset, lane) for offset, lane in missed if not begin <= offset < end]
    for offset, lane in lost:
        partition.lanes.lose(offset, lane)
    if lost:
        logger.warning(
            "%d deliveries of %s are lost: they waited for longer than their topic keeps records, or it was made anew.",
            len(lost),
            partition.consumer,
            extra={"action": "read_again", "consumer": partition.consumer},
        )


async def _read(
    kafka: AIOKafkaConsumer, partition: Partition, wanted: Sequence[tuple[int, str]]
) -> list[tuple[int, str]]:
    """Hands over what is found, in order. Returns what was not there."""
    topic_partition: TopicPartition = partition.topic_partition
    left = deque(wanted)
    missed: list[tuple[int, str]] = []
    kafka.assign([topic_partition])
    at = left[0][0]
    kafka.seek(topic_partition, at)
    empty = 0
    while left and empty < _EMPTY_POLLS and partition.lanes.has_room:
        records = (await kafka.getmany(timeout_ms=_POLL_MS, max_records=_GAP)).get(topic_partition, [])
        empty = 0 if records else empty + 1
        if records and records[0].offset < at:  # the topic was made anew, and does not reach so far
            return [*missed, *left]
        for record in records:
            while left and left[0][0] < record.offset:
                missed.append(left.popleft())
            if not left or not partition.lanes.has_room:
                return missed
            if left[0][0] == record.offset:
                partition.take_back(record, left.popleft()[1])
        if left and records and left[0][0] > records[-1].offset + _GAP:
            at = left[0][0]
            kafka.seek(topic_partition, at)
    return missed
