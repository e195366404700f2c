"""Retry: from the result of a try to what happens next. Pure functions; only `streams.delivery.partition` acts on a decision.

The schedule is a list of seconds: the n-th is the time from the n-th failed try to the next. Jitter of a tenth either way
keeps what failed together from coming back together. A wait that the service itself asks for is kept exactly, and a try that
met its rate limit (`rate_limited`) does not spend the schedule.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from notifier.errors import DeliveryError, Retryable
from notifier.outcome import Outcome, Reason
from notifier.plugin import Result

JITTER = 0.1  # share of a wait
MAX_WAIT_S = 30 * 24 * 3600.0  # a longer Retry-After is a service's mistake


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """What the attempt is recorded as, and what happens next: another try after `wait_s`, or the end."""

    outcome: Outcome
    reason: Reason
    detail: str | None = None
    wait_s: float | None = None  # seconds until the next try; none: there is none
    told: bool = False  # the service itself said how long
    spared: int = 0  # tries so far that did not spend the schedule, this one included
    dead: Reason | None = None  # reason of the dead letter; none: there is none


def decide(result: Result, *, attempt: int, spared: int, schedule: Sequence[float], chance: float) -> Decision:
    """Decides what follows from the result of try number `attempt` (from 1). `chance` in [0, 1) is the jitter's."""
    if result.outcome in ("accepted", "suppressed"):
        return Decision(outcome=result.outcome, reason=result.reason, detail=result.detail, spared=spared)
    if result.outcome == "refused":
        return Decision(outcome="refused", reason=result.reason, detail=result.detail, dead=result.reason)
    spent = attempt - spared - 1  # steps of the schedule that earlier tries spent
    if result.reason == "rate_limited":
        spared += 1
    elif spent >= len(schedule):
        outcome: Outcome = "unknown" if result.outcome == "unknown" else "refused"
        return Decision(outcome=outcome, reason=result.reason, detail=result.detail, dead="exhausted")
    told = result.retry_after_s is not None and math.isfinite(result.retry_after_s)
    if result.retry_after_s is not None and told:
        wait_s = min(max(result.retry_after_s, 0.0), MAX_WAIT_S)
    else:
        wait_s = schedule[min(max(spent, 0), len(schedule) - 1)] * (1 - JITTER + 2 * JITTER * chance)
    return Decision(
        outcome=result.outcome, reason=result.reason, detail=result.detail, wait_s=wait_s, told=told, spared=spared
    )


def result_of(error: Exception) -> Result:
    """The Result that an exception of a consumer stands for; anything but Retryable and Permanent is retryable."""
    if isinstance(error, Retryable):
        return Result(
            outcome="unknown" if error.reason == "timeout" else "deferred",
            reason=error.reason,
            detail=str(error),
            retry_after_s=error.retry_after_s,
        )
    if isinstance(error, DeliveryError):
        return Result(outcome="refused", reason=error.reason, detail=str(error))
    return Result(outcome="deferred", reason="server_error", detail=f"{type(error).__name__}: {error}")
