"""Holds: the consumers that are paused in this worker, and when each may be tried again.

A refused credential and a service that is down (`streams.delivery.breaker`) are nobody's message's fault. The consumer is held:
what there is for it waits in its lanes, in order, and one delivery at a time is tried, the probe. It is tried by the retry
schedule where the credential was refused, else after 5 seconds and then ever longer up to a minute. The hold ends with the
first answer that has another reason, when the consumer is changed, and when another worker or a person ends it. A consumer
that a person paused is held too, without probes.

Pure, without I/O. Who tries is decided by `streams.delivery.partition`; other workers hear of it by `streams.delivery.pauses`.
"""

import math
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from notifier.outcome import Reason
from notifier.plugin import Result
from streams.delivery.breaker import REFUSED, Breaker, Sign, Tried, never_reached, sign_of
from streams.delivery.retry import Decision

DOWN_SCHEDULE_S = (5.0, 10.0, 20.0, 40.0, 60.0)  # between the probes of a service that is down
PATIENCE = (
    10  # probes of one delivery that a service that is down fails; later ones spend its retries, as it may be odd
)
_PROBE_S = 0.5  # until a lane asks again whether the probe has ended
_ASLEEP_S = 60.0  # until a lane looks again whether somebody has ended a pause; it is woken then


@dataclass(frozen=True, kw_only=True, slots=True)
class Held:
    """What is told of a consumer that is held, or held on."""

    reason: Reason
    said: str  # by the service
    wait_s: float  # until the next try
    step: int  # of the schedule


@dataclass(slots=True)
class _Hold:
    reason: Reason
    since: float  # `time.monotonic()`, as the others
    until: float
    step: int = 0  # of the schedule
    probing: bool = False  # a delivery is being tried
    failed: Counter[str] = field(default_factory=Counter)  # tries by delivery that were not its own fault, perhaps


class Holds:
    """The holds of a worker's consumers.

    `begun` is called with a consumer that is held, or held on, and `ended` with one that this worker finds mended.
    """

    def __init__(
        self, schedule: Sequence[float], begun: Callable[[str, Held], None], ended: Callable[[str], None]
    ) -> None:
        self._schedule = schedule or (60.0,)
        self._begun = begun
        self._ended = ended
        self._breakers: defaultdict[str, Breaker] = defaultdict(Breaker)
        self._holds: dict[str, _Hold] = {}
        self._rested: dict[str, float] = {}  # consumer → when it was last heard to go on
        self.by_hand: set[str] = set()  # consumers that a person has paused
        self.disabled: set[str] = set()  # consumers that were paused for too long

    def until(self, consumer: str) -> float:
        """Until when nothing is to be sent, a time of `time.monotonic()`; 0 where the consumer is not held."""
        if consumer in self.by_hand:
            return time.monotonic() + _ASLEEP_S
        hold = self._holds.get(consumer)
        if hold is None:
            return 0.0
        return time.monotonic() + _PROBE_S if hold.probing else hold.until

    def reason(self, consumer: str) -> Reason:
        """Why a consumer is held."""
        hold = self._holds.get(consumer)
        return "paused" if hold is None or consumer in self.by_hand else hold.reason

    def went_on_s(self, consumer: str) -> float:
        """For how many seconds a consumer is not held; 0 for one that is, infinite for one that never was."""
        if self.until(consumer):
            return 0.0
        return time.monotonic() - self._rested.get(consumer, -math.inf)

    def begin(self, consumer: str) -> bool:
        """Whether a call may begin. Of a held consumer it is the probe; `learn` or `give_back` ends that."""
        if consumer in self.by_hand:
            return False
        hold = self._holds.get(consumer)
        if hold is None:
            return True
        if hold.probing or hold.until > time.monotonic():
            return False
        hold.probing = True
        return True

    def most(self, consumer: str, batch: int) -> int:
        """How many deliveries a call may have: a probe has one."""
        return 1 if consumer in self._holds else batch

    def learn(self, consumer: str, began: float, tried: Sequence[Tried], results: Sequence[Result]) -> None:
        """Takes the results of a call that began at `began`, a time of `time.monotonic()`."""
        hold = self._holds.get(consumer)
        if hold is not None and began < hold.since:
            return  # it was under way already when the hold began
        refused = next((result for result in results if result.reason == REFUSED), None)
        if refused is not None:
            again = hold is not None and hold.reason == REFUSED
            self._hold(consumer, refused, hold.step + 1 if hold is not None and again else 0)
        elif hold is not None:
            self._judge(consumer, hold, results)
        else:
            breaker, at = self._breakers[consumer], time.monotonic()
            down = [result for one, result in zip(tried, results, strict=False) if breaker.is_down(at, one, result)]
            if down:
                self._hold(consumer, down[-1], 0)

    def _judge(self, consumer: str, hold: _Hold, results: Sequence[Result]) -> None:
        """Takes the results of a probe, none of which is a refused credential."""
        signs: set[Sign] = {sign_of(result) for result in results}
        if "up" in signs or ("limited" in signs and hold.reason != REFUSED):
            self.end(consumer)
            self._ended(consumer)
        elif "down" in signs and hold.reason != REFUSED:
            self._hold(consumer, next(result for result in results if sign_of(result) == "down"), hold.step + 1)
        else:
            at = time.monotonic()
            wait_s = self._waits(hold.reason)[hold.step]
            self._holds[consumer] = replace(hold, since=at, until=at + wait_s, probing=False)

    def _hold(self, consumer: str, result: Result, step: int) -> None:
        at, waits = time.monotonic(), self._waits(result.reason)
        step = min(step, len(waits) - 1)
        before = self._holds.get(consumer)
        failed: Counter[str] = Counter() if before is None else before.failed
        self._holds[consumer] = _Hold(result.reason, at, at + waits[step], step, failed=failed)
        self._begun(consumer, Held(reason=result.reason, said=result.detail or "", wait_s=waits[step], step=step))

    def _waits(self, reason: Reason) -> Sequence[float]:
        return self._schedule if reason == REFUSED else DOWN_SCHEDULE_S

    def spared(self, consumer: str, delivery: str, spared: int, result: Result, decision: Decision) -> Decision:
        """What follows from a try: of a held consumer, a failure that is the service's fault spends no retry.

        `spared` is of the delivery before the try. One that fails at every probe may be odd, and spends its retries later on.
        """
        hold = self._holds.get(consumer)
        if hold is None or sign_of(result) != "down" or decision.dead not in (None, "exhausted"):
            return decision
        hold.failed[delivery] += 1
        if not never_reached(result) and hold.failed[delivery] > PATIENCE:
            return decision
        wait_s = decision.wait_s if decision.told else 0.0
        return replace(decision, outcome=result.outcome, wait_s=wait_s, held=True, dead=None, spared=spared + 1)

    def give_back(self, consumer: str) -> None:
        """Ends a probe that was cut off."""
        if consumer in self._holds:
            self._holds[consumer].probing = False

    def forget(self, consumer: str) -> None:
        """Ends the hold of a consumer that was changed. One that a person paused stays paused."""
        self._breakers.pop(consumer, None)
        if consumer not in self.by_hand and self.end(consumer):
            self._ended(consumer)

    # --- what others say ---

    def adopt(self, consumer: str, reason: Reason, step: int, wait_s: float) -> None:
        """Another worker holds a consumer, for `wait_s` seconds more; or this one did before it was started anew."""
        waits, hold = self._waits(reason), self._holds.get(consumer)
        step = max(0, min(step, len(waits) - 1))
        until = time.monotonic() + max(0.0, min(wait_s, waits[step]))
        if hold is None:
            self._holds[consumer] = _Hold(reason, time.monotonic(), until, step)
        elif not hold.probing:
            hold.reason, hold.until, hold.step = reason, max(hold.until, until), step

    def end(self, consumer: str) -> bool:
        """Ends a hold, and that a consumer is disabled. Whether there was one."""
        self._breakers.pop(consumer, None)
        was = consumer in self._holds or consumer in self.disabled
        self._holds.pop(consumer, None)
        self.disabled.discard(consumer)
        if was:
            self._rested[consumer] = time.monotonic()
        return was

    def take_by_hand(self, consumer: str, *, paused: bool) -> bool:
        """A person has paused a consumer, or has not. Whether it goes on by that."""
        if paused:
            self.by_hand.add(consumer)
        elif consumer in self.by_hand:
            self.by_hand.discard(consumer)
            self._rested[consumer] = time.monotonic()
            return True
        return False
