"""Result: the rows that Redash answers. No I/O."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from notifier import Retryable
from producers.rows import Told

_MAX_COLUMNS = 1000


@dataclass(frozen=True, kw_only=True)
class Result:
    """The rows of a result, each with a value for every column."""

    columns: list[str]
    rows: list[list[object]]

    def behind(self, told: Told) -> Iterator[Sequence[object]]:
        """The rows from the cursor on, in the order of its column. One without a number or a text there is left out.

        A column that is not there is `Rows`' to refuse.
        """
        place = next((number for number, name in enumerate(self.columns) if name == told.column), None)
        if place is None:
            return iter(self.rows)
        ordered = [(key, row) for row in self.rows if (key := _order(row[place])) is not None]
        ordered.sort(key=lambda pair: pair[0])
        last = _order(told.value)
        return (row for key, row in ordered if last is None or (key > last if told.is_past else key >= last))


def read_result(found: object) -> Result:
    """The result in `query_result`. Raises Retryable where it is none.

    A row that is no object is left empty, and so shows that it is there.
    """
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
    return Result(
        columns=list(columns),
        rows=[[row.get(name) for name in columns] if isinstance(row, dict) else [None] * len(columns) for row in rows],
    )


def _order(value: object) -> tuple[int, float, str] | None:
    """By what values are ordered: numbers before texts. None: it is neither."""
    if isinstance(value, str):
        return 1, 0.0, value
    if isinstance(value, int | float) and not isinstance(value, bool) and value == value:
        return 0, value, ""
    return None
