"""Counting: how many attempts there were by minute, configuration, outcome and reason, from attempts and the router's counters.

Counts are written in the transaction that stores the offsets behind what was counted, so each attempt counts once.
`control_api.history.counters` answers.
"""

from collections import Counter as Sums
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from notifier.attempt import Attempt, Counters

Key = tuple[int, str, str, str]  # minute since 1970, configuration (empty: none), outcome, reason
Counts = Iterable[tuple[Key, int]]

_MOST = 10**12  # that one record may count: the sum of any that a topic holds then fits a column
_MINUTE = timedelta(minutes=1)
_START = datetime.fromisoformat("1970-01-01T00:00:00+00:00")


def minute_of(time: datetime) -> int:
    """The minutes since 1970."""
    return (time - _START) // _MINUTE


def attempt_counts(attempt: Attempt, latest: datetime) -> Counts:
    """What an attempt counts, in the minute of its end; one in the future, which would never be forgotten, counts now."""
    minute = minute_of(min(attempt.ended_at, latest))
    return [((minute, _kept(attempt.configuration), attempt.outcome, attempt.reason), 1)]


def dropped_counts(counters: Counters, latest: datetime) -> Counts:
    """What the router suppressed, as it counted."""
    minute = minute_of(min(counters.at, latest))
    return [
        ((minute, _kept(one.configuration), "suppressed", one.reason), min(one.count, _MOST))
        for one in counters.counters
    ]


def summed(counts: Iterable[Counts]) -> list[dict[str, Any]]:
    """The rows of the table that these counts are added to."""
    sums: Sums[Key] = Sums()
    for some in counts:
        for key, count in some:
            sums[key] += count
    # In one order, so that two processes do not wait for each other in a circle.
    return [
        {"minute": minute, "configuration": configuration, "outcome": outcome, "reason": reason, "count": count}
        for (minute, configuration, outcome, reason), count in sorted(sums.items())
        if count
    ]


def _kept(configuration: str | None) -> str:
    return (configuration or "").replace("\0", "\N{SYMBOL FOR NULL}")
