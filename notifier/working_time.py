"""Working time: when a person may be told something. Wall-clock windows in the person's own zone."""

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
DAYS: tuple[Day, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")  # as datetime.weekday() counts


@dataclass(frozen=True, kw_only=True)
class WorkingTime:
    """One window a day: [start, end) on the clock of `timezone`, on `days`.

    A window whose start is later than its end goes over midnight and belongs to the day it starts on; start equal to end
    is the whole day.
    """

    start: time
    end: time
    days: frozenset[Day] = frozenset(DAYS)
    timezone: str = "UTC"  # IANA name

    def local(self, at: datetime) -> datetime:
        """The moment `at` on the clock of `timezone`. Raises ValueError when `at` has no zone."""
        if at.utcoffset() is None:  # Python would read it in this machine's zone
            raise ValueError(f"a time needs a zone: {at.isoformat()}")
        return at.astimezone(ZoneInfo(self.timezone))

    def contains(self, at: datetime) -> bool:
        """Whether the moment `at` (with a zone) lies in a window."""
        local = self.local(at)
        clock, today = local.time(), DAYS[local.weekday()]
        if self.start == self.end:
            return today in self.days
        if self.start < self.end:
            return today in self.days and self.start <= clock < self.end
        yesterday = DAYS[local.weekday() - 1]
        return (today in self.days and clock >= self.start) or (yesterday in self.days and clock < self.end)

    def holds_until(self, at: datetime) -> datetime:
        """A moment up to which `contains` returns the same as at `at`; never later than the window's next start or end.

        At most the next quarter of an hour: clocks are put forward and back only then, and may skip or repeat the window's
        start or end.
        """
        local = self.local(at).replace(tzinfo=None)
        moment = at.astimezone(UTC)
        ahead = timedelta(minutes=15) - timedelta(
            minutes=moment.minute % 15, seconds=moment.second, microseconds=moment.microsecond
        )
        for edge in (self.start, self.end):
            until = datetime.combine(local, edge) - local
            if timedelta() < until < ahead:
                ahead = until
        midnight = datetime.combine(local.date() + timedelta(days=1), time()) - local
        return moment + min(ahead, midnight)

    def __str__(self) -> str:
        """`09:00 to 18:00 on mon, tue, wed, thu, fri, Europe/Moscow`."""
        window = "all day" if self.start == self.end else f"{_clock(self.start)} to {_clock(self.end)}"
        days = (
            "every day" if len(self.days) == len(DAYS) else "on " + ", ".join(day for day in DAYS if day in self.days)
        )
        return f"{window} {days}, {self.timezone}"


def _clock(time: time) -> str:
    return time.isoformat("minutes" if not time.second and not time.microsecond else "auto")
