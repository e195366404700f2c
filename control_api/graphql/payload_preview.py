"""`producerPreview`: which messages a payload would become. Its arguments are the name and the fields of REST's body."""

from typing import Any

import graphene  # type: ignore[import-untyped]  # graphene has no types
from pydantic import ValidationError

from control_api.graphql.arguments import text_argument
from control_api.graphql.context import GraphQLContext, guarded
from control_api.graphql.definition_types import object_type
from control_api.graphql.scalars import Json
from control_api.preview.payload_preview import PayloadQuery, preview_payload
from notifier.errors import InputError
from notifier.record import JsonObject
from notifier.validation import field_errors


def payload_preview_field() -> Any:
    """The root field."""
    fields = {
        "messages": graphene.List(graphene.NonNull(Json), required=True, description="The first 50."),
        "problems": graphene.List(
            graphene.NonNull(graphene.String),
            required=True,
            description="What was found and did not fit, or was not found.",
        ),
        "omitted": graphene.Int(required=True, description="Further messages."),
    }
    arguments = {
        field: graphene.Argument(Json, description=model.description)
        for field, model in PayloadQuery.model_fields.items()
    }
    return graphene.Field(
        object_type("PayloadPreview", "The messages of a payload.", fields),
        args={"name": text_argument("The producer's name.", required=True), **arguments},
        resolver=guarded("read", _preview),
        description="Which messages a producer with a mapping would make of a payload; nothing is written.",
    )


async def _preview(root: Any, context: GraphQLContext, name: str, **arguments: Any) -> JsonObject:
    given = {"payload": None} | {field: value for field, value in arguments.items() if value is not None}
    try:
        query = PayloadQuery.model_validate(given)
    except ValidationError as error:
        raise InputError(field_errors(error, given)) from None
    context.spend(1)
    async with context.turn:
        answer = await preview_payload(context.parts.services, context.actor, name, query)
    context.spend(len(answer["messages"]))
    return answer
