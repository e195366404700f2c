"""Cluster: a Kafka cluster of others, and the guarded way to it.

Brokers say at which addresses the others are reached, so each connection is made by `notifier.network`, not only the first.
"""

import socket
import ssl
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

from aiokafka import errors as kafka_errors

from notifier.errors import DeliveryError, Permanent, Retryable
from notifier.kafka.connecting import connecting_by
from notifier.network import Network
from notifier.one_line import one_line
from notifier.outcome import Reason
from notifier.outside import authorities
from notifier.plugin.cluster_parameters import ClusterParameters

REQUEST_S = 20.0  # that an answer of a broker is waited for, and how long the client tries again
CONNECT_S = 10.0
_SHOWN = 300  # characters of an error

_PERMANENT: tuple[tuple[str, Reason], ...] = (
    ("AuthenticationFailedError", "unauthorized"),
    ("SaslAuthenticationFailed", "unauthorized"),
    ("UnsupportedSaslMechanismError", "unauthorized"),
    ("TopicAuthorizationFailedError", "forbidden"),
    ("GroupAuthorizationFailedError", "forbidden"),
    ("ClusterAuthorizationFailedError", "forbidden"),
    ("InvalidTopicError", "not_found"),
    ("UnknownTopicOrPartitionError", "not_found"),
    ("MessageSizeTooLargeError", "invalid_content"),
    ("RecordListTooLargeError", "invalid_content"),
    ("InvalidRecordError", "invalid_content"),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Cluster:
    """Where brokers are, and as whom they are spoken to."""

    servers: Sequence[tuple[str, int]]
    protocol: str = "PLAINTEXT"
    mechanism: str = "SCRAM-SHA-512"
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    authority: str | None = None  # PEM of the authority of its certificates; none: the machine's
    proxy: str | None = field(default=None, repr=False)
    trusted: bool = False  # the operator's own: its addresses are not judged

    def options(self) -> dict[str, Any]:
        """What every aiokafka client of it is given."""
        options: dict[str, Any] = {
            "bootstrap_servers": [f"{_bracketed(host)}:{port}" for host, port in self.servers],
            "client_id": "notifier",
            "security_protocol": self.protocol,
            "request_timeout_ms": int(REQUEST_S * 1000),
        }
        if self.protocol.endswith("SSL"):
            trusted = self.authority
            options["ssl_context"] = authorities() if trusted is None else ssl.create_default_context(cadata=trusted)
        if self.protocol.startswith("SASL"):
            options["sasl_mechanism"] = self.mechanism
            options["sasl_plain_username"] = self.username
            options["sasl_plain_password"] = self.password
        return options


def cluster_of(parameters: ClusterParameters, servers: Sequence[tuple[str, int]], *, trusted: bool = False) -> Cluster:
    """The cluster that parameters name, at these servers."""
    return Cluster(
        servers=servers,
        protocol=parameters.security_protocol,
        mechanism=parameters.sasl_mechanism,
        username=parameters.username,
        password=None if parameters.password is None else parameters.password.get_secret_value(),
        authority=parameters.authority,
        proxy=parameters.proxy_url(),
        trusted=trusted,
    )


class ClusterWay:
    """The way to the brokers of one cluster. Clients connect by it within `guarded`."""

    def __init__(self, cluster: Cluster, network: Network) -> None:
        self.cluster = cluster
        self._network = network

    def guarded(self) -> AbstractContextManager[None]:
        """Has clients that are called within the block connect to judged addresses alone."""
        return connecting_by(self._connect)

    async def look_up(self) -> None:
        """Says in plain words where none of the brokers to begin with may be reached. Raises Retryable and Permanent."""
        if self.cluster.trusted:
            return
        failures: list[DeliveryError] = []
        for host, port in self.cluster.servers:
            try:
                await self._network.resolve(host, port)
            except DeliveryError as error:
                failures.append(error)
            else:
                return
        passing = [error for error in failures if isinstance(error, Retryable)]
        if not passing:
            raise failures[0]
        if self.cluster.proxy is None:  # which looks up the names that are allowed
            raise passing[0]

    async def _connect(self, host: str, port: int) -> socket.socket:
        cluster = self.cluster
        return await self._network.connect(
            host, port, proxy=cluster.proxy, trusted=cluster.trusted, timeout_s=CONNECT_S
        )


def failure_of(error: Exception) -> DeliveryError:
    """What an error of aiokafka means, as Retryable or Permanent."""
    text = f"Kafka: {shown(error)}"
    names = {one.__name__ for one in type(error).__mro__}
    for name, reason in _PERMANENT:
        if name in names:
            return Permanent(reason, text)
    if isinstance(error, kafka_errors.KafkaConnectionError | OSError):
        return Retryable("connection", text)
    if "ThrottlingQuotaExceededError" in names:
        return Retryable("rate_limited", text)
    return Retryable("server_error", text)


def shown(error: Exception) -> str:
    """An error as one line."""
    return one_line(f"{type(error).__name__}: {error}", _SHOWN)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
