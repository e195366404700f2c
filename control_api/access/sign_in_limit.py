"""Tries: how often somebody may try to sign in. Counted in this process alone, each replica for itself.

No library: the known one starts a thread for each counter's end and brings three packages, for what is a deque of times.
"""

import time
from collections import deque
from collections.abc import Callable
from ipaddress import IPv6Address, ip_address
from math import ceil

TRIES = 5  # for each name and for each address
WINDOW_S = 60.0
_SWEEP_AT = 10_000  # keys; those without a recent try are dropped then


class Tries:
    """Recent tries by key, whatever became of them."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._recent: dict[str, deque[float]] = {}

    def take(self, *keys: str) -> int:
        """Counts a try under every key; 0 if it may go on, else in how many seconds to come again, nothing counted."""
        at = self._clock()
        if len(self._recent) > _SWEEP_AT:
            self._recent = {key: times for key, times in self._recent.items() if times and times[-1] > at - WINDOW_S}
        wait = 0.0
        for key in keys:
            times = self._recent.get(key, deque())
            while times and times[0] <= at - WINDOW_S:
                times.popleft()
            if len(times) >= TRIES:
                wait = max(wait, times[0] + WINDOW_S - at)
        if wait == 0:
            for key in keys:
                self._recent.setdefault(key, deque()).append(at)
        return ceil(wait)


def address_key(host: str | None) -> str:
    """The address that tries are counted for; all of an IPv6 network of 64 bits are one, since one caller has it all."""
    try:
        address = ip_address((host or "").split("%")[0])
    except ValueError:
        return "address unknown"
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is None:
            return f"address {int(address) >> 64:x}"
        address = address.ipv4_mapped
    return f"address {address}"
