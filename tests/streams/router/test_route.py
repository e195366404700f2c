"""A step keeps the answer of a filter for as long as it holds, and no longer."""

from datetime import UTC, datetime, time, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier.working_time import DAYS, WorkingTime
from tests.rigs.routed import BEGINNING, NOW, Routed, attempts_of, changed


@given(
    start=st.times(),
    end=st.times(),
    days=st.frozensets(st.sampled_from(DAYS), min_size=1),
    zone=st.sampled_from(["UTC", "Europe/Berlin", "Australia/Lord_Howe", "America/New_York", "Africa/Cairo"]),
    at=st.datetimes(datetime(2026, 1, 1), datetime(2027, 12, 31)),  # noqa: DTZ001 - Hypothesis wants them so
    part=st.floats(0, 1, exclude_max=True),
)
def test_working_time_holds_as_long_as_it_says(
    start: time, end: time, days: frozenset[Any], zone: str, at: datetime, part: float
) -> None:
    working_time = WorkingTime(start=start, end=end, days=days, timezone=zone)
    moment = at.replace(tzinfo=UTC)
    until = working_time.holds_until(moment)
    assert moment < until
    later = moment + min((until - moment) * part, until - moment - timedelta.resolution)
    assert working_time.contains(later) == working_time.contains(moment)


def test_who_works_is_asked_again_when_it_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    hours = {"start": "09:00", "end": "10:08", "days": list(DAYS), "timezone": "UTC"}
    catalog = changed(
        BEGINNING,
        [
            ("user", "u0", {"working_time": hours}),
            (
                "configuration",
                "c0",
                {"users": ["u0"], "producers": ["p0"], "filters": ["at-work"], "consumers": ["file"]},
            ),
        ],
        2,
    )
    routed = Routed(catalog)
    asked = 0
    works_at = type(catalog.users["u0"]).works_at

    def counted(user: Any, at: datetime) -> bool:
        nonlocal asked
        asked += 1
        return works_at(user, at)

    monkeypatch.setattr("notifier.user.User.works_at", counted)
    message = {"producer": "p0", "receiver": "u0", "content": "x"}
    for _ in range(10):
        assert "deliveries.file" in routed.route(message)
    assert asked == 1
    monkeypatch.setattr("streams.router.router.now", lambda: NOW + timedelta(minutes=1))
    assert [attempt.reason for attempt in attempts_of(routed.route(message))] == ["outside_hours"]
    routed.router._use(changed(catalog, [("user", "u0", {})], 3))
    assert "deliveries.file" in routed.route(message)
