"""Result: the rows that Redash answers. No I/O."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from notifier import Retryable
from producers.rows import Told

_MAX_COLUMNS = 1000


@dataclass(frozen=True, kw_only=True)
class Result:
    """The rows of a result. Each is spread over the columns when it is asked for: few bytes may be many rows of many columns."""

    columns: list[str]
    rows: list[object]  # as Redash gives them

    def all(self) -> Iterator[Sequence[object]]:
        """The rows with a value for every column."""
        return map(self._spread, self.rows)

    def behind(self, told: Told) -> Iterator[Sequence[object]]:
        """The rows from the cursor on, in the order of its column. One without a number or a text there is left out.

        The column is found as `Rows` finds it, which refuses one that is not there.
        """
        folded = (name for name in self.columns if name.casefold() == told.column.casefold())
        column = told.column if told.column in self.columns else next(folded, None)
        if column is None:
            return self.all()
        keys = ((_order(row.get(column)), row) for row in self.rows if isinstance(row, dict))
        ordered = sorted(((key, row) for key, row in keys if key is not None), key=lambda pair: pair[0])
        last = _order(told.value)
        return (
            self._spread(row) for key, row in ordered if last is None or (key > last if told.is_past else key >= last)
        )

    def _spread(self, row: object) -> Sequence[object]:
        """A row that is no object is left empty, and so shows that it is there."""
        return [row.get(name) if isinstance(row, dict) else None for name in self.columns]


def read_result(found: object) -> Result:
    """The result in `query_result`. Raises Retryable where it is none. A large one takes seconds."""
    data = found.get("data") if isinstance(found, dict) else None
    rows = data.get("rows") if isinstance(data, dict) else None
    if not isinstance(data, dict) or not isinstance(rows, list):
        raise Retryable("server_error", "Redash's answer holds no result with rows")
    given = data.get("columns")
    named = [column.get("name") for column in given if isinstance(column, dict)] if isinstance(given, list) else []
    columns = dict.fromkeys(name for name in named if isinstance(name, str))
    for row in rows:
        if isinstance(row, dict) and len(columns) < _MAX_COLUMNS:
            columns |= dict.fromkeys(name for name in row if isinstance(name, str))
    return Result(columns=list(columns)[:_MAX_COLUMNS], rows=rows)


def _order(value: object) -> tuple[int, float, str] | None:
    """By what values are ordered: numbers before texts. None: it is neither."""
    if isinstance(value, str):
        return 1, 0.0, value
    if isinstance(value, int | float) and not isinstance(value, bool) and value == value:
        return 0, value, ""
    return None
