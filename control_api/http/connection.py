"""Connection: how many may be open, and how long one may stay without a request that is whole enough to be worked on.

A connection costs an open file, and who needs it may be anybody. Without limits a thousand idle ones leave none for others, and
the API is deaf. Where there are too many, idle ones are closed for the new one: of the address that has most of them, the one
that is idle for longest. A connection with a request at work is never closed for another; `control_api.http.guard` limits those.
"""

import asyncio
import resource
from collections import Counter
from collections.abc import Iterable
from functools import cache
from typing import Any

from control_api.http.problems import Problem
from control_api.http.request_head import LimitedHead

IDLE_S = 15.0  # without a request at work, whatever trickles in
MAX_CONNECTIONS = 4096
MAX_OF_ADDRESS = 256  # but for this machine's own, behind which a proxy may stand
_SPARE_FILES = 256  # for the database, Kafka and what is accepted before it is counted here
_MADE_AT_ONCE = (
    16  # places that are made where there is none, so that a flood does not look at all connections for each
)


class LimitedConnection(LimitedHead):
    """A connection of the server, see the top of the file."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._idle_since = self.loop.time()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def host(self) -> str:
        """The address of who connected, without the port."""
        return self.client[0] if self.client else ""

    @property
    def idle_since(self) -> float | None:
        """A time of the loop's clock; None while a request is at work."""
        return self._idle_since if self.cycle is None or self.cycle.response_complete else None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Makes room where there are too many connections. Refuses this one where there is none to make."""
        super().connection_made(transport)
        self._timer = self.loop.call_later(IDLE_S, self._look)
        others: set[Any] = self.connections - {self}
        own = [other for other in others if other.host == self.host] if not _is_local(self.host) else []
        if len(own) >= MAX_OF_ADDRESS:
            self._close_one_of(own)
        elif len(others) >= most_connections():
            self._close_one_of(others)

    def connection_lost(self, exc: Exception | None) -> None:
        """Ends the time limit."""
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        """It is idle from now on, until the next request is at work."""
        self._idle_since = self.loop.time()
        super().on_response_complete()

    def _close_one_of(self, others: Iterable[Any]) -> None:
        idle = [other for other in others if other.idle_since is not None and not other.transport.is_closing()]
        of_address = Counter(other.host for other in idle)
        idle.sort(key=lambda other: (-of_address[other.host], other.idle_since))
        for other in idle[:_MADE_AT_ONCE]:
            other.transport.abort()  # nothing of an answer is under way
        if not idle:
            self.transport.abort()

    def _look(self) -> None:
        """Closes it where it is idle for too long, else looks again when it may be."""
        since = self.idle_since
        left_s = IDLE_S if since is None else since + IDLE_S - self.loop.time()
        if left_s > 0:
            self._timer = self.loop.call_later(left_s, self._look)
        elif self.has_begun:
            self.refuse(Problem(408, f"the address and the headers were not all here within {IDLE_S:g} s"))
        else:
            self.transport.close()


@cache
def most_connections() -> int:
    """How many connections the limit on open files leaves room for."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(32, min(MAX_CONNECTIONS, files - _SPARE_FILES))


def allow_many_files() -> None:
    """Raises this process's limit on open files to what it may be, which most systems set far below."""
    files, at_most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_CONNECTIONS + _SPARE_FILES
    if files != resource.RLIM_INFINITY and files < wanted:
        new = wanted if at_most == resource.RLIM_INFINITY else min(wanted, at_most)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(files, new), at_most))


def _is_local(host: str) -> bool:
    return host.startswith(("127.", "::ffff:127.")) or host in ("", "::1")
