"""Waiting: how many deliveries wait for consumers, as the offsets of their topics say; what is parked is not among them."""

from collections.abc import Collection, Mapping

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from notifier.settings import Settings
from notifier.topics import DELIVERIES

GROUP = "delivery"  # the consumer group of the delivery workers


async def waiting(
    settings: Settings, admin: AIOKafkaAdminClient, kafka: AIOKafkaConsumer, consumers: Collection[str]
) -> Mapping[str, int]:
    """By consumer: the records behind the committed offsets, transactions' marks too. One without a topic is left out.

    Raises KafkaError.
    """
    prefix = settings.topic_prefix + DELIVERIES
    topics = await admin.describe_topics([prefix + consumer for consumer in consumers])
    partitions = [
        TopicPartition(topic["topic"], partition["partition"]) for topic in topics for partition in topic["partitions"]
    ]
    if not partitions:
        return {}
    done = await admin.list_consumer_group_offsets(settings.topic_prefix + GROUP)
    begins, ends = await kafka.beginning_offsets(partitions), await kafka.end_offsets(partitions)
    found: dict[str, int] = {}
    for partition in partitions:
        committed = done[partition].offset if partition in done else 0
        consumer = partition.topic.removeprefix(prefix)
        found[consumer] = found.get(consumer, 0) + max(0, ends[partition] - max(committed, begins[partition]))
    return found
