"""Writing: a Kafka producer at the cluster of others. What its errors mean is the table in `consumers.kafka.answers`."""

import asyncio
from collections.abc import Sequence
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka import errors as kafka_errors
from aiokafka.errors import BrokerResponseError, KafkaError

from notifier import Permanent, Retryable
from notifier.kafka.clients import end_kafka_producer, kafka_producer_at
from notifier.kafka.cluster import REQUEST_S, Cluster, ClusterWay, failure_of, shown
from notifier.message import MAX_BYTES
from notifier.network import Network

_FLUSH_S = 2.0
_LOOKS, _LOOK_S = 8, 0.25  # for a topic, which a broker may be about to make

_UNSURE = (kafka_errors.RequestTimedOutError, kafka_errors.KafkaTimeoutError, kafka_errors.ProducerClosed)


class Unsure(Exception):
    """The record may have been written. Holds the words that the attempt records."""


class InvalidRecordError(BrokerResponseError):  # type: ignore[misc]  # aiokafka has no types, nor this one of Kafka's errors
    """The broker refuses a record of the batch, such as one without a key for a compacted topic."""

    errno = 87
    message = "INVALID_RECORD"


kafka_errors.kafka_errors.setdefault(InvalidRecordError.errno, InvalidRecordError)


class Writing:
    """Writes records to one cluster, over connections that are kept. Raises Retryable, Permanent and Unsure."""

    def __init__(self, cluster: Cluster, network: Network) -> None:
        self._way = ClusterWay(cluster, network)
        self._producer: AIOKafkaProducer | None = None
        self._starting = asyncio.Lock()
        # Whether brokers refused a batch. aiokafka has counted its records, so the cluster takes none of the same client's that
        # follow in the partition.
        self.spoilt = False

    async def ready(self, topic: str) -> AIOKafkaProducer:
        """The client, once it is connected and knows the topic. Nothing is written."""
        producer = await self._started()
        await self._partitions(producer, topic)
        return producer

    async def send(
        self, topic: str, key: bytes | None, value: bytes, headers: Sequence[tuple[str, bytes]]
    ) -> "asyncio.Future[Any]":
        """Hands one record to the client, which writes those of a partition in order; `settled` waits for the end."""
        producer = await self.ready(topic)
        try:
            with self._way.guarded():
                sent: asyncio.Future[Any] = await producer.send(topic, value, key=key, headers=list(headers))
            return sent
        except KafkaError as error:
            raise failure_of(error) from None

    async def settled(self, sent: "asyncio.Future[Any]") -> None:
        """Returns when all replicas in sync have the record."""
        try:
            async with asyncio.timeout(REQUEST_S * 2):
                await asyncio.shield(sent)
        except TimeoutError:
            await self.close()  # it would go on trying
            raise Unsure(f"no broker answered within {REQUEST_S * 2:g} s; it may have been written") from None
        except KafkaError as error:
            if isinstance(error, _UNSURE):
                raise Unsure(f"no broker answered in time; it may have been written: {shown(error)}") from None
            self.spoilt = True
            raise failure_of(error) from None

    async def check(self, topic: str) -> None:
        """Connects, signs in and looks the topic up. Writes nothing."""
        await self.ready(topic)

    async def close(self) -> None:
        """Closes the connections."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await end_kafka_producer(producer, flush_s=_FLUSH_S)

    async def _partitions(self, producer: AIOKafkaProducer, topic: str) -> None:
        """Returns once the client knows the topic's partitions. aiokafka itself would ask for a missing one for REQUEST_S."""
        client = producer.client
        told = False
        try:
            async with asyncio.timeout(REQUEST_S):
                for _ in range(_LOOKS):
                    if client.cluster.partitions_for_topic(topic) is not None:
                        return
                    with self._way.guarded():
                        client.add_topic(topic)
                        told = await client.force_metadata_update() or told
                    if topic in client.cluster.unauthorized_topics:
                        raise Permanent("forbidden", f"Kafka: there is no right to write to the topic {topic}")
                    await asyncio.sleep(_LOOK_S)
        except (TimeoutError, KafkaError) as error:
            text = f"no broker answers; nothing was written: {shown(error)}"
            raise Retryable("connection", text) from None
        if not told:
            raise Retryable("connection", "no broker of the cluster answers at the address that it names")
        raise Permanent("not_found", f"the cluster has no topic {topic}, or does not show it")

    async def _started(self) -> AIOKafkaProducer:
        async with self._starting:
            if self.spoilt:
                self.spoilt = False
                await self.close()
            if self._producer is None:
                await self._way.look_up()
                producer = kafka_producer_at(**self._options())
                try:
                    with self._way.guarded():
                        async with asyncio.timeout(REQUEST_S):
                            await producer.start()
                except BaseException as error:
                    await end_kafka_producer(producer)
                    if isinstance(error, TimeoutError):
                        text = f"no broker answered within {REQUEST_S:g} s; nothing was written"
                        raise Retryable("connection", text) from None
                    if isinstance(error, KafkaError | OSError):
                        raise failure_of(error) from None
                    raise
                self._producer = producer
            return self._producer

    def _options(self) -> dict[str, Any]:
        return {**self._way.cluster.options(), "max_request_size": MAX_BYTES + 100_000}
