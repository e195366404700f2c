"""The root field that makes a code with which a person is reached in a chat."""

from typing import Any

import graphene  # type: ignore[import-untyped]  # graphene has no types

from control_api.graphql.arguments import text_argument
from control_api.graphql.context import GraphQLContext, guarded
from control_api.graphql.definition_types import object_type
from control_api.wishes.codes import make_code
from notifier.record import JsonObject


def linking_mutations(errors: Any) -> dict[str, Any]:
    """The root fields of `Mutation`, by name in snake_case; `errors` is the field that every payload has."""
    texts = {
        "username": graphene.String(),
        "code": graphene.String(description="It is shown this once, and works once."),
        "command": graphene.String(description="What the person sends to the bot."),
        "expires_at": graphene.String(),
        "consumers": graphene.List(
            graphene.NonNull(graphene.String), description="Consumers that hear people: it works with any of them."
        ),
    }
    payload = object_type("LinkPayload", "A code that links a user to a chat.", {**texts, "errors": errors})
    return {
        "link_user": graphene.Field(
            payload, args={"username": text_argument("Their name.", required=True)}, resolver=guarded("write", _link),
            description="Makes a code with which a user is reached in a chat: who sends it to the bot within a day.",
        ),
    }  # fmt: skip


async def _link(root: Any, context: GraphQLContext, username: str) -> JsonObject:
    parts = context.parts
    code = await make_code(parts.database, parts.services, context.actor, username)
    return {**code.answer(), "errors": []}
