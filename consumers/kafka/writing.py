"""Writing: a Kafka producer at the cluster of others. What its errors mean is the table in `consumers.kafka.answers`.

Brokers say at which addresses the others are reached, so each connection is made by `notifier.network`, not only the first.
"""

import asyncio
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka import errors as kafka_errors
from aiokafka.errors import BrokerResponseError, KafkaError

from consumers.kafka.answers import CONNECT_S, REQUEST_S
from notifier import Permanent, Retryable
from notifier.errors import DeliveryError
from notifier.kafka.clients import end_kafka_producer, kafka_producer_at
from notifier.kafka.connecting import connecting_by
from notifier.message import MAX_BYTES
from notifier.network import Network
from notifier.one_line import one_line
from notifier.outcome import Reason
from notifier.outside import authorities

_FLUSH_S = 2.0
_LOOKS, _LOOK_S = 8, 0.25  # for a topic, which a broker may be about to make
_SHOWN = 300  # characters of an error

_UNSURE = (kafka_errors.RequestTimedOutError, kafka_errors.KafkaTimeoutError, kafka_errors.ProducerClosed)
_PERMANENT: tuple[tuple[str, Reason], ...] = (
    ("AuthenticationFailedError", "unauthorized"),
    ("SaslAuthenticationFailed", "unauthorized"),
    ("UnsupportedSaslMechanismError", "unauthorized"),
    ("TopicAuthorizationFailedError", "forbidden"),
    ("ClusterAuthorizationFailedError", "forbidden"),
    ("InvalidTopicError", "not_found"),
    ("UnknownTopicOrPartitionError", "not_found"),
    ("MessageSizeTooLargeError", "invalid_content"),
    ("RecordListTooLargeError", "invalid_content"),
    ("InvalidRecordError", "invalid_content"),
)


class Unsure(Exception):
    """The record may have been written. Holds the words that the attempt records."""


class InvalidRecordError(BrokerResponseError):  # type: ignore[misc]  # aiokafka has no types, nor this one of Kafka's errors
    """The broker refuses a record of the batch, such as one without a key for a compacted topic."""

    errno = 87
    message = "INVALID_RECORD"


kafka_errors.kafka_errors.setdefault(InvalidRecordError.errno, InvalidRecordError)


@dataclass(frozen=True, kw_only=True, slots=True)
class Cluster:
    """Where brokers are, and as whom they are spoken to."""

    servers: Sequence[tuple[str, int]]
    protocol: str
    mechanism: str
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    authority: str | None = None  # PEM of the authority of its certificates; none: the machine's
    proxy: str | None = field(default=None, repr=False)


class Writing:
    """Writes records to one cluster, over connections that are kept. Raises Retryable, Permanent and Unsure."""

    def __init__(self, cluster: Cluster, network: Network) -> None:
        self._cluster = cluster
        self._network = network
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
            with connecting_by(self._connect):
                sent: asyncio.Future[Any] = await producer.send(topic, value, key=key, headers=list(headers))
            return sent
        except KafkaError as error:
            raise _failure_of(error) from None

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
                raise Unsure(f"no broker answered in time; it may have been written: {_shown(error)}") from None
            self.spoilt = True
            raise _failure_of(error) from None

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
                    with connecting_by(self._connect):
                        client.add_topic(topic)
                        told = await client.force_metadata_update() or told
                    if topic in client.cluster.unauthorized_topics:
                        raise Permanent("forbidden", f"Kafka: there is no right to write to the topic {topic}")
                    await asyncio.sleep(_LOOK_S)
        except (TimeoutError, KafkaError) as error:
            text = f"no broker answers; nothing was written: {_shown(error)}"
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
                await self._look_up()
                producer = kafka_producer_at(**self._options())
                try:
                    with connecting_by(self._connect):
                        async with asyncio.timeout(REQUEST_S):
                            await producer.start()
                except BaseException as error:
                    await end_kafka_producer(producer)
                    if isinstance(error, TimeoutError):
                        text = f"no broker answered within {REQUEST_S:g} s; nothing was written"
                        raise Retryable("connection", text) from None
                    if isinstance(error, KafkaError | OSError):
                        raise _failure_of(error) from None
                    raise
                self._producer = producer
            return self._producer

    async def _look_up(self) -> None:
        """Says in plain words where none of the brokers to begin with may be reached. Raises Retryable and Permanent."""
        failures: list[DeliveryError] = []
        for host, port in self._cluster.servers:
            try:
                await self._network.resolve(host, port)
            except DeliveryError as error:
                failures.append(error)
            else:
                return
        passing = [error for error in failures if isinstance(error, Retryable)]
        if not passing:
            raise failures[0]
        if self._cluster.proxy is None:  # which looks up the names that are allowed
            raise passing[0]

    async def _connect(self, host: str, port: int) -> socket.socket:
        return await self._network.connect(host, port, proxy=self._cluster.proxy, timeout_s=CONNECT_S)

    def _options(self) -> dict[str, Any]:
        cluster = self._cluster
        options: dict[str, Any] = {
            "bootstrap_servers": [f"{_bracketed(host)}:{port}" for host, port in cluster.servers],
            "client_id": "notifier",
            "security_protocol": cluster.protocol,
            "request_timeout_ms": int(REQUEST_S * 1000),
            "max_request_size": MAX_BYTES + 100_000,
        }
        if cluster.protocol.endswith("SSL"):
            trusted = cluster.authority
            options["ssl_context"] = authorities() if trusted is None else ssl.create_default_context(cadata=trusted)
        if cluster.protocol.startswith("SASL"):
            options["sasl_mechanism"] = cluster.mechanism
            options["sasl_plain_username"] = cluster.username
            options["sasl_plain_password"] = cluster.password
        return options


def _failure_of(error: Exception) -> DeliveryError:
    text = f"Kafka: {_shown(error)}"
    names = {one.__name__ for one in type(error).__mro__}
    for name, reason in _PERMANENT:
        if name in names:
            return Permanent(reason, text)
    if isinstance(error, kafka_errors.KafkaConnectionError | OSError):
        return Retryable("connection", text)
    if "ThrottlingQuotaExceededError" in names:
        return Retryable("rate_limited", text)
    return Retryable("server_error", text)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _shown(error: Exception) -> str:
    return one_line(f"{type(error).__name__}: {error}", _SHOWN)
