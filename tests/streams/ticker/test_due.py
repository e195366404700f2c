"""Due times, which are pure: what a cursor claims and where it goes next, and how cursors follow the definitions."""

import itertools
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from notifier.catalog import Configuration
from notifier.definition import ConfigurationSpec
from notifier.schedule import Schedule
from streams.ticker.due import LATE_S, MISSED_LIMIT, Cursor, Missed, advance, begin, reconcile
from tests.rigs.ticker_rig import HOUR, HOURLY, SECOND, cursor

START = datetime(2026, 3, 29, tzinfo=UTC)  # Berlin puts its clocks forward an hour later
MINUTE = timedelta(minutes=1)

schedules = st.sampled_from(
    [
        Schedule("* * * * *"),
        Schedule("*/20 * * * * *"),
        Schedule(HOURLY),
        Schedule("0 9 * * *", "Europe/Berlin"),
        Schedule("30 2 * * *", "Europe/Berlin"),
        Schedule("0 0 29 2 *"),
    ]
)
few = settings(max_examples=40, deadline=None)
moments = st.integers(0, 8 * 3600).map(lambda seconds: START + seconds * SECOND)


def at(schedule: Schedule, next_due_at: datetime) -> Cursor:
    return Cursor(
        configuration="c",
        revision=1,
        cron=schedule.cron,
        timezone=schedule.timezone,
        last_due_at=None,
        next_due_at=next_due_at,
    )


def walk(cursor: Cursor, missed: Missed, looks: Sequence[datetime]) -> tuple[list[datetime], Cursor]:
    """What is claimed by tickers that look at these moments, and the cursor after them."""
    due: list[datetime] = []
    for moment in looks:
        if cursor.next_due_at <= moment:
            move = advance(cursor, missed, moment, moment)
            assert move.old == cursor
            due += move.due
            cursor = move.new
    return due, cursor


# --- one cursor ---


@few
@given(schedule=schedules, start=moments, late_s=st.floats(0, LATE_S))
def test_what_is_due_just_now_is_claimed_whatever_the_rule_for_missed_ones(
    schedule: Schedule, start: datetime, late_s: float
) -> None:
    first = schedule.next_due(start)
    until = first + timedelta(seconds=late_s)
    moves = [advance(at(schedule, first), missed, until, until) for missed in ("none", "last", "all")]
    assert moves[0] == moves[1] == moves[2]
    assert list(moves[0].due) == [first, *schedule.between(first, until)]
    assert (moves[0].missed, moves[0].cut) == (None, False)


@few
@given(schedule=schedules, start=moments, late=st.timedeltas(6 * SECOND, 8 * HOUR))
def test_what_was_missed_is_made_up_for_as_the_rule_says(schedule: Schedule, start: datetime, late: timedelta) -> None:
    first = schedule.next_due(start)
    until = first + late
    everything = [first, *schedule.between(first, until)]
    expected: dict[Missed, list[datetime]] = {
        "none": [],
        "last": everything[-1:],
        "all": everything[-MISSED_LIMIT:],
    }
    for missed, due in expected.items():
        move = advance(at(schedule, first), missed, until, until)
        assert list(move.due) == due
        assert move.missed == missed
        assert move.cut == (missed == "all" and len(everything) > MISSED_LIMIT)
        assert move.new.next_due_at == schedule.next_due(until)
        assert move.new.last_due_at == (due[-1] if due else first)


@few
@given(
    schedule=schedules,
    start=moments,
    looks=st.lists(moments, max_size=20),
    missed=st.sampled_from(["none", "last", "all"]),
)
def test_no_due_time_is_claimed_twice_or_invented_by_clocks_that_go_back(
    schedule: Schedule, start: datetime, looks: list[datetime], missed: Missed
) -> None:
    first = schedule.next_due(start)
    due, after = walk(at(schedule, first), missed, looks)
    assert all(one < two for one, two in itertools.pairwise(due))
    assert all(schedule.next_due(one - SECOND / 2) == one for one in due)
    assert all(one < after.next_due_at for one in due)
    assert after.next_due_at == schedule.next_due(max([start, *[one for one in looks if one >= first]]))


@few
@given(schedule=schedules, start=moments, looks=st.lists(moments, min_size=1, max_size=20).map(sorted))
def test_all_due_times_are_claimed_once_however_often_anybody_looks(
    schedule: Schedule, start: datetime, looks: list[datetime]
) -> None:
    first = schedule.next_due(start)
    due, _ = walk(at(schedule, first), "all", looks)
    everything = [first, *schedule.between(first, looks[-1])] if first <= looks[-1] else []
    if len(everything) <= MISSED_LIMIT:
        assert due == everything
    else:
        assert due == sorted(set(due))
        assert set(due) <= set(everything)


def test_at_most_a_thousand_missed_due_times_are_made_up_for() -> None:
    first = START + MINUTE
    for count, cut in ((MISSED_LIMIT, False), (MISSED_LIMIT + 1, True)):
        until = first + (count - 1) * MINUTE
        move = advance(cursor("c", "* * * * *", first), "all", until, until)
        assert (len(move.due), move.due[-1], move.cut) == (MISSED_LIMIT, until, cut)


def test_what_waited_for_others_at_the_same_look_was_not_missed() -> None:
    first = START + MINUTE
    move = advance(cursor("c", "* * * * *", first), "none", first + HOUR, first + LATE_S * SECOND)
    assert len(move.due) == 61


# --- definitions ---


def configuration(version: int, cron: str | None, **more: Any) -> Configuration:
    schedule = None if cron is None else {"cron": cron, "missed": "all"}
    spec = ConfigurationSpec.model_validate({"schedule": schedule, **more})
    return Configuration(name="c", version=version, spec=spec)


OLD = cursor("c", HOURLY, START + HOUR, revision=3)
DEFINED_AT, LOOKED_AT = START + HOUR / 2, START + HOUR / 2 + SECOND

CHANGES: dict[str, tuple[Cursor | None, Configuration | None, str]] = {
    "new": (None, configuration(4, HOURLY), "added"),
    "new, without a schedule": (None, configuration(4, None), "nothing"),
    "new, disabled": (None, configuration(4, HOURLY, enabled=False), "nothing"),
    "unchanged": (OLD, configuration(3, HOURLY), "nothing"),
    "another title": (OLD, configuration(4, HOURLY, title="Other"), "moved"),
    "another schedule": (OLD, configuration(4, "* * * * *"), "moved"),
    "disabled": (OLD, configuration(4, HOURLY, enabled=False), "dropped"),
    "without a schedule": (OLD, configuration(4, None), "dropped"),
    "older than the cursor": (OLD, configuration(2, "* * * * *"), "nothing"),
    "older than the cursor, disabled": (OLD, configuration(2, HOURLY, enabled=False), "nothing"),
    "not known": (OLD, None, "nothing"),
}


@pytest.mark.parametrize(("old", "new", "expected"), CHANGES.values(), ids=CHANGES)
def test_cursors_follow_the_definitions(old: Cursor | None, new: Configuration | None, expected: str) -> None:
    found = reconcile(
        {} if old is None else {"c": old}, {} if new is None else {"c": new}, lambda one: DEFINED_AT, LOOKED_AT
    )
    done = {"added": found.added, "moved": found.moves, "dropped": found.dropped}
    assert {name for name, what in done.items() if what} == {expected} - {"nothing"}
    assert found.dropped in ([], [old])
    for move in found.moves:
        assert new is not None
        assert (move.old, move.new.revision, move.due) == (old, new.version, ())
        assert new.spec.schedule is not None
        kept = new.spec.schedule.cron == HOURLY
        assert move.new.next_due_at == (OLD.next_due_at if kept else DEFINED_AT + MINUTE)
    for one in found.added:
        assert new is not None
        assert new.spec.schedule is not None
        assert one == begin(new, new.spec.schedule, DEFINED_AT)
        assert one.next_due_at == START + HOUR


def test_what_the_old_schedule_had_due_before_a_change_is_still_due() -> None:
    new = configuration(4, "30 * * * *")
    defined_at = OLD.next_due_at + HOUR + MINUTE
    (move,) = reconcile({"c": OLD}, {"c": new}, lambda one: defined_at, defined_at + SECOND).moves
    assert list(move.due) == [OLD.next_due_at, OLD.next_due_at + HOUR]
    assert (move.new.cron, move.new.last_due_at) == ("30 * * * *", OLD.next_due_at + HOUR)
    assert move.new.next_due_at == Schedule("30 * * * *").next_due(defined_at)
