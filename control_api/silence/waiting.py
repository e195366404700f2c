"""Waiting: for how long nothing came of a producer. Pure, and without a clock of the wall, which may be set.

What counts is time in which something could have come. After any in which it could not (Notifier was away, or the broker; no
runner worked; the producer was paused) the waiting begins anew: its source may have tried in vain meanwhile.
"""

from dataclasses import dataclass
from datetime import datetime


@dataclass(kw_only=True, slots=True)
class Waiting:
    """What is known of one producer."""

    producer: str
    every_s: float  # within which something is expected
    seen: int  # `message.id` of the newest message
    waited_s: float = 0.0  # since then, or since the waiting began
    silent_since: datetime | None = None
    told: bool = False  # whether people know that it is silent

    def arrived(self, newest: int | None) -> bool:
        """Takes the newest message that is not ours. Whether it is a new one."""
        if newest is None or newest <= self.seen:
            return False
        self.seen, self.waited_s = newest, 0.0
        return True

    def wait(self, elapsed_s: float, *, could_come: bool) -> bool:
        """Takes the time since the last look. Whether something is overdue that was not before."""
        if self.silent_since is not None:
            return False
        self.waited_s = self.waited_s + elapsed_s if could_come else 0.0
        return self.waited_s >= self.every_s
