"""Ports: which ports of this machine's loopback the broker can listen on."""

import random
import socket

from notifier.errors import BrokerError

HOST = "127.0.0.1"
# Below the ephemeral ports: a client's own end of a connection may hold one of those when the broker returns to it.
FREE_PORTS = range(20_000, 32_768)


def free_port(besides: int | None = None) -> int:
    """A port of `FREE_PORTS` that no process listens on now. Raises BrokerError when 200 tries find none."""
    for port in random.sample(FREE_PORTS, 200):
        if port != besides and is_free(port):
            return port
    raise BrokerError(f"no port between {FREE_PORTS[0]} and {FREE_PORTS[-1]} is free on {HOST}: end what uses them")


def is_free(port: int) -> bool:
    """Whether no process listens on the port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as Java does, or a closed connection looks taken
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True
