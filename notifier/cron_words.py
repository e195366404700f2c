"""Cron in words: what a cron expression means, for people.

The words are made of the values, not of the text: "every 5 minutes" is said only where each distance within the hours that are
named is 5 minutes.
"""

from collections.abc import Callable, Collection, Sequence
from itertools import product

from notifier.cron import DAY, HOUR, LAST, MINUTE, MONTH, SECOND, WEEKDAY, Cron, Field

_TIMES = 6  # so many times of a day are named one by one
_WINDOWS = 3  # and so many stretches of hours
_MONTHS = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)
_WEEKDAYS = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
_NTH = {1: "first", 2: "second", 3: "third", 4: "fourth", 5: "fifth", LAST: "last"}


def in_words(cron: Cron) -> str:
    """`At 09:00, Monday through Friday`."""
    return "".join([_clock(cron), _days(cron), _months(cron)])


def _clock(cron: Cron) -> str:
    if len(cron.hours) * len(cron.minutes) * len(cron.seconds) <= _TIMES:
        times = product(sorted(cron.hours), sorted(cron.minutes), sorted(cron.seconds))
        with_seconds = cron.seconds != {0}
        return "At " + _list(
            [f"{hour:02}:{minute:02}" + (f":{second:02}" if with_seconds else "") for hour, minute, second in times]
        )
    if cron.minutes == MINUTE.all and cron.seconds != {0}:
        return (_every(SECOND, cron.seconds) or f"At {_numbers(SECOND, cron.seconds)} of every minute") + _hours(cron)
    if cron.seconds != {0}:
        return f"At {_numbers(SECOND, cron.seconds)} of {_numbers(MINUTE, cron.minutes)} of every hour{_hours(cron)}"
    if len(cron.minutes) == 1 and cron.hours != HOUR.all and (every := _every(HOUR, cron.hours, min(cron.minutes))):
        return every
    return (_every(MINUTE, cron.minutes) or f"At {_numbers(MINUTE, cron.minutes)} of every hour") + _hours(cron)


def _every(field: Field, values: Collection[int], minute: int = 0) -> str | None:
    """`Every 5 minutes`, where the values have one distance that divides the range; None where they have not."""
    size = field.high + 1
    first = min(values)
    step = size // len(values)
    if len(values) == 1 or size % len(values) or set(values) != set(range(first, size, step)):
        return None
    every = f"Every {field.name}" if step == 1 else f"Every {step} {field.name}s"
    if field is HOUR:
        return every if first == 0 and minute == 0 else f"{every}, from {first:02}:{minute:02}"
    return f"{every}, from {field.name} {first}" if first else every


def _hours(cron: Cron) -> str:
    """The stretches of hours in which it comes: `, between 09:00 and 18:59`."""
    if cron.hours == HOUR.all:
        return ""
    runs = _runs(HOUR, cron.hours)
    if len(runs) <= _WINDOWS:
        return ", " + _list([f"between {first:02}:00 and {last:02}:59" for first, last in runs])
    return f", in the {_numbers(HOUR, cron.hours)}"


def _days(cron: Cron) -> str:
    if not cron.gives_days and not cron.gives_weekdays:
        return ""
    days = [_days_of_month(cron)] if cron.gives_days else []
    if cron.gives_weekdays:
        days.append(_weekdays(cron, alone=not days))
    return ", " + ", or ".join(days)


def _days_of_month(cron: Cron) -> str:
    numbers = cron.days - {LAST}
    parts = [_numbers(DAY, numbers, "day")] if numbers else []
    if LAST in cron.days:
        parts.append("the last day")
    return f"on {_list(parts)} of the month"


def _weekdays(cron: Cron, *, alone: bool) -> str:
    nth = [
        f"the {_NTH[week]} {_WEEKDAYS[day]} of the month"
        for week, day in sorted((week, day) for day, week in cron.nth if day not in cron.weekdays)
    ]
    if not cron.weekdays:
        return f"on {_list(nth)}"
    plain = _spans(WEEKDAY, cron.weekdays, lambda day: _WEEKDAYS[day])
    if nth:
        return f"on {_list([*plain, *nth])}"
    if not alone:
        return f"on {_list(plain)}"
    return plain[0] if len(plain) == 1 and " through " in plain[0] else f"only on {_list(plain)}"


def _months(cron: Cron) -> str:
    if cron.months == MONTH.all:
        return ""
    spans = _spans(MONTH, cron.months, lambda month: _MONTHS[month - 1])
    return f", {spans[0]}" if len(spans) == 1 and " through " in spans[0] else f", only in {_list(spans)}"


def _numbers(field: Field, values: Collection[int], name: str | None = None) -> str:
    """`minute 5`, `minutes 0 through 10 and 40`."""
    noun = name or field.name
    return f"{noun}{'s' if len(values) > 1 else ''} {_list(_spans(field, values, str))}"


def _spans(field: Field, values: Collection[int], word: Callable[[int], str]) -> list[str]:
    """The values in words, three or more neighbours as `a through b`."""
    spans = []
    for first, last in _runs(field, values):
        length = (last - first) % (field.high - field.low + 1) + 1
        if length > 2:
            spans.append(f"{word(first)} through {word(last)}")
        else:
            spans.extend(word(one) for one in dict.fromkeys((first, last)))
    return spans


def _runs(field: Field, values: Collection[int]) -> list[tuple[int, int]]:
    """The first and last of neighbours, also of those over the end of an hour's or a week's range."""
    size = field.high - field.low + 1
    if len(values) == size:
        return [(field.low, field.high)]
    around = field in (HOUR, WEEKDAY)
    runs: list[tuple[int, int]] = []
    for value in sorted(values):
        if runs and runs[-1][1] == value - 1:
            runs[-1] = (runs[-1][0], value)
        else:
            runs.append((value, value))
    if around and len(runs) > 1 and runs[0][0] == field.low and runs[-1][1] == field.high:
        runs = [*runs[1:-1], (runs[-1][0], runs[0][1])]
    return runs


def _list(words: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))
