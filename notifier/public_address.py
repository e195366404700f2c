"""Public address: which IP addresses anybody on the internet may be reached at.

`is_global` of Python takes several for public that are not: an IPv6 address may hold an IPv4 address that a gateway or this
machine unpacks, so what is held is judged too, and of IPv6 only the space that is given out (2000::/3) counts.
Sources: IANA's registries of special-purpose addresses, RFC 6052 (NAT64), RFC 3056 (6to4), RFC 5214 (ISATAP).
"""

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

Address = IPv4Address | IPv6Address

_GIVEN_OUT = IPv6Network("2000::/3")
_NAT64 = IPv6Network("64:ff9b::/96")
_ISATAP = (0x0000_5EFE, 0x0200_5EFE)  # the upper half of an interface's number
_NOT_PUBLIC = tuple(
    map(
        IPv4Network,
        (
            "192.88.99.0/24",  # relays of 6to4, withdrawn
            "168.63.129.16/32",  # public by number, but the host of each machine at Azure
        ),
    )
)
_NOT_PUBLIC_6 = tuple(
    map(
        IPv6Network,
        (
            "2001::/32",  # Teredo, which holds an address and a port in disguise
            "3fff::/20",  # documentation, which Python does not know
        ),
    )
)


def is_public(address: Address) -> bool:
    """Whether an address is anybody's: not of a machine, a network, a provider, a group or a document."""
    if isinstance(address, IPv4Address):
        return address.is_global and not address.is_multicast and not any(address in net for net in _NOT_PUBLIC)
    held = list(held_in(address))
    if address.ipv4_mapped or address in _NAT64:
        return all(map(is_public, held))
    if address not in _GIVEN_OUT or any(address in net for net in _NOT_PUBLIC_6):
        return False
    return (address.is_global or address.sixtofour is not None) and all(map(is_public, held))


def held_in(address: IPv6Address) -> Iterator[IPv4Address]:
    """The IPv4 addresses that an IPv6 address holds: mapped, NAT64, 6to4 and ISATAP."""
    if address.ipv4_mapped:
        yield address.ipv4_mapped
    if address.sixtofour:
        yield address.sixtofour
    number = int(address)
    if address in _NAT64 or (number >> 32) & 0xFFFF_FFFF in _ISATAP:
        yield IPv4Address(number & 0xFFFF_FFFF)


def read_address(text: str) -> Address | None:
    """An address as the system writes it, a zone such as `%eth0` included; None for what is none."""
    try:
        return ip_address(text)
    except ValueError:
        return None
