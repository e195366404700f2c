"""Schedules: due times over clock changes, in four zones; against a naive model; and what people may write."""

import itertools
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from notifier.definition import ScheduleSpec, read_spec
from notifier.errors import InputError
from notifier.schedule import Schedule

MINUTE = timedelta(minutes=1)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def due_times(cron: str, zone: str, start: str, end: str) -> list[str]:
    """The due times in (start, end] as `MM-DD HH:MM` in UTC."""
    return [f"{due:%m-%d %H:%M}" for due in Schedule(cron, zone).between(utc(start), utc(end))]


# Zone, cron, from, to (in UTC), due times in UTC. Berlin: the clock goes from 02:00 to 03:00 on 2027-03-28 (01:00 UTC) and
# from 03:00 to 02:00 on 2027-10-31 (01:00 UTC). New York: 2027-03-14 (07:00 UTC) and 2027-11-07 (06:00 UTC). Lord Howe, by
# half an hour: from 02:00 to 02:30 on 2026-10-04 (15:30 UTC the day before), from 02:00 to 01:30 on 2027-04-04 (15:00 UTC the
# day before). Casablanca, around Ramadan: from 03:00 back to 02:00 on 2027-02-07 (02:00 UTC), from 02:00 to 03:00 on
# 2027-03-14 (02:00 UTC).
CHANGES: dict[str, tuple[str, str, str, str, list[str]]] = {
    "berlin, a fixed hour after the gap, once": (
        "Europe/Berlin",
        "0 9 * * *",
        "2027-03-27T12:00",
        "2027-03-29T12:00",
        ["03-28 07:00", "03-29 07:00"],
    ),
    "berlin, a fixed time in the gap, at its end": (
        "Europe/Berlin",
        "30 2 * * *",
        "2027-03-27T00:00",
        "2027-03-29T12:00",
        ["03-27 01:30", "03-28 01:00", "03-29 00:30"],
    ),
    "berlin, several fixed times in the gap and at its end, once": (
        "Europe/Berlin",
        "*/20 2,3 * * *",
        "2027-03-28T00:00",
        "2027-03-28T02:00",
        ["03-28 01:00", "03-28 01:20", "03-28 01:40"],
    ),
    "berlin, a fixed time that comes twice, the first": (
        "Europe/Berlin",
        "30 2 * * *",
        "2027-10-30T12:00",
        "2027-11-01T12:00",
        ["10-31 00:30", "11-01 01:30"],
    ),
    "berlin, fixed times around the repeated hour": (
        "Europe/Berlin",
        "*/30 1-3 * * *",
        "2027-10-30T22:59",
        "2027-10-31T03:00",
        ["10-30 23:00", "10-30 23:30", "10-31 00:00", "10-31 00:30", "10-31 02:00", "10-31 02:30"],
    ),
    "berlin, every half hour over the gap": (
        "Europe/Berlin",
        "*/30 * * * *",
        "2027-03-28T00:00",
        "2027-03-28T02:00",
        ["03-28 00:30", "03-28 01:00", "03-28 01:30", "03-28 02:00"],
    ),
    "berlin, every half hour in both repeated hours": (
        "Europe/Berlin",
        "*/30 * * * *",
        "2027-10-30T23:30",
        "2027-10-31T02:00",
        ["10-31 00:00", "10-31 00:30", "10-31 01:00", "10-31 01:30", "10-31 02:00"],
    ),
    "berlin, a stepped hour in both repeated hours": (
        "Europe/Berlin",
        "15 */2 * * *",
        "2027-10-30T21:00",
        "2027-10-31T04:00",
        ["10-30 22:15", "10-31 00:15", "10-31 01:15", "10-31 03:15"],
    ),
    "new york, in the gap": (
        "America/New_York",
        "15 2 * * *",
        "2027-03-13T12:00",
        "2027-03-15T12:00",
        ["03-14 07:00", "03-15 06:15"],
    ),
    "new york, the first of two": (
        "America/New_York",
        "15 1 * * *",
        "2027-11-06T12:00",
        "2027-11-08T12:00",
        ["11-07 05:15", "11-08 06:15"],
    ),
    "new york, hourly": (
        "America/New_York",
        "@hourly",
        "2027-11-07T04:30",
        "2027-11-07T07:30",
        ["11-07 05:00", "11-07 06:00", "11-07 07:00"],
    ),
    "new york, daily": (
        "America/New_York",
        "@daily",
        "2027-11-06T12:00",
        "2027-11-08T12:00",
        ["11-07 04:00", "11-08 05:00"],
    ),
    "lord howe, in the gap of half an hour": (
        "Australia/Lord_Howe",
        "0,15,30,45 2 * * *",
        "2026-10-03T14:00",
        "2026-10-03T17:00",
        ["10-03 15:30", "10-03 15:45"],
    ),
    "lord howe, the first of two half hours": (
        "Australia/Lord_Howe",
        "0,45 1 * * *",
        "2027-04-03T13:00",
        "2027-04-03T17:00",
        ["04-03 14:00", "04-03 14:45"],
    ),
    "lord howe, every quarter in both half hours": (
        "Australia/Lord_Howe",
        "*/15 * * * *",
        "2027-04-03T14:15",
        "2027-04-03T15:45",
        ["04-03 14:30", "04-03 14:45", "04-03 15:00", "04-03 15:15", "04-03 15:30", "04-03 15:45"],
    ),
    "casablanca, the first of two": (
        "Africa/Casablanca",
        "30 2 * * *",
        "2027-02-06T12:00",
        "2027-02-08T12:00",
        ["02-07 01:30", "02-08 02:30"],
    ),
    "casablanca, in the gap": (
        "Africa/Casablanca",
        "30 2 * * *",
        "2027-03-13T12:00",
        "2027-03-15T12:00",
        ["03-14 02:00", "03-15 01:30"],
    ),
}


@pytest.mark.parametrize(("zone", "cron", "start", "end", "due"), CHANGES.values(), ids=CHANGES.keys())
def test_due_times_over_a_clock_change_follow_the_rule(
    zone: str, cron: str, start: str, end: str, due: list[str]
) -> None:
    assert due_times(cron, zone, start, end) == due


CRONS: dict[str, tuple[str, str, list[str]]] = {
    "seconds first": ("*/20 59 11 * * *", "2026-11-23T12:00", ["11-24 11:59:00", "11-24 11:59:20", "11-24 11:59:40"]),
    "day of month or day of week": ("0 0 13 * fri", "2026-11-23T00:00", ["11-27 00:00:00", "12-04 00:00:00"]),
    "the first monday or the 13th": ("0 9 13 * mon#1", "2026-11-23T00:00", ["12-07 09:00:00", "12-13 09:00:00"]),
    "the last day": ("0 0 l * *", "2027-02-01T00:00", ["02-28 00:00:00", "03-31 00:00:00"]),
    "names": ("0 0 * feb sun", "2026-11-23T00:00", ["02-07 00:00:00", "02-14 00:00:00"]),
    "both names of sunday": ("0 0 * * 7", "2026-11-23T00:00", ["11-29 00:00:00"]),
    "a range of one": ("0-0 5-5 * * mon-mon", "2026-11-23T12:00", ["11-30 05:00:00", "12-07 05:00:00"]),
    "weekly": ("@weekly", "2026-11-23T00:00", ["11-29 00:00:00", "12-06 00:00:00"]),
    "monthly": ("@monthly", "2026-11-23T00:00", ["12-01 00:00:00"]),
    "yearly": ("@annually", "2026-11-23T00:00", ["01-01 00:00:00"]),
}


@pytest.mark.parametrize(("cron", "start", "due"), CRONS.values(), ids=CRONS.keys())
def test_a_cron_expression_says_when(cron: str, start: str, due: list[str]) -> None:
    schedule, at, found = Schedule(cron), utc(start), []
    for _ in due:
        at = schedule.next_due(at)
        found.append(f"{at:%m-%d %H:%M:%S}")
    assert found == due


def _numbers(text: str, low: int, high: int) -> frozenset[int]:
    """The numbers of a field made by the strategies below: the naive reading of cron."""
    found: set[int] = set()
    for part in text.split(","):
        span, _, step = part.partition("/")
        first, last = (low, high) if span == "*" else (int(span.split("-")[0]), int(span.split("-")[-1]))
        found.update(range(first, last + 1, int(step or 1)))
    return frozenset(found)


def _field(low: int, high: int) -> st.SearchStrategy[str]:
    number = st.integers(low, high)
    spans = st.tuples(number, number).map(lambda pair: f"{min(pair)}-{max(pair)}")
    steps = st.integers(2, max(2, (high - low) // 2)).map(lambda step: f"*/{step}")
    return st.one_of(
        st.just("*"), steps, spans, st.lists(number, min_size=1, max_size=3).map(lambda many: ",".join(map(str, many)))
    )


ZONES = {
    "Europe/Berlin": ("2027-03-27T20:00", "2027-10-30T20:00"),
    "America/New_York": ("2027-03-14T01:00", "2027-11-07T01:00"),
    "Australia/Lord_Howe": ("2026-10-03T09:00", "2027-04-03T09:00"),
    "Africa/Casablanca": ("2027-02-06T20:00", "2027-03-13T20:00"),
}


@settings(max_examples=150, deadline=None)
@given(
    minute=_field(0, 59),
    hour=_field(0, 23),
    day_of_week=st.sampled_from(["*", "6", "0", "0,6"]),
    zone_and_start=st.sampled_from([(zone, start) for zone, starts in ZONES.items() for start in starts]),
    hours=st.integers(1, 12),
)
def test_due_times_equal_those_of_a_walk_through_every_minute(
    minute: str, hour: str, day_of_week: str, zone_and_start: tuple[str, str], hours: int
) -> None:
    zone_name, start_text = zone_and_start
    zone, start = ZoneInfo(zone_name), utc(start_text)
    end = start + timedelta(hours=hours)
    minutes, hours_, days = _numbers(minute, 0, 59), _numbers(hour, 0, 23), _numbers(day_of_week, 0, 6)

    def fits(wall: datetime) -> bool:
        return wall.minute in minutes and wall.hour in hours_ and wall.isoweekday() % 7 in days

    expected = []
    before = start.astimezone(zone)
    for count in itertools.count(1):
        moment = start + count * MINUTE
        if moment > end:
            break
        wall = moment.astimezone(zone)
        naive, last = wall.replace(tzinfo=None), before.replace(tzinfo=None)
        if "*" in hour:
            is_due = fits(wall)
        elif naive > last:  # also what the clock jumped over
            jumped = [last + number * MINUTE for number in range(1, int((naive - last) / MINUTE) + 1)]
            is_due = any(fits(one) for one in jumped) and not wall.fold
        else:
            is_due = fits(wall) and not wall.fold
        if is_due:
            expected.append(moment)
        before = wall
    schedule = Schedule(f"{minute} {hour} * * {day_of_week}", zone_name)
    found = list(schedule.between(start, end))
    assert found == expected
    assert all(one < two for one, two in itertools.pairwise(found))
    assert schedule.latest(start, end, 3) == found[-3:]
    if found:
        assert schedule.next_due(found[0] - timedelta(microseconds=1)) == found[0]


def test_the_latest_of_very_many_due_times_are_found_quickly() -> None:
    found = Schedule("* * * * * *").latest(utc("2000-01-01T00:00"), utc("2026-01-01T00:00"), 3)
    assert [f"{due:%H:%M:%S}" for due in found] == ["23:59:58", "23:59:59", "00:00:00"]
    assert Schedule("0 0 29 2 *").latest(utc("2000-01-01T00:00"), utc("2026-01-01T00:00"), 1) == [
        utc("2024-02-29T00:00")
    ]
    assert Schedule("0 0 29 2 *").latest(utc("2025-01-01T00:00"), utc("2026-01-01T00:00"), 1) == []


@pytest.mark.parametrize(
    ("cron", "zone", "text"),
    [
        ("0 9 * * mon-fri", "Europe/Berlin", "At 09:00, Monday through Friday (Europe/Berlin)"),
        ("*/5 * * * * *", "UTC", "Every 5 seconds (UTC)"),
        ("@daily", "Asia/Tokyo", "At 00:00 (Asia/Tokyo)"),
        ("0 9 13 * fri", "UTC", "At 09:00, on day 13 of the month, or on Friday (UTC)"),
    ],
)
def test_a_schedule_says_in_words_when(cron: str, zone: str, text: str) -> None:
    assert Schedule(cron, zone).in_words() == text


@pytest.mark.predecessor("S-76")
@pytest.mark.parametrize(
    ("written", "cron"),
    [
        ({"minute": "*/10", "hour": "9-18"}, "*/10 9-18 * * *"),
        ({"minute": 0, "hour": 9, "day_of_week": "mon-fri", "timezone": "Europe/Moscow"}, "0 9 * * mon-fri"),
        ({"minute": "0", "hour": "0", "day_of_month": "1", "month_of_year": "1,7"}, "0 0 1 1,7 *"),
        ({"cron": "@daily", "minute": None}, "@daily"),
    ],
    ids=["some", "numbers", "all", "null"],
)
def test_the_six_fields_of_the_predecessor_are_a_cron_expression(written: Mapping[str, Any], cron: str) -> None:
    spec = ScheduleSpec.model_validate(written)
    assert spec.model_dump() == {"cron": cron, "timezone": written.get("timezone", "UTC"), "missed": "last"}


@pytest.mark.predecessor("S-78")
@pytest.mark.parametrize(
    ("written", "error"),
    [
        ({"minute": 142}, "/schedule/minute: '142' is not the minute of a cron expression"),
        ({"minute": "1 2"}, "/schedule/minute: must be one field of a cron expression, without spaces"),
        ({"hour": True}, "/schedule/hour: must be text"),
        ({"cron": "0 * * * *", "hour": "1"}, "/schedule: has `cron` and `hour`: write one or the other"),
        ({"timezone": "UTC"}, "/schedule/cron: is required"),
        ({"minute": "0", "timezone": "Moscow"}, "/schedule/timezone: 'Moscow' is not a time zone"),
        ({"day_of_month": "31", "month_of_year": "2"}, "is a date that never comes"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_a_wrong_field_of_the_six_is_named(written: Mapping[str, Any], error: str) -> None:
    with pytest.raises(InputError) as caught:
        read_spec("configuration", {"schedule": written})
    assert error in str(caught.value)
    assert len(caught.value.errors) == 1
