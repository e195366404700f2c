"""Retry: from the result of a try to what happens next. Pure functions; only `streams.delivery.conclusions` acts on a decision.

The schedule is a list of seconds: the n-th is the time from the n-th failed try to the next. Jitter of a tenth either way
keeps what failed together from coming back together.

A wait that the service itself asks for is kept exactly, a fraction rounded up, and a try that met its rate limit
(`rate_limited`) does then not spend the schedule. A service that asks again and again for a second or two is obeyed a few
times; then the waits double, so that it is no loop. One that asks for nothing, for no time or for a time in the past has said
nothing. Then the schedule counts and is spent, as where the service asks for a wait without a rate limit: the longer counts.

What nobody knows the end of (`unknown`) is tried again like what failed, or given up: as the consumer's definition or type says.

A refused credential (`unauthorized`) is nobody's message's fault: it gives nothing up and spends nothing.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from notifier.outcome import Outcome, Reason
from notifier.plugin import Result
from notifier.policy import Unknown
from streams.delivery.breaker import REFUSED

JITTER = 0.1  # share of a wait
MAX_WAIT_S = 30 * 24 * 3600.0  # a longer Retry-After is a service's mistake
_OBEYED = 3  # waits below any length
_MAX_DOUBLED_S = 64.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """What the attempt is recorded as, and what happens next: another try after `wait_s`, or the end."""

    outcome: Outcome
    reason: Reason
    detail: str | None = None
    wait_s: float | None = None  # seconds until the next try; none: there is none
    told: bool = False  # the service itself said how long
    held: bool = False  # nobody's message's fault: `streams.delivery.holds` says how long to wait
    spared: int = 0  # tries so far that did not spend the schedule, this one included
    dead: Reason | None = None  # reason of the dead letter; none: there is none

    @property
    def falls_back(self) -> bool:
        """Whether a fallback gets it: what may have arrived, and is not tried again for that, nobody else gets either."""
        return self.dead == "exhausted" or (self.dead is not None and self.outcome == "refused")


def decide(
    result: Result,
    *,
    attempt: int,
    spared: int,
    schedule: Sequence[float],
    chance: float,
    unknown: Unknown = "again",
) -> Decision:
    """Decides what follows from the result of try number `attempt` (from 1). `chance` in [0, 1) is the jitter's."""
    if result.outcome in ("accepted", "suppressed"):
        return Decision(outcome=result.outcome, reason=result.reason, detail=result.detail, spared=spared)
    if result.reason == REFUSED:
        reason, detail = result.reason, result.detail
        return Decision(outcome="deferred", reason=reason, detail=detail, wait_s=0.0, held=True, spared=spared + 1)
    if result.outcome == "refused":
        return Decision(outcome="refused", reason=result.reason, detail=result.detail, dead=result.reason)
    if result.outcome == "unknown" and unknown == "give_up":
        return Decision(outcome="unknown", reason=result.reason, detail=result.detail, dead=result.reason)
    spent = attempt - spared - 1  # steps of the schedule that earlier tries spent
    told_s = _told_s(result.retry_after_s, spared)
    if result.reason == "rate_limited" and told_s is not None:
        spared, wait_s = spared + 1, told_s
    elif spent < len(schedule):
        wait_s = max(told_s or 0.0, schedule[max(spent, 0)] * (1 - JITTER + 2 * JITTER * chance))
    else:
        outcome: Outcome = "unknown" if result.outcome == "unknown" else "refused"
        return Decision(outcome=outcome, reason=result.reason, detail=result.detail, dead="exhausted")
    return Decision(
        outcome=result.outcome,
        reason=result.reason,
        detail=result.detail,
        wait_s=wait_s,
        told=wait_s == told_s,
        spared=spared,
    )


def _told_s(retry_after_s: object, spared: int) -> float | None:
    """The whole seconds to wait, as the service asks; None where it asks for no time. A plugin may give anything."""
    if not isinstance(retry_after_s, int | float) or not retry_after_s > 0:  # nor is "not a number"
        return None
    least_s = min(2.0 ** max(0, min(spared, 10) - _OBEYED + 1), _MAX_DOUBLED_S)
    return max(least_s, float(math.ceil(min(retry_after_s, MAX_WAIT_S))))
