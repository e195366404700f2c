"""Waits: until when a service asked not to be called, by consumer and address.

Whoever is told to wait, waits with its lane (`streams.delivery.partition`), and so does what follows it: also where the
delivery that was told ends meanwhile. The attempt on `attempts` carries the same time for the next owner of the partition.
"""

import time
from collections import defaultdict


class Waits:
    """What services asked for since this process began, or since their consumers were changed."""

    def __init__(self) -> None:
        self._until: defaultdict[str, dict[str, float]] = defaultdict(dict)  # consumer → address → `time.monotonic()`

    def tell(self, consumer: str, address: str, until: float) -> None:
        """Nothing more to this address before `until`, a time of `time.monotonic()`."""
        waits = self._until[consumer]
        waits[address] = max(until, waits.get(address, 0.0))

    def until(self, consumer: str, address: str) -> float:
        """When the address may be called again, a time of `time.monotonic()`; 0 where nobody asked to wait."""
        waits = self._until.get(consumer)
        if not waits or address not in waits:
            return 0.0
        if waits[address] <= time.monotonic():
            return waits.pop(address)
        return waits[address]

    def forget(self, consumer: str) -> None:
        """Forgets the waits of a consumer, which was changed."""
        self._until.pop(consumer, None)
