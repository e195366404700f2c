"""Told: how far rows were told, by a column that grows. No I/O.

Several rows may have the same value, and one of them may come later than the others. So the rows of the last value are asked for
again, and a short sum of each one that was told is kept.
"""

import base64
import hashlib
from collections.abc import Callable, Mapping
from datetime import date, datetime
from decimal import Decimal
from unicodedata import combining, normalize
from uuid import UUID

from notifier import JsonObject
from notifier.errors import FieldError, InputError

MAX_SUMS = 20_000  # of one value; with more than that no other row of the value is told
_Value = int | float | Decimal | str | datetime | date | UUID | bytes
_SUM_BYTES = 9


class Told:
    """What was told of the rows of a query, as it is kept on `cursors`."""

    def __init__(self, column: str, state: JsonObject | None) -> None:
        """`state`: as `state` gave it before. One of another column, and what cannot be read, is none."""
        self.column = column
        self.value: _Value | None = None  # of the last row; None: nothing was told
        self._group = ""
        self._sums: set[str] = set()
        self._changed = False
        if state is not None and state.get("column") == column:
            self._read(state)

    @property
    def is_past(self) -> bool:
        """Whether only rows that are greater than `value` are asked for, and not those that are equal."""
        return len(self._sums) >= MAX_SUMS

    @property
    def again(self) -> int:
        """How many rows are given again that were told."""
        return 0 if self.is_past else len(self._sums)

    def has(self, sum_: str) -> bool:
        """Whether a row was told."""
        return sum_ in self._sums

    def add(self, value: object, sum_: str) -> None:
        """Notes a row. Raises InputError where the column's value is nothing that grows."""
        if isinstance(value, bool) or not isinstance(value, _Value):
            kind = "null" if value is None else type(value).__name__
            detail = f"{self.column!r} has a value that is no number, text or time, but {kind}"
            raise InputError(FieldError("/parameters/cursor_column", detail))
        group = _group_of(value)
        if group != self._group:
            self._group = group
            self._sums = set()
        self.value = value
        self._sums.add(sum_)
        self._changed = True

    def state(self) -> JsonObject | None:
        """What is to be kept; None: nothing new was told."""
        if self.value is None or not self._changed:
            return None
        return {
            "column": self.column,
            "kind": _kind_of(self.value),
            "value": _text_of(self.value),
            "told": sorted(self._sums),
        }

    def _read(self, state: JsonObject) -> None:
        try:
            value = _READERS[state["kind"]](state["value"])
            sums = {sum_ for sum_ in state["told"] if isinstance(sum_, str)}
        except (KeyError, TypeError, ValueError, ArithmeticError):
            return  # not one of ours, or of a later version
        self.value, self._sums, self._group = value, sums, _group_of(value)


def sum_of(text: str) -> str:
    """A short sum of what makes a row this one."""
    digest = hashlib.blake2b(text.encode(errors="replace"), digest_size=_SUM_BYTES).digest()
    return base64.urlsafe_b64encode(digest).decode()


_READERS: Mapping[str, Callable[[str], _Value]] = {
    "int": int,
    "float": float,
    "decimal": Decimal,
    "text": str,
    "time": datetime.fromisoformat,
    "date": date.fromisoformat,
    "uuid": UUID,
    "bytes": bytes.fromhex,
}


def _kind_of(value: _Value) -> str:
    match value:
        case datetime():
            return "time"
        case int() | float() | Decimal() | date() | bytes():
            return type(value).__name__.lower()
        case UUID():
            return "uuid"
        case _:
            return "text"


def _text_of(value: _Value) -> str:
    match value:
        case bytes():
            return value.hex()
        case date():
            return value.isoformat()
        case _:
            return str(value)


def _group_of(value: _Value) -> str:
    """The same text for values that a database may take for equal: 1 and 1.0, and texts by its collation."""
    match value:
        case int() | float() | Decimal():
            try:
                number = Decimal(value)
                return (
                    f"n{number.normalize():f}" if number.is_finite() and abs(number.adjusted()) < 100 else f"n{number}"
                )
            except (ArithmeticError, ValueError):
                return f"n{value!r}"
        case str():
            letters = [letter for letter in normalize("NFKD", value).casefold() if not combining(letter)]
            return "t" + "".join(letters).rstrip()
        case _:
            return _kind_of(value) + _text_of(value)
