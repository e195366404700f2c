"""Items that a producer gave, read as messages: ids, and what is wrong with an item."""

import pytest

from notifier import JsonObject
from streams.runner.produced import ItemReader, read_items, sum_up
from tests.rigs.runner_rig import ID

NEVER = "9999-12-31T23:59:59-05:00"


@pytest.mark.parametrize(
    ("item", "reason", "error"),
    [
        ({}, "invalid", "`content` is required"),
        ({"content": None}, "invalid", "`content` must be text, not null"),
        ({"content": {"a": 1}}, "invalid", "`content` must be text, not an object"),
        ({"content": "x", "severity": "bad"}, "invalid", "`severity` must be debug, info, warning, error or critical"),
        ({"content": "x", "labels": {"a": 1}}, "invalid", "a value of `labels` must be text, not a number"),
        ({"content": "x", "not_before": "2026-01-01T00:00:00"}, "invalid", "`not_before` must be a time with a zone"),
        ({"content": "x", "not_before": NEVER}, "invalid", "`not_before` must lie in the years 1970 to 9000"),
        ({"content": "x", "id": 4}, "invalid", "`id` must be text, not a number"),
        ({"content": "x", "id": "x" * 500}, "invalid", "`id` is too long: with 'c/"),
        ({"content": "x", "id": "x" * 600}, "invalid", "`id` is too long"),
        ({"content": "x", "receiver": "x" * 600}, "invalid", "`receiver` is too long"),
        ({"content": "x", "v": 2}, "unsupported_version", "version 2"),
        ({"content": "\ud800"}, "invalid", "UTF-8"),
        ({"content": "x", "id": "\ud800"}, "invalid", "UTF-8"),
        ({"content": "x", "extra": object()}, "invalid", "object"),
        ("text", "invalid", "must be an object"),
        ({"content": "x" * 900_000}, "too_large", "900000"),
    ],
)
def test_an_item_that_is_no_message_says_which_and_why(item: object, reason: str, error: str) -> None:
    good, bad = read_items([{"content": "fine"}, item], ID, "p", "c")
    assert good.error is None
    assert bad.reason == reason
    assert bad.error is not None
    assert bad.error.startswith("item 2: ")
    assert error in bad.error
    assert "\n" not in bad.error
    assert bad.id == f"{ID}/p/2"
    assert sum_up([good, bad]) == f"{bad.error}; see the dead letters; the others went out"


def test_a_position_never_takes_the_id_of_another_item() -> None:
    items = read_items([{"content": "a"}, {"content": "b", "id": "1"}, {"content": "c", "id": "1~"}], ID, "p", "c")
    assert [item.id for item in items] == [f"{ID}/p/1~~", f"{ID}/p/1", f"{ID}/p/1~"]


ITEMS: list[object] = [
    {"content": "a"},
    {"content": "b", "id": "1"},  # not the first one, which has that position
    {"content": "c", "id": "x"},
    {"content": "d", "id": "x"},  # a repeat
    {"content": "e", "id": "5"},
    {"content": "f"},
    {"content": "g", "id": "1~"},
    7,
    {"id": "y"},
    {"content": "h", "id": "11"},
    {"content": "i"},
]


@pytest.mark.parametrize("parts", [[11], [1] * 11, [2, 9], [5, 5, 1], [0, 11, 0]])
def test_items_that_come_in_parts_have_the_same_ids_however_they_are_parted(parts: list[int]) -> None:
    reader = ItemReader(ID, "p", "c")
    found, start = [], 0
    for size in parts:
        found += reader.read(ITEMS[start : start + size])
        start += size
    assert list(reader.read_last([])) == []
    ids = [item.id.removeprefix(f"{ID}/p/") for item in found]
    assert ids == ["1", "1~", "x", "x", "5", "6", "1~", "8", "y", "11", "11~"]
    assert [item.position for item in found] == list(range(1, 12))
    assert [item.position for item in found if item.error] == [8, 9]
    assert reader.error() == f"{found[7].error} (2 of 11 items are wrong); see the dead letters; the others went out"


def test_many_items_are_read_some_at_a_time_with_the_ids_that_they_have_together() -> None:
    items: list[JsonObject] = [{"content": "x"} for _ in range(1_200)]
    items[1_100]["id"] = "7"  # as the place of the seventh
    parts = list(ItemReader(ID, "p", "c").read_last(items))
    assert max(map(len, parts)) <= 500
    found = [item for part in parts for item in part]
    assert len({item.id for item in found}) == 1_200
    assert (found[6].id, found[1_100].id) == (f"{ID}/p/7~", f"{ID}/p/7")
    assert found == read_items(items, ID, "p", "c")
