"""Avro: reads values by a schema, which both come from others. No I/O.

fastavro reads in C and knows no limits: values of a schema that refers to itself overflow the stack of the process, a list of
values without bytes has as many members as its length says, and a long decimal holds up all threads for minutes. So schemas are
looked through before they are used. Names are written out with each value, so that few bytes may become many: what a value is as
JSON is bounded, too.
"""

import io
from collections.abc import Callable, Sequence
from typing import Any

import fastavro
import msgspec
from fastavro.read import LOGICAL_READERS

from notifier.errors import InvalidRecord
from notifier.one_line import one_line

format_name = "avro"
_MAX_DEPTH = 50
_MAX_DECIMAL_BYTES = 1000
_MAX_CHARACTERS = 16_000_000  # of a value as JSON, about
_PRIMITIVES = frozenset({"null", "boolean", "int", "long", "float", "double", "bytes", "string"})
_NAMED = frozenset({"record", "error", "enum", "fixed"})


class AvroSchema:
    """An Avro schema with those that it refers to."""

    format = format_name

    def __init__(self, texts: Sequence[tuple[str, str]]) -> None:
        """`texts`: names and JSON of schemas, the last one is that of the values. Raises InvalidRecord."""
        names: dict[str, Any] = {}
        checked = _Checked()
        schema: Any = None
        for _, text in texts:
            try:
                raw = msgspec.json.decode(text)
            except (msgspec.DecodeError, UnicodeEncodeError, RecursionError) as error:
                raise InvalidRecord(f"it is no JSON: {one_line(error, 200)}") from None
            checked.check(raw)
            try:
                schema = fastavro.parse_schema(raw, named_schemas=names)
            except Exception as error:  # its own errors, and what odd schemas make of its code
                raise InvalidRecord(f"it is no Avro schema: {one_line(error, 200)}") from None
        self._schema = schema

    def read(self, data: bytes) -> object:
        """The value as parsed JSON: bytes in base64, times as RFC 3339, decimals as text. Raises InvalidRecord."""
        source = io.BytesIO(data)
        try:
            value = fastavro.schemaless_reader(source, self._schema, None)
            found: object = msgspec.to_builtins(value, str_keys=True)
        except Exception as error:  # whatever odd bytes make of its code
            words = one_line(error, 200)
            raise InvalidRecord(f"does not fit its Avro schema: {type(error).__name__}: {words}") from None
        if rest := len(data) - source.tell():
            raise InvalidRecord(f"does not fit its Avro schema: {rest} bytes are left over")
        if _is_long(found):
            raise InvalidRecord(f"has more than {_MAX_CHARACTERS:,} characters as JSON, with the names of its schema")
        return found


def _bounded(reader: Callable[..., Any]) -> Callable[..., Any]:
    """Reads decimals that a number can have; the time for others grows with the square of their length."""

    def read(data: bytes, *schemas: Any) -> Any:
        if len(data) > _MAX_DECIMAL_BYTES:
            raise ValueError(f"a decimal of {len(data)} bytes; {_MAX_DECIMAL_BYTES} are read")
        return reader(data, *schemas)

    return read


for _kind in ("bytes-decimal", "fixed-decimal"):
    LOGICAL_READERS[_kind] = _bounded(LOGICAL_READERS[_kind])


def _is_long(value: object) -> bool:
    """Whether a value is longer as JSON than it may be, about."""
    left = _MAX_CHARACTERS
    rest: list[object] = [value]
    while rest and left >= 0:
        one = rest.pop()
        left -= len(one) if isinstance(one, str) else 1
        if isinstance(one, dict):
            left -= sum(map(len, one))
            rest += one.values()
        elif isinstance(one, list):
            rest += one
    return left < 0


class _Checked:
    """Looks schemas through. Raises InvalidRecord."""

    def __init__(self) -> None:
        self._depths: dict[str, int] = {}  # of named types that were looked through
        self._open: set[str] = set()  # named types that are being looked through
        self._empty: set[str] = set()  # named types whose values have no bytes, which only a union may hold

    def check(self, schema: object) -> None:
        """Looks through one schema; those that it refers to came before."""
        self._depth(schema, "", within=0, in_union=True)

    def _depth(self, schema: object, space: str, *, within: int, in_union: bool = False) -> int:
        """How deep values of a schema are nested."""
        if within > _MAX_DEPTH:
            raise InvalidRecord(f"it is nested more than {_MAX_DEPTH} levels deep")
        if isinstance(schema, list):
            return 1 + max((self._depth(one, space, within=within + 1, in_union=True) for one in schema), default=0)
        if isinstance(schema, str):
            return self._named(schema, space, in_union, within)
        if not isinstance(schema, dict):
            raise InvalidRecord("it is no Avro schema: there is something else than names, lists and objects")
        kind = schema.get("type")
        if kind in ("array", "map"):
            place = "items" if kind == "array" else "values"
            return 1 + self._depth(schema.get(place), space, within=within + 1)
        if isinstance(kind, str) and kind in _NAMED:
            return self._defined(schema, kind, space, within, in_union)
        return self._depth(kind, space, within=within + 1, in_union=in_union)

    def _named(self, name: str, space: str, in_union: bool, within: int) -> int:
        if name in _PRIMITIVES:
            if name == "null" and not in_union:
                raise InvalidRecord("it has a null outside of a union, of which values have any number in no bytes")
            return 1
        full = name if "." in name or not space else f"{space}.{name}"
        if {full, name} & self._open:
            raise InvalidRecord(f"it refers to itself by {one_line(name, 100)}, and such schemas are not read")
        if {full, name} & self._empty and not in_union:
            raise InvalidRecord(
                f"it has {one_line(name, 100)} outside of a union, of which values have any number in no bytes"
            )
        depth = self._depths.get(full, self._depths.get(name, 1))
        if within + depth > _MAX_DEPTH:
            raise InvalidRecord(f"it is nested more than {_MAX_DEPTH} levels deep")
        return depth

    def _defined(self, schema: dict[str, Any], kind: str, space: str, within: int, in_union: bool) -> int:
        name, own_space = str(schema.get("name")), schema.get("namespace", space)
        if "." in name:
            own_space = name.rpartition(".")[0]
        elif own_space:
            name = f"{own_space}.{name}"
        depth = 1
        if kind in ("record", "error"):
            fields = schema.get("fields")
            if not isinstance(fields, list) or not (fields or in_union):
                raise InvalidRecord("it has a record without fields, of which values have any number in no bytes")
            if not fields:
                self._empty.add(name)
            self._open.add(name)
            for field in fields:
                given = field.get("type") if isinstance(field, dict) else None
                depth = max(depth, 1 + self._depth(given, str(own_space), within=within + 1))
            self._open.discard(name)
        elif kind == "fixed" and not schema.get("size"):
            if not in_union:
                raise InvalidRecord("it has a fixed of no bytes, of which values have any number")
            self._empty.add(name)
        self._depths[name] = depth
        return depth
