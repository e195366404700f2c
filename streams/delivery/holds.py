"""Holds: the consumers whose credential was refused, and when each may be tried again.

A refused credential is nobody's message's fault. The consumer is held: what there is for it waits in its lanes, in order, and
one delivery at a time is tried by the retry schedule, whose last step repeats. The hold ends with the first answer that
another reason has, and when the consumer is changed. Who tries is decided by `streams.delivery.partition`.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from notifier.outcome import Reason
from notifier.plugin import Result

REFUSED: Reason = "unauthorized"  # the reason of a refused credential
# Reasons that leave open whether the credential is right.
_SAYS_NOTHING: frozenset[Reason] = frozenset(
    {"connection", "timeout", "server_error", "rate_limited", "no_address", "invalid_content"}
)
_PROBE_S = 0.5  # until a lane asks again whether the probe has ended


@dataclass(slots=True)
class _Hold:
    since: float  # `time.monotonic()`, as the others
    until: float
    step: int = 0  # of the schedule
    probing: bool = False  # a delivery is being tried


class Holds:
    """The holds of a worker's consumers.

    `begun` is called with a consumer, the seconds until its next try and what the service said, `ended` with one that is not
    held any more, and with each at its first answer.
    """

    def __init__(
        self,
        schedule: Sequence[float],
        begun: Callable[[str, float, str], None],
        ended: Callable[[str], None],
    ) -> None:
        self._schedule = schedule or (60.0,)
        self._begun = begun
        self._ended = ended
        self._answered: set[str] = set()  # consumers whose credential was not refused last
        self._holds: dict[str, _Hold] = {}

    def until(self, consumer: str) -> float:
        """Until when nothing is to be sent, a time of `time.monotonic()`; 0 where the consumer is not held."""
        hold = self._holds.get(consumer)
        if hold is None:
            return 0.0
        return time.monotonic() + _PROBE_S if hold.probing else hold.until

    def begin(self, consumer: str) -> bool:
        """Whether a call may begin. Of a held consumer it is the probe; `learn` or `give_back` ends that."""
        hold = self._holds.get(consumer)
        if hold is None:
            return True
        if hold.probing or hold.until > time.monotonic():
            return False
        hold.probing = True
        return True

    def learn(self, consumer: str, began: float, results: Sequence[Result]) -> None:
        """Takes the results of a call that began at `began`, a time of `time.monotonic()`."""
        hold = self._holds.get(consumer)
        reasons = {result.reason for result in results}
        at = time.monotonic()
        if hold is not None and began < hold.since:
            return  # it was under way already when the hold began
        if REFUSED in reasons:
            step = 0 if hold is None else min(hold.step + 1, len(self._schedule) - 1)
            self._holds[consumer] = _Hold(at, at + self._schedule[step], step)
            self._answered.discard(consumer)
            said = next(result.detail for result in results if result.reason == REFUSED)
            self._begun(consumer, self._schedule[step], said or "")
        elif reasons <= _SAYS_NOTHING:
            if hold is not None:
                self._holds[consumer] = _Hold(at, at + self._schedule[hold.step], hold.step)
        elif consumer not in self._answered:
            self._answered.add(consumer)
            self._holds.pop(consumer, None)
            self._ended(consumer)

    def give_back(self, consumer: str) -> None:
        """Ends a probe that was cut off."""
        if consumer in self._holds:
            self._holds[consumer].probing = False

    def forget(self, consumer: str) -> None:
        """Ends the hold of a consumer that was changed."""
        self._answered.discard(consumer)
        if self._holds.pop(consumer, None) is not None:
            self._ended(consumer)
