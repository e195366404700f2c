"""The GraphQL types of answers that are structs: a field of the struct is a field of the type."""

from functools import cache
from inspect import getdoc
from typing import Any, get_args, get_origin

import graphene  # type: ignore[import-untyped]  # graphene has no types
import msgspec

from control_api.graphql.definition_types import object_type
from control_api.graphql.scalars import Json


@cache
def struct_type(struct: type[msgspec.Struct]) -> Any:
    """The GraphQL type of a struct."""
    return object_type(struct.__name__, getdoc(struct) or "", struct_fields(struct))


def struct_fields(struct: type[msgspec.Struct]) -> dict[str, Any]:
    """The fields of that type."""
    return {field.name: _field(field.type) for field in msgspec.structs.fields(struct)}


def _field(annotation: Any) -> Any:
    if get_origin(annotation) is list:
        (item,) = get_args(annotation)
        is_struct = isinstance(item, type) and issubclass(item, msgspec.Struct)
        return graphene.List(graphene.NonNull(struct_type(item) if is_struct else graphene.String))
    if get_origin(annotation) is dict:
        return Json()
    kinds = get_args(annotation) or (annotation,)
    if bool in kinds:
        return graphene.Boolean()
    return graphene.BigInt() if int in kinds else graphene.String()
