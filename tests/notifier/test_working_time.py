"""When people work."""

from datetime import UTC, datetime, time, timedelta
from itertools import accumulate, product
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier.user import User
from notifier.working_time import DAYS, WorkingTime
from tests.rigs.examples import AT
from tests.rigs.tables import table


def _at(text: str) -> datetime:
    return datetime.fromisoformat(text)


BERLIN_NIGHT = WorkingTime(start=time(2, 30), end=time(3, 30), timezone="Europe/Berlin")
NIGHT = WorkingTime(start=time(23), end=time(8))
FRIDAY_NIGHT = WorkingTime(start=time(22), end=time(6), days=frozenset({"fri"}), timezone="Europe/Berlin")


@pytest.mark.predecessor("S-18", "S-19", "S-20", "S-21")
@table(
    ("at its start", WorkingTime(start=time(9), end=time(18)), "2026-11-23T09:00:00Z", True),
    ("just before its end", WorkingTime(start=time(9), end=time(18)), "2026-11-23T17:59:59.999999Z", True),
    ("at its end", WorkingTime(start=time(9), end=time(18)), "2026-11-23T18:00:00Z", False),
    (
        "on the clock of the zone",
        WorkingTime(start=time(9), end=time(18), timezone="Asia/Tokyo"),
        "2026-11-23T00:00:00Z",
        True,
    ),
    ("to midnight", WorkingTime(start=time(9), end=time(0)), "2026-11-23T23:59:59Z", True),
    ("not after midnight", WorkingTime(start=time(9), end=time(0)), "2026-11-24T00:00:00Z", False),
    ("all day", WorkingTime(start=time(9), end=time(9), days=frozenset({"mon"})), "2026-11-23T00:00:00Z", True),
    (
        "all day, not the next",
        WorkingTime(start=time(9), end=time(9), days=frozenset({"mon"})),
        "2026-11-24T00:00:00Z",
        False,
    ),
    ("overnight, before its start", NIGHT, "2026-11-23T22:59:59Z", False),
    ("overnight, at its start", NIGHT, "2026-11-23T23:00:00Z", True),
    ("overnight, at midnight", NIGHT, "2026-11-24T00:00:00Z", True),
    ("overnight, just before its end", NIGHT, "2026-11-24T07:59:59Z", True),
    ("overnight, at its end", NIGHT, "2026-11-24T08:00:00Z", False),
    ("Friday evening", FRIDAY_NIGHT, "2026-11-27T22:00:00+01:00", True),
    ("on into Saturday", FRIDAY_NIGHT, "2026-11-28T05:59:00+01:00", True),
    ("not Friday morning", FRIDAY_NIGHT, "2026-11-27T05:59:00+01:00", False),
    ("not Saturday evening", FRIDAY_NIGHT, "2026-11-28T22:00:00+01:00", False),
    ("before the clock goes forward", BERLIN_NIGHT, "2026-03-29T00:59:59Z", False),
    ("in the half that is left of it", BERLIN_NIGHT, "2026-03-29T01:00:00Z", True),
    ("at its end after the clock went forward", BERLIN_NIGHT, "2026-03-29T01:30:00Z", False),
    ("the first half hour before the clock goes back", BERLIN_NIGHT, "2026-10-25T00:30:00Z", True),
    ("2:00 once more", BERLIN_NIGHT, "2026-10-25T01:00:00Z", True),
    ("2:30 once more", BERLIN_NIGHT, "2026-10-25T01:30:00Z", True),
    ("at its end after the clock went back", BERLIN_NIGHT, "2026-10-25T02:30:00Z", False),
    (
        "an end that comes twice",
        WorkingTime(start=time(22), end=time(2, 30), timezone="Europe/Berlin"),
        "2026-10-25T00:30:00Z",
        False,
    ),
    (
        "and not once more",
        WorkingTime(start=time(22), end=time(2, 30), timezone="Europe/Berlin"),
        "2026-10-25T01:15:00Z",
        False,
    ),
)
def test_working_time(row: tuple[WorkingTime, str, bool]) -> None:
    working_time, at, inside = row
    assert working_time.contains(_at(at)) is inside


clocks = st.times().map(lambda value: value.replace(microsecond=0))
zones = st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Pacific/Apia"])
moments = st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - it is added


@pytest.mark.predecessor("S-19")
@given(clocks, clocks, zones, moments)
def test_the_night_is_what_the_day_leaves(start: time, end: time, zone: str, at: datetime) -> None:
    day = WorkingTime(start=start, end=end, timezone=zone)
    night = WorkingTime(start=end, end=start, timezone=zone)
    if start == end:
        assert day.contains(at)
    else:
        assert day.contains(at) is not night.contains(at)


def _changes() -> list[tuple[str, datetime, timedelta, timedelta]]:
    """The clock changes of all zones since 2005, one of each kind: zone, first moment of the new offset, offsets."""
    step = timedelta(days=5)
    found: dict[object, tuple[str, datetime, timedelta, timedelta]] = {}
    for name in sorted(available_timezones()):
        zone = ZoneInfo(name)
        low, before = datetime(2005, 1, 1, tzinfo=UTC), timedelta.max
        for at in (low + step * number for number in range(23 * 73)):
            offset = at.astimezone(zone).utcoffset()
            assert offset is not None
            if before not in (offset, timedelta.max):
                left, right = at - step, at
                while right - left > timedelta(minutes=1):
                    middle = (left + (right - left) / 2).replace(second=0)
                    left, right = (middle, right) if middle.astimezone(zone).utcoffset() == before else (left, middle)
                wall = right.astimezone(zone)
                found.setdefault((offset - before, wall.time()), (name, right, before, offset))
            before = offset
    return list(found.values())


@pytest.mark.predecessor("S-21")
def test_a_window_is_one_stretch_whatever_clock_changes_in_it() -> None:
    """Held against a clock that stands still while the real one shows again what it has shown already."""
    changes = _changes()
    assert {after > before for _, _, before, after in changes} == {True, False}
    assert len(changes) > 20
    minutes = range(-36 * 60, 36 * 60)
    looked_at = sorted({*range(0, len(minutes), 200), *range(33 * 60, 39 * 60, 10)})
    for name, change, before, after in changes:
        zone = ZoneInfo(name)
        at = [change + timedelta(minutes=minute) for minute in minutes]
        shown = list(accumulate((moment.astimezone(zone).replace(tzinfo=None) for moment in at), max))
        skipped_or_repeated = sorted([(change + offset).replace(tzinfo=None) for offset in (before, after)])
        middle = skipped_or_repeated[0] + (skipped_or_repeated[1] - skipped_or_repeated[0]) / 2
        edges = [skipped_or_repeated[0] - timedelta(minutes=25), *skipped_or_repeated, middle.replace(second=0)]
        clocks = [edge.time() for edge in (*edges, skipped_or_repeated[1] + timedelta(minutes=25))]
        for start, end in product(clocks, clocks):
            days = frozenset({DAYS[change.astimezone(zone).weekday()], DAYS[middle.weekday()]})
            working_time = WorkingTime(start=start, end=end, days=days, timezone=name)
            windows = []
            for day in ((change + before).date() + timedelta(days=days) for days in range(-4, 5)):
                if DAYS[day.weekday()] in days:
                    first = datetime.combine(day, time() if start == end else start)
                    last = datetime.combine(day + timedelta(days=start >= end), time() if start == end else end)
                    windows.append((first, last))
            for place in looked_at:
                inside = any(first <= shown[place] < last for first, last in windows)
                assert working_time.contains(at[place]) is inside, f"{at[place]} ({name}): {working_time}"


def test_a_moment_without_zone_is_not_guessed_at() -> None:
    with pytest.raises(ValueError, match="needs a zone"):
        FRIDAY_NIGHT.contains(AT.replace(tzinfo=None))


@pytest.mark.predecessor("S-2", "S-3", "S-17")
def test_nobody_works_on_leave() -> None:
    assert User(username="a").works_at(AT)
    assert not User(username="a", on_leave=True).works_at(AT)
    assert not User(username="a", working_time=FRIDAY_NIGHT).works_at(AT)


def test_working_time_in_words() -> None:
    assert str(FRIDAY_NIGHT) == "22:00 to 06:00 on fri, Europe/Berlin"
    assert str(WorkingTime(start=time(0), end=time(0))) == "all day every day, UTC"
