"""RecordFields: the fields of a record, read from its struct, for its table, its JSON answer and its GraphQL type.

The struct in `notifier/` is the one declaration. A field added there gets a column (`columns`), is stored (`row`), is
answered (`answer`) and is in GraphQL (`control_api.graphql.record_types`), each by the type of the field; only the migration
that adds the column is written by hand. `Differs` states an exception; `control_api.models.history` has those of all records.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

import msgspec
from msgspec import inspect
from sqlalchemy import Boolean, Column, Float, Integer, String, Text
from sqlalchemy.types import TypeEngine

from control_api.models.base import Json, Number
from notifier.record import JsonObject, rfc3339
from notifier.utc import Utc


class FieldType(Enum):
    """What a field holds, as far as columns, JSON and GraphQL differ by it."""

    TEXT = auto()
    WORD = auto()  # of a closed vocabulary
    BOOLEAN = auto()
    INTEGER = auto()  # 32 bits
    BIG_INTEGER = auto()  # 64 bits
    FLOAT = auto()
    TIME = auto()
    OBJECT = auto()  # a struct
    LIST = auto()  # of structs


_TYPES: dict[type[inspect.Type], FieldType] = {
    inspect.StrType: FieldType.TEXT,
    inspect.LiteralType: FieldType.WORD,
    inspect.BoolType: FieldType.BOOLEAN,
    inspect.IntType: FieldType.INTEGER,
    inspect.FloatType: FieldType.FLOAT,
    inspect.DateTimeType: FieldType.TIME,
    inspect.StructType: FieldType.OBJECT,
    inspect.VarTupleType: FieldType.LIST,
}
_COLUMN_TYPES: dict[FieldType, TypeEngine[Any]] = {
    FieldType.TEXT: Text(),
    FieldType.WORD: String(20),
    FieldType.BOOLEAN: Boolean(),
    FieldType.INTEGER: Integer(),
    FieldType.BIG_INTEGER: Number,
    FieldType.FLOAT: Float(),
    FieldType.TIME: Utc(),
    FieldType.OBJECT: Json,
    FieldType.LIST: Json,
}


@dataclass(frozen=True, kw_only=True)
class Differs:
    """Where one field differs from its struct. A default means that the struct decides."""

    holds: FieldType | None = None
    column: str | None = None  # the column's name
    column_type: TypeEngine[Any] | None = None
    stored: bool = True  # False: neither stored nor answered
    answered: bool = True  # False: a column that only conditions use
    added: Any = None  # the type of a field that answers have and the record has not
    after: str | None = None  # the field before it in answers
    after_in_graphql: str | None = None  # the field before it in GraphQL, where that is another one
    description: str | None = None  # in GraphQL
    items: "Mapping[str, Differs] | None" = None  # of the structs that the field holds


@dataclass(frozen=True, kw_only=True)
class RecordField:
    """One field of a record, with its exceptions applied."""

    name: str  # in the record and in JSON; GraphQL has it in camelCase
    holds: FieldType
    nullable: bool
    column: str | None  # None: not stored
    column_type: TypeEngine[Any]
    answered: bool
    description: str | None  # in GraphQL
    items: "RecordFields | None"  # of the struct in an OBJECT or LIST


class RecordFields:
    """The fields of one class of records, in the order of answers."""

    def __init__(self, record: type[msgspec.Struct], exceptions: Mapping[str, Differs] | None = None) -> None:
        """Raises TypeError for a field that no column type fits, ValueError for an exception to a field that is not there."""
        self.record = record
        exceptions = exceptions or {}
        # `v` is the version of the schema. Every row has the newest one.
        types = {field.name: field.type for field in msgspec.structs.fields(record) if field.name != "v"}
        types |= {name: differs.added for name, differs in exceptions.items() if differs.added is not None}
        for name in exceptions.keys() - types.keys():
            raise ValueError(f"{record.__name__} has no field {name!r}")
        order = _moved(types, {name: differs.after for name, differs in exceptions.items()})
        found = (_field(name, types[name], exceptions.get(name, Differs())) for name in order)
        self.fields = tuple(field for field in found if field is not None)
        self._stored = tuple(
            (field.name, field.column, _conversion(field)) for field in self.fields if field.column is not None
        )
        self.answered = tuple(field for field in self.fields if field.answered)
        by_name = {field.name: field for field in self.answered}
        in_graphql = _moved(by_name, {name: differs.after_in_graphql for name, differs in exceptions.items()})
        self.in_graphql = tuple(by_name[name] for name in in_graphql)

    def columns(self) -> list[Column[Any]]:
        """New columns, for a table of such records."""
        return [
            Column(field.column, field.column_type, nullable=field.nullable)
            for field in self.fields
            if field.column is not None
        ]

    def row(self, record: msgspec.Struct) -> dict[str, Any]:
        """The values of the columns, by the columns' names."""
        row = {column: getattr(record, name) for name, column, _ in self._stored}
        for _, column, convert in self._stored:
            if convert is not None and row[column] is not None:
                row[column] = convert(row[column])
        return row

    def answer(self, row: object) -> JsonObject:
        """The JSON of a row. An added field is null: its value is the caller's to set."""
        return {
            field.name: None if field.column is None else _in_json(field, getattr(row, field.column))
            for field in self.answered
        }

    def document(self, struct: msgspec.Struct) -> JsonObject:
        """The JSON of a struct that another one holds, as its column stores it."""
        row = self.row(struct)
        return {field.name: _in_json(field, row[field.column]) for field in self.answered if field.column is not None}


def without_nul(text: str) -> str:
    """The text with every NUL shown as a symbol: any Kafka client may write one, and PostgreSQL cannot store it."""
    return text.replace("\0", "\N{SYMBOL FOR NULL}")


def _conversion(field: RecordField) -> Callable[[Any], Any] | None:
    """What makes the column's value of the field's; None: the two are the same."""
    items = field.items
    if items is not None and field.holds is FieldType.LIST:
        return lambda structs: [items.document(struct) for struct in structs]
    if items is not None:
        return items.document
    return without_nul if field.holds is FieldType.TEXT else None


def _in_json(field: RecordField, value: Any) -> Any:
    return rfc3339(value) if field.holds is FieldType.TIME and value is not None else value


def _moved(names: Iterable[str], after: Mapping[str, str | None]) -> list[str]:
    """The names in order, each key of `after` moved directly behind its value."""
    order = list(names)
    for name, before in after.items():
        if before is not None:
            order.remove(name)
            order.insert(order.index(before) + 1, name)
    return order


def _field(name: str, annotation: Any, differs: Differs) -> RecordField | None:
    """The field of that annotation; None: it is not stored."""
    if not differs.stored:
        return None
    declared, nullable, description = _peeled(inspect.type_info(annotation))
    holds = differs.holds or _TYPES.get(type(declared))
    struct = declared.item_type if isinstance(declared, inspect.VarTupleType) else declared
    if holds is None or (holds is FieldType.LIST and not isinstance(struct, inspect.StructType)):
        raise TypeError(f"no column type fits the field {name!r}: {annotation}")
    return RecordField(
        name=name,
        holds=holds,
        nullable=nullable,
        column=None if differs.added else differs.column or name,
        column_type=differs.column_type or _COLUMN_TYPES[holds],
        answered=differs.answered,
        description=differs.description or description,
        items=RecordFields(struct.cls, differs.items) if isinstance(struct, inspect.StructType) else None,
    )


def _peeled(type_: inspect.Type) -> tuple[inspect.Type, bool, str | None]:
    """The type itself, whether None is allowed beside it, and its description (of `msgspec.Meta`)."""
    nullable, description = False, None
    while True:
        if isinstance(type_, inspect.Metadata):
            description = (type_.extra_json_schema or {}).get("description", description)
            type_ = type_.type
        elif isinstance(type_, inspect.UnionType) and type_.includes_none and len(type_.types) == 2:
            nullable = True
            (type_,) = (part for part in type_.types if not isinstance(part, inspect.NoneType))
        else:
            return type_, nullable, description
