"""Cluster parameters: where a Kafka cluster of others is, and as whom it is spoken to."""

import re  # for our own constant patterns
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, SecretStr, StringConstraints, model_validator

from notifier.plugin.authority import Authority
from notifier.plugin.proxy_parameters import ProxyParameters

_PORT = 9092
_SERVER = re.compile(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)(?::([0-9]{1,5}))?")


def read_servers(text: str) -> list[tuple[str, int]]:
    """Hosts and ports of `host:port,…`. Raises ValueError, in words for people."""
    found = []
    for server in text.split(","):
        match = _SERVER.fullmatch(server.strip())
        if match is None or not 0 < int(match[2] or _PORT) < 65536:
            raise ValueError("must be host:port, or several with commas between them: kafka-1.example:9092")
        found.append((match[1].strip("[]"), int(match[2] or _PORT)))
    return found


def _check_servers(text: str) -> str:
    read_servers(text)
    return text


def _check_topic(topic: str) -> str:
    if topic in (".", "..") or topic.startswith("__"):
        raise ValueError("is a name that Kafka keeps for itself")
    return topic


Servers = Annotated[str, StringConstraints(max_length=2000), AfterValidator(_check_servers)]
TopicName = Annotated[str, StringConstraints(pattern=r"^[a-zA-Z0-9._-]{1,249}$"), AfterValidator(_check_topic)]


# The parameters that decide who gets to see the password.
WAYS = ("servers", "security_protocol", "sasl_mechanism", "authority")


class ClusterParameters(ProxyParameters):
    """Parameters of producers and consumers that speak to a Kafka cluster of others."""

    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="How the brokers are spoken to."
    )
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        "SCRAM-SHA-512", description="How to sign in, with a SASL protocol."
    )
    username: Annotated[str, StringConstraints(min_length=1, max_length=500)] | None = Field(
        None, description="Name to sign in with."
    )
    password: SecretStr | None = Field(None, description="Password of `username`.")
    authority: Authority | None = Field(
        None, description="Authority of the brokers' certificates, as PEM; absent: those that the machine trusts."
    )

    @model_validator(mode="after")
    def _check_sign_in(self) -> Self:
        if self.security_protocol.startswith("SASL") and (self.username is None or self.password is None):
            raise ValueError(f"{self.security_protocol} needs username and password")
        return self
