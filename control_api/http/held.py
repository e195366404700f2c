"""Held: how many bytes the bodies of all requests at work take together, as they came and unpacked."""

from collections.abc import Callable
from threading import Lock

from starlette.types import Scope

from control_api.http.problems import unavailable

MAX_HELD_BYTES = 128 * 1024 * 1024
_KEY = "notifier.hold"  # in the ASGI scope


class Held:
    """The bytes of all requests. Threads that unpack a body count too."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._bytes = 0

    def add(self, size: int) -> None:
        """Counts more, or less. Raises Problem 503 where it is more than all may have."""
        with self._lock:
            self._bytes += size
            if size > 0 and self._bytes > MAX_HELD_BYTES:
                raise unavailable("the requests at work at this moment are too large together: try again", 1)


class Share:
    """The bytes of one request, until `release`."""

    def __init__(self, held: Held) -> None:
        self._held, self._lock = held, Lock()
        self._bytes = 0
        self._ended = False

    def hold(self, size: int) -> None:
        """Counts more. Raises Problem 503 where all requests hold too much, or this one has ended."""
        with self._lock:
            if self._ended:  # a thread does not hear that nobody waits for it any more
                raise unavailable("this request was given up")
            self._bytes += size
            self._held.add(size)

    def release(self) -> None:
        """Ends it: what was counted counts no more."""
        with self._lock:
            self._ended = True
            self._held.add(-self._bytes)

    def put_into(self, scope: Scope) -> None:
        """Lets those who have the request find it by `hold_of`."""
        scope[_KEY] = self.hold


def hold_of(scope: Scope) -> Callable[[int], None]:
    """What counts more bytes of a request; see `Share.hold`."""
    hold: Callable[[int], None] = scope[_KEY]
    return hold
