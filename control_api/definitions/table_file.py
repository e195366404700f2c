"""TableFile: the rows of a mapping's table as a file has them, CSV or YAML.

    service,severity,receiver,team        the first line names the columns: that of the key, then what is set
    billing,critical,alice,payments       `severity`, `title`, `receiver` are fields of the message; any other is a label
    search,,,infra                        an empty cell sets nothing

A YAML file holds an object of rows, as `rows` has them. Where a file may lie is `control_api.definitions.includes`'s.
"""

import csv
import io
from collections.abc import Iterator, Sequence
from typing import Any

import yaml

from control_api.definitions import yaml_core
from control_api.definitions.yaml_core import SCALARS, TAG
from notifier.definition.mapping_spec import MAX_ROWS
from notifier.errors import FieldError, InputError
from notifier.one_line import one_line
from notifier.record import JsonObject

_FIELDS = ("title", "severity", "receiver")  # columns that are no labels
_LABEL = "labels."  # in front of a label that is called like a field
_DEPTH = 4  # of a YAML file: rows, a row, its labels, a value
_AT = "/table/file"


def read_table(name: str, text: str, key: Any) -> JsonObject:
    """`key` and `rows` of the file of that name. Raises InputError that names the line."""
    try:
        if name.lower().endswith((".yaml", ".yml")):
            return {"key": key, "rows": _yaml_rows(text)}
        return _csv_table(text, key)
    except _Fault as fault:
        raise InputError(FieldError(_AT, f"{name!r}{fault}")) from None


class _Fault(Exception):
    """What is wrong with a file, to be read behind its name."""


# --- CSV ---


def _csv_table(text: str, key: Any) -> JsonObject:
    first = text.partition("\n")[0]
    delimiter = next((each for each in ",;\t" if each in first), ",")
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    header: list[str] = []
    rows: JsonObject = {}
    try:
        for cells in lines:
            cells = [cell.strip() for cell in cells]
            if not any(cells):
                continue
            if not header:
                header = cells
                key = _key_of(header, key)
                continue
            _take_row(rows, header, key, cells, lines.line_num)
    except csv.Error as error:
        raise _Fault(f", line {lines.line_num}: is not CSV: {error}") from None
    if not header:
        raise _Fault(" is empty; its first line names the columns")
    return {"key": key, "rows": rows}


def _key_of(header: Sequence[str], key: Any) -> Any:
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise _Fault(f", line 1: names the column {twice[0]!r} twice")
    if "" in header:
        raise _Fault(f", line 1: the column {header.index('') + 1} has no name")
    if key is not None and key not in header:
        raise _Fault(f", line 1: has no column {key!r}, which `key` names")
    return header[0] if key is None else key


def _take_row(rows: JsonObject, header: Sequence[str], key: str, cells: Sequence[str], line: int) -> None:
    if len(cells) != len(header):
        raise _Fault(f", line {line}: has {len(cells)} cells, and the first line {len(header)}")
    row: JsonObject = {}
    for column, cell in zip(header, cells, strict=True):
        if column == key or not cell:
            continue
        if column in _FIELDS:
            row[column] = cell
        else:
            row.setdefault("labels", {})[column.removeprefix(_LABEL)] = cell
    value = cells[header.index(key)]
    if value in rows:
        raise _Fault(f", line {line}: has a row for {value[:80]!r} already")
    if len(rows) == MAX_ROWS:
        raise _Fault(f" has more than {MAX_ROWS} rows; split it into several mappings")
    rows[value] = row


# --- YAML ---


def _yaml_rows(text: str) -> Any:
    try:
        roots = list(yaml_core.compose(text))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f", line {mark.line + 1}" if mark is not None else ""
        raise _Fault(f"{line}: is not YAML: {error.problem}") from None
    except yaml.YAMLError as error:
        raise _Fault(f": is not YAML: {one_line(error)}") from None
    if len(roots) != 1 or not isinstance(roots[0], yaml.MappingNode):
        raise _Fault(" must be one object with a row for each value of the label")
    return _value(roots[0], 1)


def _value(node: yaml.Node, depth: int) -> Any:
    if depth > _DEPTH:
        raise _Fault(f", line {node.start_mark.line + 1}: is nested too deeply for a row")
    if isinstance(node, yaml.ScalarNode):
        read = SCALARS.get(node.tag.removeprefix(TAG))
        try:
            return node.value if read is None else read(node.value)
        except (ValueError, KeyError):
            raise _Fault(f", line {node.start_mark.line + 1}: {node.value[:40]!r} cannot be read") from None
    if isinstance(node, yaml.SequenceNode):
        return [_value(part, depth + 1) for part in node.value]
    found: JsonObject = {}
    for name, line, value in _pairs(node):
        if name in found:
            raise _Fault(f", line {line}: {name[:80]!r} is there already")
        if len(found) == MAX_ROWS:
            raise _Fault(f" has more than {MAX_ROWS} rows; split it into several mappings")
        found[name] = _value(value, depth + 1)
    return found


def _pairs(node: yaml.Node) -> Iterator[tuple[str, int, yaml.Node]]:
    for key, value in node.value:
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode) or key.tag != TAG + "str":
            raise _Fault(f", line {line}: a name must be text; put it in quotes")
        yield key.value, line, value
