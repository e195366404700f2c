"""Cron: a cron expression, read field by field into the values that it names.

People's forms (names, steps, ranges that wrap, `L`, `#`) end here. What is due and what `notifier.cron_words` says follow from
the same values, so that neither can mean something else. croniter 5.0.1, the newest that mode-streaming allows, passes over the
1st of March for `0 9 1,30 * *`, and cron-descriptor says "every 40 minutes" of `*/40`.
"""

import re  # for our own constant patterns; never for a person's
from bisect import bisect_right
from calendar import monthrange
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from functools import cached_property, lru_cache

MAX_CRON_CHARACTERS = 500
NICKNAMES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
LAST = -1  # the last day of the month; of a weekday, its last one in the month
_LEAP_YEAR = 2028
_DAY = timedelta(days=1)
_RANDOM = re.compile(r"(?:^|[\s,])[Rr](?:$|[\s,/(])")
_NTH = re.compile(r"(.+)#([0-9]+)")
_LAST_WEEKDAY = re.compile(r"l([0-9a-z]+)")


@dataclass(frozen=True, kw_only=True)
class Field:
    """A field of a cron expression: its name, its range and the words for its numbers."""

    name: str
    low: int
    high: int
    words: tuple[str, ...] = ()  # of `low` and what follows

    @property
    def all(self) -> frozenset[int]:
        """Every value."""
        return frozenset(range(self.low, self.high + 1))

    @property
    def range(self) -> str:
        """`0 to 59`, `1 to 12 or jan to dec`."""
        names = f" or {self.words[0]} to {self.words[-1]}" if self.words else ""
        return f"{self.low} to {self.high}{names}"

    def number(self, text: str) -> int:
        """The number that a text names. Raises ValueError."""
        if text in self.words:
            return self.words.index(text) + self.low
        # Sunday has two numbers, as in every cron.
        high = self.high + 1 if self is WEEKDAY else self.high
        if not re.fullmatch("[0-9]{1,9}", text) or not self.low <= int(text) <= high:
            raise ValueError(f"{text[:50]!r} is not one of {self.range}")
        return int(text)

    def values(self, text: str) -> frozenset[int]:
        """The values of one part of a list, such as `*/10`, `5` or `fri-mon`. Raises ValueError."""
        first, last, step = self._span(text)
        return frozenset((value - self.low) % self._size + self.low for value in range(first, last + 1, step))

    def fault_of_step(self, text: str) -> str | None:
        """What is wrong with the step of a part, where it is beyond its range. It means something, and not what it says."""
        first, last, step = self._span(text)
        if step == 1 or step <= last - first:
            return None
        return (
            f"a step of {step} goes beyond {first} to {last}, which begin anew each time, so it would not be every {step}; "
            "write the values one by one"
        )

    @property
    def _size(self) -> int:
        return self.high - self.low + 1

    def _span(self, text: str) -> tuple[int, int, int]:
        """The first and last value of a part, and its step. The last may be over the end: 22 to 26 of `22-2`."""
        span, slash, step = text.partition("/")
        if span == "*" or (span == "?" and not slash and self in (DAY, WEEKDAY)):
            first, last = self.low, self.high
        elif "-" in span:
            begin, _, end = span.partition("-")
            first, last = self.number(begin), self.high if self is DAY and end == "l" else self.number(end)
        else:
            first = self.number(span)
            last = self.high if slash else first
        return first, last + self._size if last < first else last, _step(step) if slash else 1


def _step(text: str) -> int:
    if not re.fullmatch("[0-9]{1,9}", text) or int(text) < 1:
        raise ValueError(f"{text[:50]!r} is not a step; write a number from 1, such as */5")
    return int(text)


SECOND = Field(name="second", low=0, high=59)
MINUTE = Field(name="minute", low=0, high=59)
HOUR = Field(name="hour", low=0, high=23)
DAY = Field(name="day_of_month", low=1, high=31)
MONTH = Field(
    name="month_of_year",
    low=1,
    high=12,
    words=("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"),
)
WEEKDAY = Field(name="day_of_week", low=0, high=6, words=("sun", "mon", "tue", "wed", "thu", "fri", "sat"))


@dataclass(frozen=True, kw_only=True)
class Cron:
    """The values that a cron expression names, and when they come on a clock without a zone."""

    seconds: frozenset[int]
    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]  # of the month; LAST too
    months: frozenset[int]
    weekdays: frozenset[int]  # 0 is Sunday
    nth: frozenset[tuple[int, int]]  # a weekday, and which one of the month: 1 to 5 or LAST
    names_hours: bool  # the hour field has neither `*` nor a step

    @property
    def gives_days(self) -> bool:
        """Whether some days of the month are left out. Days and weekdays that are both given mean either."""
        return self.days != DAY.all

    @property
    def gives_weekdays(self) -> bool:
        """Whether some weekdays are left out."""
        return self.weekdays != WEEKDAY.all

    @property
    def comes(self) -> bool:
        """Whether there is such a date. A weekday always comes, also the fifth Monday of a February."""
        return (
            self.gives_weekdays
            or LAST in self.days
            or any(min(self.days) <= monthrange(_LEAP_YEAR, month)[1] for month in self.months)
        )

    def next(self, wall: datetime) -> datetime:
        """The first time that is later than `wall`."""
        found = self._later_that_day(wall.time()) if self._has(wall.date()) else None
        if found is not None:
            return datetime.combine(wall.date(), found)
        day = wall.date() + _DAY
        while not self._has(day):
            day = day + _DAY if day.month in self.months else _next_month(day)
        return datetime.combine(day, time(self._hours[0], self._minutes[0], self._seconds[0]))

    def _has(self, day: date) -> bool:
        if day.month not in self.months:
            return False
        if not self.gives_weekdays:
            return self._has_day(day)
        return self._has_weekday(day) or (self.gives_days and self._has_day(day))

    def _has_day(self, day: date) -> bool:
        return day.day in self.days or (LAST in self.days and _is_last(day))

    def _has_weekday(self, day: date) -> bool:
        weekday = day.isoweekday() % 7
        if weekday in self.weekdays or (weekday, (day.day + 6) // 7) in self.nth:
            return True
        return (weekday, LAST) in self.nth and (day + 7 * _DAY).month != day.month

    def _later_that_day(self, wall: time) -> time | None:
        if wall.hour in self.hours:
            if wall.minute in self.minutes and (second := _above(self._seconds, wall.second)) is not None:
                return time(wall.hour, wall.minute, second)
            if (minute := _above(self._minutes, wall.minute)) is not None:
                return time(wall.hour, minute, self._seconds[0])
        hour = _above(self._hours, wall.hour)
        return None if hour is None else time(hour, self._minutes[0], self._seconds[0])

    @cached_property
    def _hours(self) -> Sequence[int]:
        return sorted(self.hours)

    @cached_property
    def _minutes(self) -> Sequence[int]:
        return sorted(self.minutes)

    @cached_property
    def _seconds(self) -> Sequence[int]:
        return sorted(self.seconds)


def _above(values: Sequence[int], value: int) -> int | None:
    place = bisect_right(values, value)
    return values[place] if place < len(values) else None


def _is_last(day: date) -> bool:
    return (day + _DAY).month != day.month


def _next_month(day: date) -> date:
    return (day.replace(day=28) + 4 * _DAY).replace(day=1)


@lru_cache(maxsize=1000)
def read_cron(text: str) -> Cron:
    """The values of an expression of five fields, of six with seconds first, or of a nickname.

    Raises ValueError that names each field that is wrong. A step beyond its range is what `check_cron` refuses.
    """
    return _cron(_fields(text))


def check_cron(text: str) -> None:
    """What a person writes: as `read_cron`, and each step must lie within its range. Raises ValueError."""
    _fields(text, written=True)
    read_cron(text)


def _fields(text: str, *, written: bool = False) -> list[str]:
    """The fields, of which each can be read."""
    if len(text) > MAX_CRON_CHARACTERS:
        raise ValueError(f"is longer than {MAX_CRON_CHARACTERS} characters; use ranges and steps")
    if text.strip().startswith("@"):
        if text.strip().lower() not in NICKNAMES:
            raise ValueError(
                f"{text!r} is not a nickname; known are @hourly, @daily, @weekly, @monthly and @yearly, "
                "and an interval is written as a step, such as */5 * * * *"
            )
        text = NICKNAMES[text.strip().lower()]
    fields = text.lower().split()
    if len(fields) not in (5, 6):
        raise ValueError(f"a cron expression has five fields, or six with seconds first; this one has {len(fields)}")
    if _RANDOM.search(text):
        # A new time would be drawn at each question, and then no two programs agree when a run is due.
        raise ValueError(f"{text!r} leaves a field to chance (R), which is not possible here; write the time")
    names = (SECOND, MINUTE, HOUR, DAY, MONTH, WEEKDAY)[-len(fields) :]
    faults = [
        f"{field.name}: {fault}"
        for field, part in zip(names, fields, strict=True)
        for fault in faults_of(field, part, written=written)
    ]
    if faults:
        raise ValueError(f"{text!r} is not a cron expression: {'; '.join(faults)}")
    if not _cron(fields).comes:
        raise ValueError(f"{text!r} is a date that never comes")
    return fields


def faults_of(field: Field, text: str, *, written: bool) -> list[str]:
    """What is wrong with the text of one field; `written`: by a person just now, whom a step beyond its range is told."""
    faults = []
    for part in text.lower().split(","):
        try:
            _read_part(field, part)
            fault = field.fault_of_step(part) if written and "/" in part and "#" not in part else None
        except ValueError as error:
            fault = str(error)
        if fault is not None:
            faults.append(fault)
    return faults


def _read_part(field: Field, part: str) -> tuple[frozenset[int], frozenset[tuple[int, int]]]:
    """The values of a part, and those that only one week of the month has. `L` of the days is the value LAST."""
    if field is DAY:
        if part == "l":
            return frozenset({LAST}), frozenset()
        if part.endswith("w"):
            raise ValueError(f"{part[:50]!r} is not possible: W, the nearest working day; write the days of the week")
    if field is WEEKDAY:
        if nth := _NTH.fullmatch(part):
            week = int(nth[2]) if len(nth[2]) == 1 else 0
            if not 1 <= week <= 5:
                raise ValueError(
                    f"{part[:50]!r} is not possible: a month has no weekday number {nth[2][:50]}; write 1 to 5"
                )
            return frozenset(), frozenset((day, week) for day in field.values(nth[1]))
        if last := _LAST_WEEKDAY.fullmatch(part):
            return frozenset(), frozenset({(field.number(last[1]) % 7, LAST)})
        if part.endswith("l"):
            raise ValueError(f"{part[:50]!r} is not one of {field.range}; the last Friday of a month is L5")
    return field.values(part), frozenset()


def _read_field(field: Field, text: str) -> tuple[frozenset[int], frozenset[tuple[int, int]]]:
    parts = [_read_part(field, part) for part in text.split(",")]
    return frozenset().union(*(one for one, _ in parts)), frozenset().union(*(nth for _, nth in parts))


def _cron(fields: list[str]) -> Cron:
    minute, hour, day, month, weekday = fields[-5:]
    days, _ = _read_field(DAY, day)
    weekdays, nth = _read_field(WEEKDAY, weekday)
    return Cron(
        seconds=_read_field(SECOND, fields[0])[0] if len(fields) == 6 else frozenset({0}),
        minutes=_read_field(MINUTE, minute)[0],
        hours=_read_field(HOUR, hour)[0],
        days=DAY.all if days >= DAY.all else days,
        months=_read_field(MONTH, month)[0],
        weekdays=weekdays,
        nth=nth,
        names_hours=not any(sign in hour for sign in "*/?"),
    )
