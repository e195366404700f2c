"""`preview`: what the texts of a configuration would be. Its arguments are the name and the fields of REST's body."""

from typing import Any

import graphene  # type: ignore[import-untyped]  # graphene has no types
from pydantic import ValidationError

from control_api.graphql.arguments import text_argument
from control_api.graphql.context import GraphQLContext, guarded
from control_api.graphql.definition_types import object_type
from control_api.graphql.scalars import Json
from control_api.graphql.structs import struct_fields
from control_api.preview.preview import Preview
from control_api.preview.query import PreviewQuery
from notifier.errors import InputError
from notifier.record import JsonObject
from notifier.validation import field_errors

_JSON = ("message", "draft")


def preview_field() -> Any:
    """The root field."""
    fields = {**struct_fields(Preview), "message": Json(description="The message.")}
    arguments = {
        name: graphene.Argument(Json if name in _JSON else graphene.String, description=field.description)
        for name, field in PreviewQuery.model_fields.items()
    }
    return graphene.Field(
        object_type("Preview", "The texts of a configuration, by the definitions of now.", fields),
        args={"configuration": text_argument("Its name.", required=True), **arguments},
        resolver=guarded("read", _preview),
        description="What each consumer of a configuration would send to each recipient; filters are not asked.",
    )


async def _preview(root: Any, context: GraphQLContext, configuration: str, **arguments: Any) -> JsonObject:
    given = {name: value for name, value in arguments.items() if value is not None}
    try:
        query = PreviewQuery.model_validate(given)
    except ValidationError as error:
        raise InputError(field_errors(error, given)) from None
    context.spend(1)
    async with context.turn:
        answer = await context.parts.previewing.answer(query, context.actor, configuration)
    context.spend(len(answer["texts"]))
    return answer
