"""Differences between two documents: which fields were added, replaced and removed, by JSON Pointer (RFC 6901).

Objects are compared field by field, however deep; lists are compared whole, as a merge patch replaces them whole. A masked
secret is one value. A field of the document with too many changes below it is one change. The changes, done in order, make
the one document of the other.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from notifier.pointer import pointer
from notifier.record import JsonObject

_MOST = 1_000  # changes below one field of a document
_MOST_TEXT = 100_000  # characters of their pointers together
_ABSENT: Any = object()


@dataclass(frozen=True, kw_only=True)
class Change:
    """One changed field. `op` is an operation of JSON Patch (RFC 6902); `before` is None for `add`, `after` for `remove`."""

    op: Literal["add", "replace", "remove"]
    pointer: str  # empty: the whole document
    before: Any = None
    after: Any = None

    def answer(self) -> JsonObject:
        """As JSON."""
        return {"op": self.op, "pointer": self.pointer, "before": self.before, "after": self.after}


def differences(before: JsonObject | None, after: JsonObject | None) -> list[Change]:
    """The changes from one document to another; None: there is none."""
    if before is None or after is None:
        return list(_changes(_ABSENT if before is None else before, _ABSENT if after is None else after, ""))
    return [
        change
        for key in _keys(before, after)
        for change in _of_field(before.get(key, _ABSENT), after.get(key, _ABSENT), pointer([key]))
    ]


def is_masked(value: Any) -> bool:
    """Whether the value is what is shown in place of a secret: `{"set": true}`, perhaps with `"changed": true`."""
    return isinstance(value, dict) and value.get("set") is True and value.keys() <= {"set", "changed"}


def _of_field(before: Any, after: Any, at: str) -> list[Change]:
    found: list[Change] = []
    text = 0
    for change in _changes(before, after, at):
        found.append(change)
        text += len(change.pointer)
        if len(found) > _MOST or (text > _MOST_TEXT and len(found) > 1):
            return [Change(op="replace", pointer=at, before=before, after=after)]
    return found


def _changes(before: Any, after: Any, at: str) -> Iterator[Change]:
    if before is _ABSENT:
        if after is not _ABSENT:
            yield Change(op="add", pointer=at, after=after)
    elif after is _ABSENT:
        yield Change(op="remove", pointer=at, before=before)
    elif isinstance(before, dict) and isinstance(after, dict) and not (is_masked(before) or is_masked(after)):
        for key in _keys(before, after):
            yield from _changes(before.get(key, _ABSENT), after.get(key, _ABSENT), pointer([key], at))
    elif not _equal(before, after):
        yield Change(op="replace", pointer=at, before=before, after=after)


def _keys(before: JsonObject, after: JsonObject) -> list[str]:
    return [*before, *(key for key in after if key not in before)]


def _equal(before: Any, after: Any) -> bool:
    if type(before) is type(after) and isinstance(before, str | int | None):
        return bool(before == after)
    return _text(before) == _text(after)


def _text(value: Any) -> str:
    # For Python 1, 1.0 and True are equal; in JSON they are three values.
    return json.dumps(value, sort_keys=True)
