"""Differences between documents."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from control_api.definitions.differences import Change, differences
from notifier.pointer import pointer_parts

_KEYS = st.text("ab/~ ", max_size=2)
_LEAVES = st.none() | st.booleans() | st.integers(-2, 2) | st.sampled_from([1.0, "", "a", "{"])
_VALUES = st.recursive(_LEAVES, lambda below: st.lists(below, max_size=2) | st.dictionaries(_KEYS, below, max_size=3))
_DOCUMENTS = st.dictionaries(_KEYS, _VALUES, max_size=3)


def _apply(document: Any, change: Change) -> Any:
    parts = pointer_parts(change.pointer)
    if not parts:
        return change.after
    *above, last = parts
    target = document
    for part in above:
        target = target[part]
    assert (last in target) is (change.op != "add")
    if change.op != "add":
        assert json.dumps(target[last]) == json.dumps(change.before)
    if change.op == "remove":
        del target[last]
    else:
        target[last] = change.after
    return document


@given(before=_DOCUMENTS, after=_DOCUMENTS)
@settings(max_examples=300, deadline=None)
def test_the_changes_done_in_order_make_the_one_of_the_other(before: dict[str, Any], after: dict[str, Any]) -> None:
    document = json.loads(json.dumps(before))
    for change in differences(before, after):
        document = _apply(document, change)
    assert json.dumps(document, sort_keys=True) == json.dumps(after, sort_keys=True)
    assert differences(after, json.loads(json.dumps(after))) == []


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        pytest.param(None, {"a": 1}, [("add", "", None, {"a": 1})], id="a new document"),
        pytest.param({"a": 1}, None, [("remove", "", {"a": 1}, None)], id="a deleted document"),
        pytest.param({"a": {"b/c": 1}}, {"a": {"b/c": 2}}, [("replace", "/a/b~1c", 1, 2)], id="a nested value"),
        pytest.param({"a": [1, 2]}, {"a": [2]}, [("replace", "/a", [1, 2], [2])], id="a list is one value"),
        pytest.param({"a": 1}, {"a": True}, [("replace", "/a", 1, True)], id="a number is no truth"),
        pytest.param({"a": None}, {}, [("remove", "/a", None, None)], id="null is there"),
        pytest.param(
            {"a": {"set": True}}, {"a": {"set": True, "changed": True}},
            [("replace", "/a", {"set": True}, {"set": True, "changed": True})], id="a secret is one value",
        ),
    ],
)  # fmt: skip
def test_a_change_names_its_place(before: Any, after: Any, expected: list[Any]) -> None:
    assert [(one.op, one.pointer, one.before, one.after) for one in differences(before, after)] == expected


def test_a_field_with_too_many_changes_is_one_change() -> None:
    before: dict[str, Any] = {
        "name": "x",
        "info": {"deep": {f"k{number}": number for number in range(1_001)}, "same": 1},
        "other": 1,
    }
    after: dict[str, Any] = {
        "name": "x",
        "info": {"deep": {f"k{number}": -1 - number for number in range(1_001)}, "same": 1},
        "other": 2,
    }
    assert [(one.op, one.pointer) for one in differences(before, after)] == [
        ("replace", "/info"),
        ("replace", "/other"),
    ]
    assert differences(before, after)[0].after == after["info"]
    del before["info"]["deep"]["k7"], after["info"]["deep"]["k7"]
    assert len(differences(before, after)) == 1_001
    long = "k" * 60_000  # each pointer would repeat it
    found = differences({"a": {long: {"x": 1, "y": 1}}}, {"a": {long: {"x": 2, "y": 2}}})
    assert [one.pointer for one in found] == ["/a"]
