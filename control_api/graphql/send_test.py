"""The root field that sends a test by a consumer."""

from typing import Any

import graphene  # type: ignore[import-untyped]  # graphene has no types

from control_api.graphql.arguments import checked, model_arguments, text_argument
from control_api.graphql.context import GraphQLContext, guarded
from control_api.graphql.definition_types import object_type
from control_api.graphql.errors import payload_errors
from control_api.send_test import TestInput
from notifier.errors import InputError
from notifier.record import JsonObject


def send_test_mutations(errors: Any) -> dict[str, Any]:
    """The root fields of `Mutation`, by name in snake_case; `errors` is the field that every payload has."""
    words = {
        "delivery": "Its id.",
        "state": "`tried`, or `waiting`: it was not tried so far.",
        "outcome": None,
        "reason": None,
        "detail": "What the service said, or why it waits.",
        "started_at": None,
        "ended_at": None,
    }
    fields = {name: graphene.String(description=word) for name, word in words.items()}
    payload = object_type("SendTestPayload", "What became of the first try.", {**fields, "errors": errors})
    return {
        "send_test": graphene.Field(
            payload,
            args={"name": text_argument("The consumer's name.", required=True), **model_arguments(TestInput)},
            resolver=guarded("run", _send),
            description="Sends one message by a consumer and waits for the service's own answer, up to 20 seconds.",
        )
    }


async def _send(root: Any, context: GraphQLContext, name: str, **given: Any) -> JsonObject:
    try:
        asked: TestInput = checked(TestInput, given)
        return {**await context.parts.send_test.send(context.actor, name, asked), "errors": []}
    except InputError as error:
        return {"errors": payload_errors(error.errors)}
