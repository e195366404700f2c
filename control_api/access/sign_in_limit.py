"""SignInLimit: the rate limit of sign-in attempts. Each process counts for itself.

No library: the usual one starts a thread for each expiring counter and brings three packages, for a deque of times.
"""

import time
from collections import deque
from collections.abc import Callable
from ipaddress import IPv6Address, ip_address
from math import ceil

TRIES = 5  # for each name and for each address
WINDOW_S = 60.0
_SWEEP_AT = 10_000  # keys; beyond it, those without a recent try are dropped


class SignInLimit:
    """Sliding-window limit on sign-in attempts by key, successful ones included."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._recent: dict[str, deque[float]] = {}

    def take(self, *keys: str) -> int:
        """Counts a try under every key and returns 0; over the limit, counts nothing and returns the seconds to wait."""
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
    """The key of an address. An IPv6 network of 64 bits is one key, since one caller has all of it."""
    try:
        address = ip_address((host or "").split("%")[0])
    except ValueError:
        return "address unknown"
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is None:
            return f"address {int(address) >> 64:x}"
        address = address.ipv4_mapped
    return f"address {address}"
