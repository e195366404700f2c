"""Shelf: the parked deliveries of one partition of `parked`, in the order in which they are due.

`streams.delivery.parking` fills and empties it; nothing here waits or does I/O.
"""

import heapq
import math
from collections.abc import Iterable

import msgspec

from notifier.cancelling import Request


class Waiting(msgspec.Struct):
    """One parked delivery."""

    offset: int
    timestamp: int  # when it was parked, in milliseconds since 1970
    due: float  # seconds since 1970
    consumer: str | None  # none: the record holds no delivery
    configuration: str
    recipient: str | None  # username
    retry: bool  # it waits for its next try, which a change may bring forward
    size: int  # bytes of its record
    value: bytes | None  # none: only the topic holds it
    expires: float = math.inf  # seconds since 1970
    cancel: Request | None = None  # that it be given up
    look: float = math.inf  # when it comes up next, in seconds since 1970; the shelf's own


class Shelf:
    """What waits in one partition, by delivery id."""

    def __init__(self) -> None:
        self.waiting: dict[str, Waiting] = {}
        self.end: int | None = None  # the partition's end offset when it was assigned; none: not asked for yet
        self.read = False  # everything below `end` is read; before that nothing is released
        self.kept = 0  # bytes held in memory
        self._order: list[tuple[float, int, str]] = []  # heap of look, offset, id; holds stale entries too

    def put(self, key: str, waiting: Waiting) -> None:
        """Adds a parked delivery in place of an older one with that id."""
        self.drop(key)
        self.waiting[key] = waiting
        if waiting.value is not None:
            self.kept += waiting.size
        waiting.look = waiting.due
        heapq.heappush(self._order, (waiting.look, waiting.offset, key))
        self.look_again([key], waiting.expires)

    def drop(self, key: str) -> None:
        """Removes an id, if it is here."""
        gone = self.waiting.pop(key, None)
        if gone is not None and gone.value is not None:
            self.kept -= gone.size

    def cancel(self, request: Request, at: float) -> None:
        """Has a delivery come up at `at` to be given up, if the record that the request means is what waits."""
        waiting = self.waiting.get(request.delivery)
        if waiting is not None and waiting.offset == request.cancels:
            waiting.cancel = request
            self.look_again([request.delivery], at)

    def next_due(self) -> float | None:
        """When the next delivery is due at the earliest, in seconds since 1970; None where none is."""
        return self._order[0][0] if self._order else None

    def take_due(self, at: float, limit: int) -> list[str]:
        """At most `limit` ids that come up at `at`. They stay on the shelf, and come up again when they are due, if that is
        yet to be, or after `look_again`."""
        found: list[str] = []
        while self._order and self._order[0][0] <= at and len(found) < limit:
            look, offset, key = heapq.heappop(self._order)
            waiting = self.waiting.get(key)
            if waiting is not None and (waiting.offset, waiting.look) == (offset, look):
                # The entries that `put` made are there still: when it is due, and when it expires before that.
                entries = (waiting.due, min(waiting.due, waiting.expires))
                waiting.look = min((moment for moment in entries if moment > at), default=math.inf)
                found.append(key)
        return found

    def retries(self) -> list[tuple[str, Waiting]]:
        """What waits for its next try, with the ids."""
        return [(key, waiting) for key, waiting in self.waiting.items() if waiting.retry]

    def look_again(self, keys: Iterable[str], at: float) -> None:
        """Lets ids come up at `at`, unless they do earlier."""
        for key in keys:
            waiting = self.waiting.get(key)
            if waiting is not None and at < waiting.look:
                waiting.look = at
                heapq.heappush(self._order, (at, waiting.offset, key))
