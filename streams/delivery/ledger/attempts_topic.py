"""AttemptsTopic: the topic `attempts` as it is now: its cluster and partitions, and what delivery's group has committed."""

from hashlib import blake2b
from typing import NamedTuple, Self

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError, UnknownTopicOrPartitionError

from notifier.kafka import kafka_admin
from notifier.settings import Settings
from notifier.topics import ATTEMPTS, DELIVERIES
from streams.delivery.group import GROUP


class AttemptsTopic(NamedTuple):
    """What the broker says at one moment."""

    cluster: str  # the cluster's id and the topic's name
    partitions: tuple[TopicPartition, ...]
    committed: dict[tuple[str, int], int]  # topic and partition of deliveries → the offset below which all is finished

    @classmethod
    async def ask(cls, settings: Settings) -> Self:
        """Asks the broker. Raises KafkaError or BrokerError."""
        name = settings.topic_prefix + ATTEMPTS.name
        async with kafka_admin(settings) as admin:
            cluster = (await admin.describe_cluster()).get("cluster_id")
            described = await admin.describe_topics([name])
            numbers = sorted(partition["partition"] for topic in described for partition in topic["partitions"])
            if not numbers:
                raise UnknownTopicOrPartitionError(name)
            try:
                offsets = await admin.list_consumer_group_offsets(settings.topic_prefix + GROUP)
            except KafkaError:  # the group is only beginning
                offsets = {}
        committed = {
            (place.topic, place.partition): found.offset
            for place, found in offsets.items()
            if place.topic.startswith(settings.topic_prefix + DELIVERIES) and found.offset > 0
        }
        return cls(f"{cluster}/{name}", tuple(TopicPartition(name, number) for number in numbers), committed)

    async def begins(self, kafka: AIOKafkaConsumer) -> dict[int, int]:
        """The offset of the oldest record of each partition."""
        return {place.partition: offset for place, offset in (await kafka.beginning_offsets(self.partitions)).items()}

    async def ends(self, kafka: AIOKafkaConsumer) -> dict[int, int]:
        """The offset that the next record of each partition will have."""
        return {place.partition: offset for place, offset in (await kafka.end_offsets(self.partitions)).items()}


def mark_of(record: ConsumerRecord) -> bytes:
    """What tells a record from another one that has its offset in a topic created anew."""
    text = b"%d %b %b" % (record.timestamp, record.key or b"", record.value or b"")
    return blake2b(text, digest_size=8).digest()
