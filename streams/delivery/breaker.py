"""Breaker: when the tries of a consumer say that its service is down, and not that a message or a chat is at fault.

Either is enough:

* busy: of the last hundred tries, none older than a minute, at least ten deliveries were made, and the last try of at least half
  of them failed, and of at least half of the addresses (of two at least, where each delivery has an address of its own);
* slow: nothing but failures for half a minute or longer, five of them, of two deliveries and two addresses at least. Three are
  enough where no connection came about, which is no message's fault.

What failed is `connection`, `timeout` and `server_error`. Any other answer about a message, a permanent refusal too, says that
the service is up. So does a script that failed: it decides over each message by itself.

Pure: times are passed in, as those of `time.monotonic()`. What follows is done by `streams.delivery.holds`.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from notifier.outcome import Reason
from notifier.plugin import Result

REFUSED: Reason = "unauthorized"  # the reason of a refused credential
WINDOW_S = 60.0
TRIES = 100  # of the window that are looked at
BUSY_DELIVERIES = 10
SLOW_S = 30.0
SLOW_FAILURES = 5
UNCONNECTED_FAILURES = 3

_DOWN: frozenset[Reason] = frozenset({"connection", "timeout", "server_error"})
_LOCAL: frozenset[Reason] = frozenset({"no_address", "invalid_content"})  # perhaps found without asking the service

# What a result says of a service. `limited`: it is up, and nothing is said of the credential.
Sign = Literal["up", "limited", "down", "refused", "nothing"]


@dataclass(frozen=True, slots=True)
class Tried:
    """A delivery that was tried. `address` is None where the consumer's parameters say it."""

    delivery: str  # id
    address: str | None = None


@dataclass(frozen=True, slots=True)
class _Try:
    at: float
    tried: Tried
    failed: bool


@dataclass(slots=True)
class _Row:
    """Failures with no answer between them."""

    since: float
    failures: int = 0
    unconnected: bool = True  # no connection came about at any
    deliveries: set[str] = field(default_factory=set)  # two at most
    addresses: set[str | None] = field(default_factory=set)  # two at most


def sign_of(result: Result) -> Sign:
    """What a result says of the service."""
    if result.outcome in ("accepted", "suppressed"):
        return "up"
    if result.reason == REFUSED:
        return "refused"
    if result.reason in _LOCAL:
        return "nothing"
    if result.reason == "rate_limited":
        return "limited"
    if result.reason in _DOWN:
        return "nothing" if result.outcome == "refused" else "down"
    return "up"


def never_reached(result: Result) -> bool:
    """Whether no connection came about, so that the message cannot be what is wrong."""
    return result.reason == "connection" and result.outcome != "unknown"


class Breaker:
    """The tries of one consumer since it was made."""

    def __init__(self) -> None:
        self._tries: deque[_Try] = deque(maxlen=TRIES)
        self._row: _Row | None = None

    def is_down(self, at: float, tried: Tried, result: Result) -> bool:
        """Takes the result of a try that ended at `at`. Whether the service is to be taken for down, now that it failed too."""
        sign = sign_of(result)
        if sign not in ("up", "limited", "down"):
            return False
        self._tries.append(_Try(at, tried, sign == "down"))
        if sign != "down":
            self._row = None
            return False
        row = self._row = self._row or _Row(at)
        row.failures += 1
        row.unconnected = row.unconnected and never_reached(result)
        if len(row.deliveries) < 2:
            row.deliveries.add(tried.delivery)
        if len(row.addresses) < 2:
            row.addresses.add(tried.address)
        return self._is_slow(at, row) or self._is_busy(at)

    def _is_slow(self, at: float, row: _Row) -> bool:
        if at - row.since < SLOW_S:
            return False
        if row.unconnected and row.failures >= UNCONNECTED_FAILURES:
            return True
        return row.failures >= SLOW_FAILURES and len(row.deliveries) > 1 and _are_enough(row.addresses)

    def _is_busy(self, at: float) -> bool:
        recent = [one for one in self._tries if at - one.at <= WINDOW_S]
        deliveries = {one.tried.delivery: one.failed for one in recent}  # the last try counts
        if len(deliveries) < BUSY_DELIVERIES or sum(deliveries.values()) * 2 < len(deliveries):
            return False
        addresses = {one.tried.address: one.failed for one in recent}
        failed = {address for address, is_failed in addresses.items() if is_failed}
        return len(failed) * 2 >= len(addresses) and _are_enough(failed)


def _are_enough(addresses: Iterable[str | None]) -> bool:
    """Whether failures at these addresses are not one chat's alone."""
    found = set(addresses)
    return None in found or len(found) > 1
