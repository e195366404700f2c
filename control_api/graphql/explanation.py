"""`explain`: why a message reached or did not reach each person. Its arguments are the fields of REST's body."""

from typing import Any

import graphene  # type: ignore[import-untyped]  # graphene has no types
from pydantic import ValidationError

from control_api.explain.explanation import Explanation
from control_api.explain.query import ExplainQuery
from control_api.graphql.context import GraphQLContext, guarded
from control_api.graphql.definition_types import object_type
from control_api.graphql.scalars import Json
from control_api.graphql.structs import struct_fields, struct_type
from notifier.errors import InputError
from notifier.record import JsonObject
from notifier.validation import field_errors

_JSON = ("message", "draft")


def explain_field(attempt: Any, dead_letter: Any) -> Any:
    """The root field; the types of attempts and dead letters are those of the lists."""
    explanation = struct_type(Explanation)
    fields = {
        **struct_fields(Explanation),
        "message": Json(description="The message."),
        "origin": Json(description="Where it lies on its topic, and when it came."),
        "as_of": graphene.String(description="Whose definitions count: `then`, `now`, or a time."),
        "revision": graphene.BigInt(description="Of those definitions."),
        "now": graphene.Field(explanation, description="The same by the definitions of now; null: the answer is that."),
        "attempts": graphene.List(graphene.NonNull(attempt), description="What really happened, the newest first."),
        "dead_letters": graphene.List(graphene.NonNull(dead_letter), description="What was given up of it."),
    }
    arguments = {
        name: graphene.Argument(Json if name in _JSON else graphene.String, description=field.description)
        for name, field in ExplainQuery.model_fields.items()
    }
    return graphene.Field(
        object_type("MessageExplanation", "Why a message reached or did not reach each person.", fields),
        args=arguments,
        resolver=guarded("read", _explain),
        description="Why a message reached or did not reach each person.",
    )


async def _explain(root: Any, context: GraphQLContext, **arguments: Any) -> JsonObject:
    given = {name: value for name, value in arguments.items() if value is not None}
    try:
        query = ExplainQuery.model_validate(given)
    except ValidationError as error:
        raise InputError(field_errors(error, given)) from None
    context.spend(1)
    async with context.turn:
        answer = await context.parts.explaining.answer(query, context.actor)
    context.spend(sum(1 + len(part["recipients"]) for part in answer["configurations"]))
    return answer
