"""Scalars that GraphQL does not have."""

from typing import Any

from graphene import Scalar  # type: ignore[import-untyped]  # graphene has no types
from graphql import (
    BooleanValueNode,
    EnumValueNode,
    FloatValueNode,
    GraphQLError,
    IntValueNode,
    ListValueNode,
    NullValueNode,
    ObjectValueNode,
    StringValueNode,
    ValueNode,
    VariableNode,
)


class Json(Scalar):  # type: ignore[misc]  # graphene has no types
    """Any JSON value, for what has a form of its own (`parameters`, `additionalInfo`). Variables may stand within it."""

    class Meta:
        name = "JSON"

    @staticmethod
    def serialize(value: Any) -> Any:
        """As it is."""
        return value

    @staticmethod
    def parse_value(value: Any) -> Any:
        """As it is."""
        return value

    @staticmethod
    def parse_literal(node: ValueNode, variables: dict[str, Any] | None = None) -> Any:
        """A value written out in the query."""
        match node:
            case StringValueNode() | BooleanValueNode():
                return node.value
            case IntValueNode():
                return _number(int, node.value)
            case FloatValueNode():
                return _number(float, node.value)
            case NullValueNode():
                return None
            case ListValueNode():
                return [Json.parse_literal(part, variables) for part in node.values]
            case ObjectValueNode():
                return {field.name.value: Json.parse_literal(field.value, variables) for field in node.fields}
            case VariableNode():
                # No variable has a value during validation. During execution one without a value is null; `JSON!` requires one.
                return (variables or {}).get(node.name.value)
            case EnumValueNode():
                raise GraphQLError(f"{node.value} is no JSON; write text in double quotes", node)
        raise GraphQLError("this is no JSON", node)


def _number(kind: type[int] | type[float], text: str) -> int | float:
    if len(text) > 40:  # Python itself refuses integers of more than 4,300 digits, with an unhelpful message
        raise GraphQLError(f"{text[:20]}… is too long a number")
    return kind(text)
