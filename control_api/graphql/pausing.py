"""The root fields that show how roles and consumers are, and that pause and resume consumers."""

from functools import cache
from typing import Any

import graphene  # type: ignore[import-untyped]  # graphene has no types

from control_api.definitions.pausing import Pause
from control_api.definitions.status_page import shown, status_page
from control_api.graphql.arguments import checked, model_arguments, text_argument
from control_api.graphql.context import GraphQLContext, guarded
from control_api.graphql.definition_types import object_type, page_type
from control_api.graphql.errors import payload_errors
from control_api.graphql.scalars import Json
from control_api.page_query import PageQuery
from notifier.errors import InputError
from notifier.record import JsonObject


@cache
def _status() -> Any:
    texts = {name: graphene.String(required=True) for name in ("kind", "name", "state", "at")}
    some = {name: graphene.String() for name in ("detail", "reason", "since", "not_before", "by", "became")}
    json = {"problems": Json(required=True), "passed_over": Json(required=True)}
    waiting = graphene.Int(
        description="Deliveries that wait for a paused consumer, where it is known; none that is parked."
    )
    return object_type(
        "Status", "How a process, a consumer or a chat is.", {**texts, **some, **json, "waiting": waiting}
    )


def status_queries() -> dict[str, Any]:
    """The root fields of `Query`, by name in snake_case."""
    statuses = graphene.Field(
        page_type(
            "StatusPage",
            _status(),
            "The processes, then the consumers that are paused or disabled, then the chats that have moved.",
        ),
        args=model_arguments(PageQuery),
        resolver=guarded("read", _list),
        description="What the roles report, which consumers are paused, and which chats have moved.",
    )
    return {"statuses": statuses}


def pausing_mutations(errors: Any) -> dict[str, Any]:
    """The root fields of `Mutation`, by name in snake_case; `errors` is the field that every payload has."""
    payload = object_type(
        "PausePayload", "How the consumer is now.", {"status": graphene.Field(_status()), "errors": errors}
    )
    name = text_argument("Its name.", required=True)
    reason = text_argument("Why, for people: it stands in the status.")
    return {
        "pause_consumer": graphene.Field(
            payload, args={"name": name, "reason": reason}, resolver=guarded("write", _pause),
            description="Has a consumer's deliveries wait in order until it is resumed.",
        ),
        "resume_consumer": graphene.Field(
            payload, args={"name": name}, resolver=guarded("write", _resume),
            description="Ends every pause of a consumer, and that it is disabled. It is tried at once.",
        ),
    }  # fmt: skip


async def _list(root: Any, context: GraphQLContext, **arguments: Any) -> JsonObject:
    query = checked(PageQuery, arguments)
    async with context.turn:
        items, next_cursor = await status_page(context.parts.statuses, context.parts.services, context.actor, query)
    context.spend(len(items))
    return {"items": items, "next_cursor": next_cursor}


async def _pause(root: Any, context: GraphQLContext, name: str, reason: str | None = None) -> JsonObject:
    try:
        query: Pause = checked(Pause, {"reason": reason})
    except InputError as error:
        return {"status": None, "errors": payload_errors(error.errors)}
    return {"status": shown(await context.parts.pausing.pause(context.actor, name, query.reason)), "errors": []}


async def _resume(root: Any, context: GraphQLContext, name: str) -> JsonObject:
    return {"status": shown(await context.parts.pausing.resume(context.actor, name)), "errors": []}
