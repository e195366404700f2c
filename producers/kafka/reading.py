"""Reading: the records of one topic of a cluster, shared among runners as a consumer group shares them.

An offset is committed once its record is told, so a record is read again where a runner ends in between. A group that begins at
the end of the topic commits where that was at once: what comes while nobody reads is behind it.
"""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError

from notifier.errors import DeliveryError, Permanent, Retryable
from notifier.kafka.clients import kafka_consumer_at
from notifier.kafka.cluster import REQUEST_S, ClusterWay, failure_of, shown

logger = logging.getLogger(__name__)

BATCH = 500  # records that are read at once
_JOIN_S = 60.0  # that joining a group may take; others may have to finish a batch
_LOOK_S = 30.0  # without records, after which it is asked whether the cluster is still there
_POLL_MS = 1000
_STOP_S = 5.0
_LOOKS, _WAIT_S = 8, 0.25  # for the topic
# That one batch may take before the group takes the partitions for left behind. Expressions on large records take seconds each.
_BATCH_MS = 60 * 60 * 1000
_FETCH_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Place:
    """What is read, by whom, and from where on where the group is new."""

    topic: str
    group: str
    start: Literal["earliest", "latest"]


class Reading:
    """Reads as a member of the group while its block runs. Raises Retryable and Permanent."""

    def __init__(self, way: ClusterWay, place: Place) -> None:
        self._way = way
        self._place = place
        self._consumer: AIOKafkaConsumer | None = None
        self._heard_at = 0.0  # when there was a record, or the cluster answered

    async def __aenter__(self) -> "Reading":
        """Joins the group."""
        await self._way.look_up()
        await prepare(self._way, self._place)
        place = self._place
        consumer = self._client(place.topic, group_id=place.group)
        try:
            with self._way.guarded():
                async with asyncio.timeout(_JOIN_S):
                    await consumer.start()
        except BaseException as error:
            await _stop(self._way, consumer)
            raise _in_words(error) from None
        self._consumer = consumer
        self._heard_at = asyncio.get_running_loop().time()
        return self

    async def __aexit__(self, *args: object) -> None:
        """Leaves the group."""
        if self._consumer is not None:
            await _stop(self._way, self._consumer)

    async def poll(self) -> list[ConsumerRecord]:
        """The next records, in order within a partition; none where none came for a second."""
        assert self._consumer is not None
        loop = asyncio.get_running_loop()
        try:
            with self._way.guarded():
                found = await self._consumer.getmany(timeout_ms=_POLL_MS, max_records=BATCH)
                if not found and loop.time() - self._heard_at > _LOOK_S:
                    if not await self._consumer._client.force_metadata_update():
                        raise Retryable("connection", "no broker of the cluster answers")
                    self._heard_at = loop.time()
        except KafkaError as error:
            raise failure_of(error) from None
        if found:
            self._heard_at = loop.time()
        return [record for records in found.values() for record in records]

    async def told(self, records: Sequence[ConsumerRecord]) -> None:
        """Commits the offsets behind records whose messages are written. Another runner may have the partition by now."""
        assert self._consumer is not None
        ends = {TopicPartition(record.topic, record.partition): record.offset + 1 for record in records}
        try:
            with self._way.guarded():
                await self._consumer.commit(ends)
        except (CommitFailedError, IllegalStateError) as error:
            logger.info(
                "Records of %s were told, and another member of the group %s may tell them again: %s",
                self._place.topic,
                self._place.group,
                shown(error),
                extra={"action": "follow"},
            )
        except KafkaError as error:
            raise failure_of(error) from None

    def _client(self, *topics: str, **options: Any) -> AIOKafkaConsumer:
        return _client(self._way, *topics, **options)


async def prepare(way: ClusterWay, place: Place | None, topic: str = "") -> None:
    """Looks the topic up, and gives a new group that starts at the end of it its place there. Raises Retryable and Permanent.

    Without a place it looks up `topic` alone.
    """
    consumer = _client(way, group_id=None if place is None else place.group)
    try:
        with way.guarded():
            async with asyncio.timeout(REQUEST_S):
                await consumer.start()
                partitions = await _partitions(consumer, topic if place is None else place.topic)
                if place is not None and place.start == "latest":
                    await _begin_at_end(consumer, partitions)
    except BaseException as error:
        raise _in_words(error) from None
    finally:
        await _stop(way, consumer)


async def _partitions(consumer: AIOKafkaConsumer, topic: str) -> list[TopicPartition]:
    client = consumer._client
    told = False
    for _ in range(_LOOKS):
        client.add_topic(topic)
        told = await client.force_metadata_update() or told
        found = client.cluster.partitions_for_topic(topic)
        if found:
            return [TopicPartition(topic, partition) for partition in sorted(found)]
        if topic in client.cluster.unauthorized_topics:
            raise Permanent("forbidden", f"Kafka: there is no right to read the topic {topic}")
        await asyncio.sleep(_WAIT_S)
    if not told:
        raise Retryable("connection", "no broker of the cluster answers at the address that it names")
    raise Permanent("not_found", f"the cluster has no topic {topic}, or does not show it")


async def _begin_at_end(consumer: AIOKafkaConsumer, partitions: Sequence[TopicPartition]) -> None:
    """Commits the ends of the topic for a group that has committed nothing. A partition that is added later is read whole."""
    consumer.assign(partitions)
    known = [await consumer.committed(partition) for partition in partitions]
    if any(offset is not None for offset in known):
        return
    with suppress(CommitFailedError):  # another runner was faster, and reads already
        await consumer.commit(await consumer.end_offsets(partitions))


def _client(way: ClusterWay, *topics: str, **options: Any) -> AIOKafkaConsumer:
    return kafka_consumer_at(
        *topics,
        **{
            **way.cluster.options(),
            "metadata_max_age_ms": 30_000,
            "fetch_max_bytes": _FETCH_BYTES,
            "max_poll_interval_ms": _BATCH_MS,
            "rebalance_timeout_ms": 20_000,
            **options,
        },
    )


async def _stop(way: ClusterWay, consumer: AIOKafkaConsumer) -> None:
    try:
        with way.guarded():
            async with asyncio.timeout(_STOP_S):
                await consumer.stop()
    except (KafkaError, OSError, TimeoutError) as error:
        logger.debug("A Kafka consumer did not stop in order: %s", shown(error))


def _in_words(error: BaseException) -> BaseException:
    if isinstance(error, TimeoutError):
        return Retryable("connection", f"no broker answered within {REQUEST_S:g} s")
    if isinstance(error, DeliveryError) or not isinstance(error, KafkaError | OSError):
        return error
    return failure_of(error)
