"""Rows: whatever a value is, its row becomes a message, and what was told is not told again."""

import tracemalloc
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from notifier import JsonObject
from notifier.message import check_message_object
from producers.rows import RowParameters, Rows, Told
from producers.rows.parameters import FieldName
from producers.rows.told import MAX_SUMS, sum_of
from streams.runner.produced import read_items

_NAMES: list[FieldName] = [
    "content",
    "title",
    "receiver",
    "sender",
    "severity",
    "url",
    "id",
    "labels",
    "occurred_at",
    "not_before",
    "expires_at",
]


def _rows(names: list[str], *values: list[Any], told: Told | None = None, **parameters: Any) -> Rows:
    rows = Rows(RowParameters.model_validate(parameters), names, told)
    for row in values:
        rows.add(row)
    return rows


_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.binary()
    | st.decimals()
    | st.datetimes()
    | st.datetimes(timezones=st.just(UTC))
    | st.dates()
    | st.times()
    | st.timedeltas()
    | st.uuids()
    | st.sampled_from(["\ud800", "x" * 3000, "2026-11-29T10:00:00Z", "critical", 10**3100, b"\xff" * 1200, object()]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.lists(_VALUES, min_size=len(_NAMES), max_size=len(_NAMES)), min_size=1, max_size=3))
def test_any_value_in_any_field_makes_a_message_that_the_runner_takes(table: list[list[object]]) -> None:
    rows = _rows(list(_NAMES), *table, texts={"title": "{content}/{id}"}, labels={"x": "sender"})
    assert rows.cut is None
    assert len(rows.messages) >= len(table)
    for message in rows.messages:
        check_message_object({"producer": "p", **message})
    run = "late/2026-11-29T10:00:00Z"
    assert [item.error for item in read_items(rows.messages, run, "p", "late")] == [None] * len(rows.messages)


def test_two_rows_of_one_id_are_two_messages() -> None:
    rows = _rows(["id", "content"], [1, "a"], [1, "b"], [None, "c"], [None, "c"], [None, "d"])
    ids = [message["id"] for message in rows.messages]
    assert ids[:2] == ["1", "1~2"]
    assert ids[3] == f"{ids[2]}~2"
    assert len(set(ids)) == 5
    again = _rows(["id", "content"], [None, "c"])
    assert again.messages[0]["id"] == ids[2]  # a run that is done again makes the same ids


def test_a_very_long_run_is_cut_and_says_so() -> None:
    rows = Rows(RowParameters(), ["content"])
    taken = 0
    while rows.add([f"{taken}" + "x" * 150_000]):
        taken += 1
    assert 100 <= taken < 120
    assert rows.notice() == (
        f"cut: the rows are longer than 16,000,000 characters together; the first {taken} are told, and the others are not told"
    )


def test_a_long_value_in_many_places_of_a_text_is_not_written_out_in_all_of_them() -> None:
    tracemalloc.start()
    try:
        rows = _rows(["a"], ["x" * 200_000], texts={"content": "{a}" * 3_000})  # 600 MB
        assert tracemalloc.get_traced_memory()[1] < 50_000_000
    finally:
        tracemalloc.stop()
    assert "(cut: " in rows.messages[0]["content"]


def test_labels_and_severities() -> None:
    parameters: JsonObject = {
        "labels": {"team": "owner"},
        "severities": {"P1": "critical"},
        "columns": {"severity": "prio"},
    }
    rows = _rows(
        ["owner", "prio", "labels"], ["infra", "p1", '{"a": 1, "team": "x"}'], [None, "P9", "odd"], **parameters
    )
    one, two = rows.messages
    assert (one["severity"], one["labels"]) == ("critical", {"a": "1", "team": "infra"})
    assert "severity" not in two
    assert "labels" not in two
    assert rows.notice() == "row 2: severity: 'P9' is no severity that is known; it is left out"


_GROWING = [
    1,
    2**70,
    1.5,
    Decimal("1.50"),
    "text",
    datetime(2026, 11, 29, 10, 0, 0, 5, UTC),
    datetime(2026, 11, 29),  # noqa: DTZ001 - databases give such
    date(2026, 11, 29),
    UUID(int=5),
    b"\x00\xff",
]


@pytest.mark.parametrize("value", _GROWING, ids=lambda value: f"{type(value).__name__} {value}")
def test_a_cursor_comes_back_as_the_value_that_it_was(value: Any) -> None:
    told = Told("at", None)
    assert told.state() is None
    told.add(value, "sum")
    state = told.state()
    assert state is not None
    again = Told("at", state)
    assert (again.value, type(again.value)) == (value, type(value))
    assert again.has("sum")
    assert again.again == 1
    assert again.state() is None  # nothing new was told
    assert Told("other", state).value is None


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        (1, 1.0, True),
        (Decimal("1.0"), Decimal("1.00"), True),
        ("Müller", "MULLER ", True),  # a collation may take them for equal
        (1, 2, False),
        ("a", "b", False),
    ],
)
def test_rows_of_the_last_value_are_kept_and_those_before_forgotten(first: Any, second: Any, same: bool) -> None:
    told = Told("at", None)
    told.add(first, "one")
    told.add(second, "two")
    assert (told.has("one"), told.has("two")) == (same, True)


def test_too_many_rows_of_one_value_are_passed_over() -> None:
    told = Told("at", None)
    for number in range(MAX_SUMS):
        told.add(7, sum_of(str(number)))
    state = told.state()
    assert state is not None
    again = Told("at", state)
    assert again.is_past
    assert again.again == 0
    again.add(8, "next")
    assert not again.is_past


@pytest.mark.parametrize(
    "state",
    [
        {},
        {"column": "at"},
        {"column": "at", "kind": "int", "value": "x", "told": []},
        {"column": "at", "kind": "later", "value": "1", "told": []},
        {"column": "at", "kind": "int", "value": None, "told": None},
        {"column": "at", "kind": [], "value": "1", "told": []},
    ],
)
def test_a_cursor_that_cannot_be_read_is_none(state: JsonObject) -> None:
    assert Told("at", state).value is None


@pytest.mark.parametrize("value", [None, True, timedelta(1), [1]])
def test_a_value_that_does_not_grow_is_refused(value: Any) -> None:
    with pytest.raises(Exception, match="/parameters/cursor_column: 'at' has a value that is no number"):
        Told("at", None).add(value, "sum")
