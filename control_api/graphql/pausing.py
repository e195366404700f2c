"""The root fields that show how roles and consumers are, and that pause and resume consumers and producers."""

from functools import cache, partial
from typing import Any

import graphene  # type: ignore[import-untyped]  # graphene has no types

from control_api.definitions.pausing import Pause, Paused
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
        "Status", "How a process, a consumer, a chat or a source is.", {**texts, **some, **json, "waiting": waiting}
    )


def status_queries() -> dict[str, Any]:
    """The root fields of `Query`, by name in snake_case."""
    statuses = graphene.Field(
        page_type(
            "StatusPage",
            _status(),
            "The processes, the consumers and producers that are paused or disabled, the chats that have moved, the sources.",
        ),
        args=model_arguments(PageQuery),
        resolver=guarded("read", _list),
        description="What the roles report, which consumers and producers are paused, which chats moved, and how sources are.",
    )
    return {"statuses": statuses}


def pausing_mutations(errors: Any) -> dict[str, Any]:
    """The root fields of `Mutation`, by name in snake_case; `errors` is the field that every payload has."""
    payload = object_type(
        "PausePayload", "How the consumer or producer is now.", {"status": graphene.Field(_status()), "errors": errors}
    )
    name = text_argument("Its name.", required=True)
    reason = text_argument("Why, for people: it stands in the status.")
    return {
        "pause_consumer": graphene.Field(
            payload, args={"name": name, "reason": reason}, resolver=guarded("write", partial(_pause, kind="consumer")),
            description="Has a consumer's deliveries wait in order until it is resumed.",
        ),
        "resume_consumer": graphene.Field(
            payload, args={"name": name}, resolver=guarded("write", partial(_resume, kind="consumer")),
            description="Ends every pause of a consumer, and that it is disabled. It is tried at once.",
        ),
        "pause_producer": graphene.Field(
            payload, args={"name": name, "reason": reason}, resolver=guarded("write", partial(_pause, kind="producer")),
            description="Has a producer's source unread, and its runs wait, until it is resumed.",
        ),
        "resume_producer": graphene.Field(
            payload, args={"name": name}, resolver=guarded("write", partial(_resume, kind="producer")),
            description="Has a producer's source read on, and the runs done that waited.",
        ),
    }  # fmt: skip


async def _list(root: Any, context: GraphQLContext, **arguments: Any) -> JsonObject:
    query = checked(PageQuery, arguments)
    async with context.turn:
        items, next_cursor = await status_page(context.parts.statuses, context.parts.services, context.actor, query)
    context.spend(len(items))
    return {"items": items, "next_cursor": next_cursor}


async def _pause(
    root: Any, context: GraphQLContext, name: str, reason: str | None = None, *, kind: Paused
) -> JsonObject:
    try:
        query: Pause = checked(Pause, {"reason": reason})
    except InputError as error:
        return {"status": None, "errors": payload_errors(error.errors)}
    status = await context.parts.pausing.pause(context.actor, name, query.reason, kind)
    return {"status": shown(status), "errors": []}


async def _resume(root: Any, context: GraphQLContext, name: str, *, kind: Paused) -> JsonObject:
    return {"status": shown(await context.parts.pausing.resume(context.actor, name, kind)), "errors": []}
