"""Schedule: when a configuration is due. Pure: no clock, no database.

`notifier.cron` knows which wall-clock times an expression names; this module maps them to UTC.

The rule when clocks change:

* A schedule that names its hours (the hour field has neither `*` nor a step): times in a gap are due once, at the end of the
  gap; a time that comes twice is due the first time only.
* A schedule whose hour field has `*` or a step follows elapsed time: it is due at each moment whose wall-clock time fits, so in
  both occurrences of a repeated hour, and never at times that do not exist.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from notifier.cron import read_cron
from notifier.cron_words import in_words
from notifier.wall_clock import moment_of

_SECOND = timedelta(seconds=1)
_STEP = timedelta(days=1)  # no zone has changed its offset twice within a day
_FIRST_WINDOW = timedelta(minutes=1)


class Schedule:
    """A cron expression on the clock of a zone. Due times are whole seconds, in UTC. The expression must be a valid one."""

    def __init__(self, cron: str, timezone: str = "UTC") -> None:
        """`cron`: five fields, or six with seconds first, or a nickname; `timezone`: an IANA name."""
        self.cron = cron
        self.timezone = timezone
        self._zone = ZoneInfo(timezone)
        self._cron = read_cron(cron)
        self.names_hours = self._cron.names_hours

    def __repr__(self) -> str:
        return f"Schedule({self.cron!r}, {self.timezone!r})"

    def next_due(self, after: datetime) -> datetime:
        """The first due time that is later than `after`, which has a zone."""
        after = after.astimezone(UTC)
        return self._next_named(after) if self.names_hours else self._next_real(after)

    def between(self, start: datetime, end: datetime) -> Iterator[datetime]:
        """The due times later than `start` and not later than `end`, in order."""
        due = self.next_due(start)
        while due <= end:
            yield due
            due = self.next_due(due)

    def latest(self, start: datetime, end: datetime, count: int) -> list[datetime]:
        """The last `count` of the due times in (start, end], in order. Searches backwards from `end`: quick over a long span."""
        window = _FIRST_WINDOW
        while True:
            begin = max(start, end - window)
            found = list(self.between(begin, end))
            if len(found) >= count or begin == start:
                return found[-count:] if count else []
            window *= 2

    def in_words(self) -> str:
        """`At 09:00, Monday through Friday (Europe/Berlin)`."""
        return f"{in_words(self._cron)} ({self.timezone})"

    def _next_named(self, after: datetime) -> datetime:
        wall = after.astimezone(self._zone)
        # In the second of two equal hours every named time is past. Starting at its end saves asking each of them.
        cursor = self._end_of_repeat(wall) if wall.fold else wall.replace(tzinfo=None, microsecond=0)
        while True:
            cursor = self._cron.next(cursor)
            due = self._moment(cursor)
            if due > after:
                return due

    def _next_real(self, after: datetime) -> datetime:
        cursor = after.replace(microsecond=0)
        while True:
            offset = self._offset(cursor)
            due = (self._cron.next((cursor + offset).replace(tzinfo=None)) - offset).replace(tzinfo=UTC)
            change = self._change(cursor, due)
            if change is None:
                return due
            # The clock changes before `due`. The new wall-clock time begins at `change`, which may be due itself.
            new = self._offset(change)
            due = (self._cron.next((change + new - _SECOND).replace(tzinfo=None)) - new).replace(tzinfo=UTC)
            if self._change(change, due) is None:
                return due
            cursor = change

    def _moment(self, wall: datetime) -> datetime:
        """The moment of a wall-clock time: the first of two, and the end of the gap where there is none."""
        return moment_of(wall, self._zone)

    def _end_of_repeat(self, wall: datetime) -> datetime:
        """The last second of the repeated hour that `wall` lies in."""
        low = wall.replace(tzinfo=None, microsecond=0)
        high = low + _STEP
        while high - low > _SECOND:
            middle = (low + (high - low) / 2).replace(microsecond=0)
            if self._comes_twice(middle):
                low = middle
            else:
                high = middle
        return low

    def _comes_twice(self, wall: datetime) -> bool:
        first = wall.replace(tzinfo=self._zone, fold=0).utcoffset()
        second = wall.replace(tzinfo=self._zone, fold=1).utcoffset()
        assert first is not None
        assert second is not None
        return first > second

    def _change(self, start: datetime, end: datetime) -> datetime | None:
        """The first second after `start` and not after `end` at which the offset is another than before."""
        offset = self._offset(start)
        low = start
        while low < end:
            high = min(low + _STEP, end)
            if self._offset(high) != offset:
                while high - low > _SECOND:
                    middle = (low + (high - low) / 2).replace(microsecond=0)
                    if self._offset(middle) == offset:
                        low = middle
                    else:
                        high = middle
                return high
            low = high
        return None

    def _offset(self, moment: datetime) -> timedelta:
        offset = moment.astimezone(self._zone).utcoffset()
        assert offset is not None
        return offset
