"""Allowed addresses: the entries of NOTIFIER_ALLOWED_ADDRESSES, each an address, a network or a host name."""

import re  # for our own constant pattern
from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network, ip_network

# No pattern such as *.corp, which would match nothing, and no range: what ends in a number is an address to the system.
_NAME = re.compile(r"(?:[a-z0-9_-]+\.)*(?![0-9]+$)[a-z0-9_-]+", re.ASCII)


def read_allowed(entries: Sequence[str]) -> tuple[tuple[IPv4Network | IPv6Network, ...], frozenset[str]]:
    """The networks and the names among entries of NOTIFIER_ALLOWED_ADDRESSES. Raises ValueError."""
    networks, names = [], set()
    for entry in entries:
        try:
            networks.append(ip_network(entry))
        except ValueError as error:
            name = plain_host(entry)
            if not _NAME.fullmatch(name):
                raise ValueError(f"{entry!r} is no address, network or host name: {error}") from None
            names.add(name)
    return tuple(networks), frozenset(names)


def plain_host(host: str) -> str:
    """A host name in one form: small letters, ASCII, no dot at the end."""
    name = host.strip().rstrip(".").lower()
    if name.isascii():
        return name
    try:
        return name.encode("idna").decode()
    except UnicodeError:
        return name
