"""Cron expressions: what they mean, in due times and in words that agree; and what is refused, by the name of its field."""

import itertools
import re
from calendar import monthrange
from datetime import datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from notifier.cron import check_cron, read_cron
from notifier.cron_words import in_words
from notifier.definition import ConfigurationSpec, read_spec
from notifier.errors import InputError
from notifier.validation import validated

START = datetime(2026, 1, 30, 10)  # noqa: DTZ001 - a clock without a zone
UNITS = {"second": 1, "minute": 60, "hour": 3600}

WORDS = {
    "*/40 * * * *": "At minutes 0 and 40 of every hour",
    "*/7 * * * *": "At minutes 0, 7, 14, 21, 28, 35, 42, 49 and 56 of every hour",
    "0-30/10 * * * *": "At minutes 0, 10, 20 and 30 of every hour",
    "0 * * * *": "At minute 0 of every hour",
    "0 */18 * * *": "At 00:00 and 18:00",
    "0 */5 * * *": "At 00:00, 05:00, 10:00, 15:00 and 20:00",
    "0 */2 * * *": "Every 2 hours",
    "5 */2 * * *": "Every 2 hours, from 00:05",
    "0 9 */7 * *": "At 09:00, on days 1, 8, 15, 22 and 29 of the month",
    "0 9 * * 5-1/2": "At 09:00, only on Sunday and Friday",
    "0 9 * * */2": "At 09:00, only on Tuesday, Thursday, Saturday and Sunday",
    "0 9 * * fri-mon": "At 09:00, Friday through Monday",
    "0 9 * * 1-7": "At 09:00",
    "0 9 1 */5 *": "At 09:00, on day 1 of the month, only in January, June and November",
    "0 0 * * 1#1,3#2": "At 00:00, on the first Monday of the month and the second Wednesday of the month",
    "0 9 * * fri,mon#1": "At 09:00, on Friday and the first Monday of the month",
    "0 9 * * L5": "At 09:00, on the last Friday of the month",
    "0 9 15,L * *": "At 09:00, on day 15 and the last day of the month",
    "0 9 1 * L5": "At 09:00, on day 1 of the month, or on the last Friday of the month",
    "0 9 ? * mon": "At 09:00, only on Monday",
    "*,5 9 * * *": "Every minute, between 09:00 and 09:59",
    "1-59/2 * * * *": "Every 2 minutes, from minute 1",
    "*/10 9-18 * * mon-fri": "Every 10 minutes, between 09:00 and 18:59, Monday through Friday",
    "* 22-2 * * *": "Every minute, between 22:00 and 02:59",
    "*/10 9,11 * * *": "Every 10 minutes, between 09:00 and 09:59 and between 11:00 and 11:59",
    "*/10 */6 * * *": "Every 10 minutes, in the hours 0, 6, 12 and 18",
    "30 * * * * *": "At second 30 of every minute",
    "*/7 * 9 * * *": "At seconds 0, 7, 14, 21, 28, 35, 42, 49 and 56 of every minute, between 09:00 and 09:59",
    "*/20 */5 * * * *": "At seconds 0, 20 and 40 of minutes 0, 5, 10, 15, 20, 25, 30, 35, 40, 45, 50 and 55 of every hour",
    "0 9 * jun-aug *": "At 09:00, June through August",
    " @Daily ": "At 00:00",
}


@pytest.mark.parametrize(("cron", "words"), WORDS.items(), ids=WORDS.keys())
def test_the_words_are_of_the_times_that_an_expression_names(cron: str, words: str) -> None:
    assert in_words(read_cron(cron)) == words


DUE = {
    # Of a month that is too short for one of the days, the others are kept.
    "0 9 1,30 * *": ["2026-02-01 09:00", "2026-03-01 09:00", "2026-03-30 09:00", "2026-04-01 09:00"],
    "0 9 29,L * *": ["2026-01-31 09:00", "2026-02-28 09:00", "2026-03-29 09:00", "2026-03-31 09:00"],
    "0 9 * 2 mon#5": ["2044-02-29 09:00", "2072-02-29 09:00"],
    "0 9 1 * L5": ["2026-01-30 10:00", "2026-02-01 09:00", "2026-02-27 09:00"][1:],
    "0 9 1 * mon#2": ["2026-02-01 09:00", "2026-02-09 09:00", "2026-03-01 09:00"],
    "0 0 30 2 mon": [
        "2026-02-02 00:00",
        "2026-02-09 00:00",
        "2026-02-16 00:00",
        "2026-02-23 00:00",
        "2027-02-01 00:00",
    ],
    "0 9 31 2 mon#1": ["2026-02-02 09:00", "2027-02-01 09:00"],
    "0 0 31 11 1#1,3#2": ["2026-11-02 00:00", "2026-11-11 00:00", "2027-11-01 00:00"],
    "0 0 29-L * *": ["2026-01-31 00:00", "2026-03-29 00:00"],
    "0 22-2/2 * * *": ["2026-01-30 22:00", "2026-01-31 00:00", "2026-01-31 02:00", "2026-01-31 22:00"],
}


@pytest.mark.parametrize(("cron", "due"), DUE.items(), ids=DUE.keys())
def test_a_date_that_comes_is_due(cron: str, due: list[str]) -> None:
    found, at = [], START
    for _ in due:
        at = read_cron(cron).next(at)
        found.append(f"{at:%Y-%m-%d %H:%M}")
    assert found == due


REFUSED = {
    "*/90 * * * *": "minute: a step of 90 goes beyond 0 to 59",
    "*/60 * * * *": "minute: a step of 60 goes beyond 0 to 59",
    "0 */36 * * *": "hour: a step of 36 goes beyond 0 to 23",
    "0 9 */40 * *": "day_of_month: a step of 40 goes beyond 1 to 31",
    "0 9 1 */13 *": "month_of_year: a step of 13 goes beyond 1 to 12",
    "0 9 * * */8": "day_of_week: a step of 8 goes beyond 0 to 6",
    "*/90 * * * * *": "second: a step of 90 goes beyond 0 to 59",
    "50/15 * * * *": "minute: a step of 15 goes beyond 50 to 59",
    "*/0 * * * *": "minute: '0' is not a step",
    "*/5/2 * * * *": "minute: '5/2' is not a step",
    "1,x * * * *": "minute: 'x' is not one of 0 to 59",
    "0 24 * * *": "hour: '24' is not one of 0 to 23",
    "0 0 0 * *": "day_of_month: '0' is not one of 1 to 31",
    "0 0 * foo *": "month_of_year: 'foo' is not one of 1 to 12 or jan to dec",
    "0 0 * * mon#6": "day_of_week: 'mon#6' is not possible: a month has no weekday number 6",
    "0 0 * * 5L": "day_of_week: '5l' is not one of 0 to 6 or sun to sat; the last Friday of a month is L5",
    "0 0 15W * *": "day_of_month: '15w' is not possible: W",
    "H * * * *": "minute: 'h' is not one of 0 to 59",
    "? * * * *": "minute: '?' is not one of 0 to 59",
    "0 0 -1 * *": "day_of_month: '' is not one of 1 to 31",
    "٣ * * * *": "minute: '٣' is not one of 0 to 59",
    "61 25 * * *": "minute: '61' is not one of 0 to 59; hour: '25' is not one of 0 to 23",
    "@every 5m": "'@every 5m' is not a nickname; known are @hourly, @daily",
    "* * * * * * 2027": "five fields, or six with seconds first; this one has 7",
    "0 0 30 2 *": "is a date that never comes",
    "0 0 31 4,6 *": "is a date that never comes",
}


@pytest.mark.parametrize(("cron", "fault"), REFUSED.items(), ids=REFUSED.keys())
def test_what_is_no_expression_is_refused_by_the_name_of_its_field(cron: str, fault: str) -> None:
    with pytest.raises(ValueError, match=re.escape(fault)):
        check_cron(cron)


@pytest.mark.parametrize(
    ("cron", "words"),
    [
        ("*/90 * * * *", "At minute 0 of every hour"),
        ("0 */36 * * *", "At 00:00"),
        ("0 9 */40 * *", "At 09:00, on day 1 of the month"),
        ("0 9 * * 7-1/2", "At 09:00, only on Sunday"),
    ],
)
def test_a_step_beyond_its_range_that_is_stored_goes_on_with_true_words(cron: str, words: str) -> None:
    assert in_words(read_cron(cron)) == words
    definition = {"schedule": {"cron": cron}}
    assert validated(ConfigurationSpec, definition, extra="ignore").schedule is not None
    with pytest.raises(InputError, match="goes beyond"):
        read_spec("configuration", definition)


def _part(low: int, high: int) -> st.SearchStrategy[str]:
    number = st.integers(low, high)
    step = st.integers(1, high - low + 2)
    return st.one_of(
        st.just("*"),
        number.map(str),
        step.map(lambda step: f"*/{step}"),
        st.tuples(number, step).map(lambda one: "{}/{}".format(*one)),
        st.tuples(number, number).map(lambda one: "{}-{}".format(*one)),
        st.tuples(number, number, step).map(lambda one: "{}-{}/{}".format(*one)),
    )


def _field(low: int, high: int, *special: str) -> st.SearchStrategy[str]:
    part = st.one_of(_part(low, high), st.sampled_from(special)) if special else _part(low, high)
    return st.lists(part, min_size=1, max_size=2).map(",".join)


SECONDS = st.one_of(st.just(""), _field(0, 59).map(lambda text: text + " "))
DAYS = st.tuples(
    st.one_of(st.just("*"), _field(1, 31, "L")),
    st.one_of(st.just("*"), _field(1, 12)),
    st.one_of(st.just("*"), _field(0, 7, "mon#1", "3#5", "L5", "fri-sun")),
)


@settings(max_examples=400, deadline=None)
@given(seconds=SECONDS, minute=_field(0, 59), hour=_field(0, 23), days=DAYS)
def test_an_interval_in_words_is_the_distance_of_the_due_times(
    seconds: str, minute: str, hour: str, days: tuple[str, ...]
) -> None:
    try:
        cron = read_cron(f"{seconds}{minute} {hour} {' '.join(days)}")
    except ValueError:
        return
    words = in_words(cron)
    at, due = START, []
    for _ in range(130):
        at = cron.next(at)
        due.append(at)
    gaps = {two - one for one, two in itertools.pairwise(due)}
    if every := re.match(r"Every (?:(\d+) )?(second|minute|hour)s?\b(.*)", words):
        gap = timedelta(seconds=int(every[1] or 1) * UNITS[every[2]])
        assert min(gaps) == gap
        if not re.search("between|in the hour|on |through|only", every[3]):
            assert gaps == {gap}
    if times := re.match(r"At (\d\d:\d\d[\d:, and]*)", words):
        named = re.findall(r"\d\d:\d\d(?::\d\d)?", times[1])
        assert {f"{one:%H:%M:%S}" for one in due} == {one if len(one) > 5 else f"{one}:00" for one in named}


@settings(max_examples=200, deadline=None)
@given(days=DAYS)
def test_only_a_date_that_never_comes_is_said_to_be_one(days: tuple[str, ...]) -> None:
    text = f"0 0 {' '.join(days)}"
    try:
        cron = read_cron(text)
    except ValueError as error:
        if "never comes" in str(error):
            day, month, other = days
            assert read_cron(f"0 0 * * {other}").weekdays == frozenset(range(7))
            months = read_cron(f"0 0 * {month} *").months
            assert all(one > monthrange(2028, two)[1] for one in read_cron(f"0 0 {day} * *").days for two in months)
        return
    found = cron.next(START)
    assert found.month in cron.months
    given = (cron.gives_days, cron.gives_weekdays)
    is_day = found.day in cron.days or (-1 in cron.days and found.day == monthrange(found.year, found.month)[1])
    weekday = found.isoweekday() % 7
    is_weekday = weekday in cron.weekdays or any(one == weekday for one, _ in cron.nth)
    assert (is_day or is_weekday) if all(given) else (is_day and is_weekday)
