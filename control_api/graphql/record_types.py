"""The GraphQL types of records that Notifier writes itself (attempts, dead letters, runs, ticks), and of plugin types.

Attempts, dead letters and runs have the fields of their structs, with the exceptions of `control_api.models.history`.
"""

from inspect import getdoc
from typing import Any

import graphene  # type: ignore[import-untyped]  # graphene has no types

from control_api.graphql.definition_types import object_type
from control_api.graphql.scalars import Json
from control_api.models.history import ANSWER, ATTEMPT, DEAD_LETTER, RUN
from control_api.models.record_fields import FieldType, RecordField, RecordFields

_SCALARS: dict[FieldType, Any] = {
    FieldType.TEXT: graphene.String,
    FieldType.WORD: graphene.String,
    FieldType.BOOLEAN: graphene.Boolean,
    FieldType.INTEGER: graphene.Int,
    FieldType.BIG_INTEGER: graphene.BigInt,
    FieldType.FLOAT: graphene.Float,
    FieldType.TIME: graphene.String,
    FieldType.OBJECT: Json,
}


def attempt() -> Any:
    """The type of an attempt."""
    return record_type(ATTEMPT, "One try at a delivery, or why a message was not delivered.")


def dead_letter() -> Any:
    """The type of a dead letter."""
    return record_type(DEAD_LETTER, "A record or a delivery that was given up.")


def answer() -> Any:
    """The type of an answer."""
    return record_type(ANSWER, "That somebody pressed a button under a message.")


def run() -> Any:
    """The type of a run."""
    return record_type(RUN, "All the work that one tick causes, and how far it is.")


def tick() -> Any:
    """The type of a tick."""
    return object_type("Tick", "That a configuration is due.", _texts("configuration", "scheduled_at", "trigger"))


def plugin() -> Any:
    """The type of a plugin type."""
    fields = {
        **_texts("kind", "type", "world", "description"),
        "parameters": Json(description="The JSON Schema of its parameters."),
    }
    return object_type("Plugin", "A type of producers, filters or consumers.", fields)


def token() -> Any:
    """The type of a token."""
    fields = {
        **_texts(
            "id", "name", "team", "producer", "created_at", "created_by", "expires_at", "last_used_at", "revoked_at"
        ),
        "scopes": graphene.List(graphene.NonNull(graphene.String), required=True),
    }
    return object_type("Token", "A token that programs call the API with, without its text.", fields)


def record_type(fields: RecordFields, description: str) -> Any:
    """The type of a record. Any of its fields may be null, and it has the name of the record's class."""
    return object_type(fields.record.__name__, description, {field.name: _field(field) for field in fields.in_graphql})


def _field(field: RecordField) -> Any:
    if field.holds is FieldType.LIST and field.items is not None:
        item = record_type(field.items, getdoc(field.items.record) or "")
        return graphene.List(graphene.NonNull(item), description=field.description)
    return _SCALARS[field.holds](description=field.description)


def _texts(*names: str) -> dict[str, Any]:
    return {name: graphene.String() for name in names}
