"""Limit: how often a service takes sends, as a consumer says it. Keeping to it is `streams.delivery.pace`'s."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Limit:
    """At most `count` sends within any `seconds`."""

    count: int
    seconds: float
    of: str = ""  # whose limit it is: an address of the service; empty: the credential's, whatever the address


def at_most(per_second: float, *, burst: int = 1, of: str = "") -> Limit:
    """So many sends a second in the long run, and at most `burst` of them, or those of a second, at once."""
    count = max(1, burst, int(per_second))
    return Limit(count=count, seconds=count / per_second, of=of)
