"""The root fields that search messages and attempts, and count attempts."""

from collections.abc import Awaitable, Callable
from typing import Any

import graphene  # type: ignore[import-untyped]  # graphene has no types
from sqlalchemy.ext.asyncio import AsyncSession

from control_api.access.teams import seen_history, sight_of
from control_api.graphql.arguments import checked, model_arguments, text_argument
from control_api.graphql.context import GraphQLContext, Resolver, guarded
from control_api.graphql.definition_types import object_type, page_type
from control_api.graphql.scalars import Json
from control_api.history.counters import CounterQuery, counters
from control_api.history.messages import MAX_ATTEMPTS, message, messages
from control_api.history.queries import AttemptQuery, MessageQuery
from control_api.history.records import attempts
from control_api.history.sight import Sight
from control_api.models import CounterRow
from notifier.record import JsonObject

_Search = Callable[[AsyncSession, Any, Sight], Awaitable[tuple[list[JsonObject], str | None]]]


def message_queries(attempt: Any) -> dict[str, Any]:
    """The root fields, by name in snake_case, with the type of an attempt."""
    shown = object_type(
        "Message",
        "What came from a producer.",
        {
            **{name: graphene.String() for name in ("producer", "id", "sender", "receiver", "title", "content", "url")},
            "severity": graphene.String(),
            "labels": Json(),
            "cut": graphene.Boolean(description="Whether a text is longer than what is kept of it."),
            "at": graphene.String(description="When it was written to the topic."),
            "partition": graphene.Int(),
            "offset": graphene.BigInt(),
            "attempts": graphene.List(
                graphene.NonNull(attempt),
                resolver=guarded("read", _attempts_of),
                description=f"The newest {MAX_ATTEMPTS} attempts at it.",
            ),
        },
    )
    counter = object_type(
        "CounterPoint",
        "How many attempts there were in one step of time.",
        {
            **{name: graphene.String() for name in ("at", "configuration", "outcome", "reason")},
            "count": graphene.BigInt(),
        },
    )
    newest = "Newest first."
    return {
        "messages": graphene.Field(
            page_type("MessagePage", shown, newest),
            args=model_arguments(MessageQuery),
            resolver=guarded("read", search(MessageQuery, messages)),
            description="What came from producers; kept for 7 days unless set otherwise.",
        ),
        "message": graphene.Field(
            shown,
            args={
                "producer": text_argument("The producer's name.", required=True),
                "id": text_argument("The message's id.", required=True),
            },
            resolver=guarded("read", _message),
            description="The newest message of that producer and id.",
        ),
        "counters": graphene.Field(
            page_type("CounterPointPage", counter, newest),
            args=model_arguments(CounterQuery),
            resolver=guarded("read", _counters),
            description="How many attempts there were, by step of time.",
        ),
    }


def search(model: Any, read: _Search) -> Resolver:
    """The resolver of a list that is searched, with the query parameters of REST."""

    async def resolve(root: Any, context: GraphQLContext, **arguments: Any) -> JsonObject:
        query = checked(model, arguments)
        async with context.turn, context.parts.database.read() as session:
            items, next_cursor = await read(session, query, sight_of(context.actor))
        context.spend(len(items))
        return {"items": items, "next_cursor": next_cursor}

    return resolve


async def _message(root: Any, context: GraphQLContext, producer: str, id: str) -> JsonObject:  # noqa: A002 - the argument's word
    context.spend(1)
    async with context.turn, context.parts.database.read() as session:
        return await message(session, producer, id, sight_of(context.actor))


async def _attempts_of(root: JsonObject, context: GraphQLContext) -> list[JsonObject]:
    if "attempts" in root:
        context.spend(len(root["attempts"]))
        return list(root["attempts"])
    query = AttemptQuery(producer=root["producer"], message=root["id"], limit=MAX_ATTEMPTS)
    async with context.turn, context.parts.database.read() as session:
        found, _ = await attempts(session, query, sight_of(context.actor))
    context.spend(len(found))
    return found


async def _counters(root: Any, context: GraphQLContext, **arguments: Any) -> JsonObject:
    query = checked(CounterQuery, arguments)
    async with context.turn, context.parts.database.read() as session:
        answer = await counters(session, query, seen_history(context.actor, CounterRow))
    context.spend(len(answer["items"]))
    return answer
