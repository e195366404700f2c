"""Group: the Kafka consumers of delivery's two groups, and what they call when partitions come and go."""

from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition

from notifier.kafka import kafka_consumer
from notifier.settings import Settings

GROUP = "delivery"  # of those who make deliveries
POLL_MS = 200  # one fetch waits so long for records


def group_consumer(settings: Settings, group: str, **options: Any) -> AIOKafkaConsumer:
    """A Kafka consumer of the group `group`, named without the prefix. Not started."""
    return kafka_consumer(
        settings,
        group_id=settings.topic_prefix + group,
        session_timeout_ms=10_000,
        heartbeat_interval_ms=1_000,
        rebalance_timeout_ms=20_000,
        fetch_max_wait_ms=POLL_MS,
        **options,
    )


def divide_anew(kafka: AIOKafkaConsumer) -> None:
    """Has a Kafka consumer's group divide its partitions anew. aiokafka has no public name for it (0.14)."""
    kafka._coordinator.request_rejoin()


class OnRebalance(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka has no types
    """Calls `let_go` before the partitions may go to others, and `take` with all that are assigned afterwards."""

    def __init__(
        self, *, take: Callable[[Iterable[TopicPartition]], Awaitable[None]], let_go: Callable[[], Awaitable[None]]
    ) -> None:
        self._take = take
        self._let_go = let_go

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        await self._let_go()

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        await self._take(assigned)
