"""Working time: when a person may be told something. Wall-clock windows in the person's own zone."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Literal
from zoneinfo import ZoneInfo

from notifier.wall_clock import moment_of

Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
DAYS: tuple[Day, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")  # as datetime.weekday() counts
_HELD = timedelta(hours=12)  # less than it takes to any window whose edges `holds_until` does not look at


@dataclass(frozen=True, kw_only=True)
class WorkingTime:
    """One window a day: [start, end) on the clock of `timezone`, on `days`.

    A window whose start is later than its end goes over midnight and belongs to the day it starts on; start equal to end
    is the whole day. Where the clock is put back, a window starts and ends at the first of two equal times; a start or end that
    the clock skips is the end of the gap. So a window is one stretch of time.
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
        return any(start <= at < end for start, end in self._windows(at, -1, 1))

    def holds_until(self, at: datetime) -> datetime:
        """A moment up to which `contains` returns the same as at `at`; never later than the window's next start or end."""
        moment = at.astimezone(UTC)
        edges = [edge for window in self._windows(at, -1, 2) for edge in window if edge > moment]
        return min([*edges, moment + _HELD])

    def _windows(self, at: datetime, first: int, last: int) -> Iterator[tuple[datetime, datetime]]:
        """The windows of the days around `at`. The next day's may have begun where the clock was put back over midnight."""
        today = self.local(at).date()
        for days in range(first, last + 1):
            day = today + timedelta(days=days)
            if DAYS[day.weekday()] in self.days:
                yield _window(self, day)

    def __str__(self) -> str:
        """`09:00 to 18:00 on mon, tue, wed, thu, fri, Europe/Moscow`."""
        window = "all day" if self.start == self.end else f"{_clock(self.start)} to {_clock(self.end)}"
        days = (
            "every day" if len(self.days) == len(DAYS) else "on " + ", ".join(day for day in DAYS if day in self.days)
        )
        return f"{window} {days}, {self.timezone}"


@lru_cache(maxsize=10_000)
def _window(working_time: WorkingTime, day: date) -> tuple[datetime, datetime]:
    """The window of a day, whether that is one of its days or not: its first moment and the first one after it."""
    start, end = working_time.start, working_time.end
    next_day = day + timedelta(days=1)
    if start == end:
        walls = datetime.combine(day, time()), datetime.combine(next_day, time())
    else:
        walls = datetime.combine(day, start), datetime.combine(day if start < end else next_day, end)
    zone = ZoneInfo(working_time.timezone)
    return moment_of(walls[0], zone), moment_of(walls[1], zone)


def _clock(time: time) -> str:
    return time.isoformat("minutes" if not time.second and not time.microsecond else "auto")
