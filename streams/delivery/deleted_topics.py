"""Deleted topics: the topic of a deleted consumer is dropped once it is drained."""

import logging
from collections.abc import Iterable

from aiokafka import AIOKafkaConsumer, TopicPartition

from notifier.kafka import kafka_admin
from notifier.settings import Settings
from streams.delivery.partition import Partition
from streams.delivery.standing import Standings

logger = logging.getLogger(__name__)

DROP_AFTER_S = 10.0  # after a consumer was deleted, at the earliest


async def drop_drained_topics(
    settings: Settings, standings: Standings, kafka: AIOKafkaConsumer, partitions: Iterable[Partition]
) -> None:
    """Drops the drained topics of deleted consumers. Of all workers the owner of partition 0 does it."""
    for partition in list(partitions):  # a rebalance may change them meanwhile
        topic_partition, lanes = partition.topic_partition, partition.lanes
        if standings.missing_s(partition.consumer) < DROP_AFTER_S or lanes.unfinished or lanes.halted:
            continue
        # Behind the last delivery there may be transaction markers, which are never read as records.
        position = await kafka.position(topic_partition)
        if position > partition.committed and not lanes.unfinished:
            await kafka.commit({topic_partition: position})
            partition.committed = position
        if topic_partition.partition == 0 and await _is_drained(kafka, topic_partition.topic):
            async with kafka_admin(settings) as admin:
                if standings.missing_s(partition.consumer) >= DROP_AFTER_S:
                    await admin.delete_topics([topic_partition.topic])
                    logger.info(
                        "The consumer %s is deleted and its topic %s is drained: dropped the topic.",
                        partition.consumer,
                        topic_partition.topic,
                        extra={"action": "drop_topic", "consumer": partition.consumer},
                    )


async def _is_drained(kafka: AIOKafkaConsumer, topic: str) -> bool:
    partitions = [TopicPartition(topic, number) for number in kafka.partitions_for_topic(topic) or ()]
    if not partitions:
        return False
    begins = await kafka.beginning_offsets(partitions)
    ends = await kafka.end_offsets(partitions)
    for partition in partitions:
        committed = await kafka.committed(partition)
        if max(committed or 0, begins[partition]) < ends[partition]:
            return False
    return True
