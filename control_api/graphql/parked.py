"""Parked deliveries in GraphQL: the queries that list and show them, and the mutation that cancels one."""

from typing import Any

import graphene  # type: ignore[import-untyped]  # graphene has no types

from control_api.graphql.arguments import checked, model_arguments, text_argument
from control_api.graphql.context import GraphQLContext, guarded
from control_api.graphql.definition_types import object_type, page_type
from control_api.graphql.scalars import Json
from control_api.parked.parked import ParkedQuery
from notifier.record import JsonObject

_TEXTS = ("id", "state", "configuration", "consumer", "recipient", "why", "not_before", "parked_at", "lane")


def query_fields() -> dict[str, Any]:
    """The root fields of `Query`, by name in snake_case."""
    fields = {
        **{name: graphene.String() for name in _TEXTS},
        "attempt": graphene.Int(description="Number of the next try."),
        "redriven": graphene.Boolean(description="Whether it was sent again from the dead letters."),
        "recipients": graphene.List(graphene.NonNull(graphene.String), description="Of one that is shown by itself."),
        "message": Json(description="As it came; of one that is shown by itself."),
    }
    type_ = object_type("ParkedDelivery", "A delivery that cannot go now, and waits.", fields)
    return {
        "parked_deliveries": graphene.Field(
            page_type("ParkedDeliveryPage", type_, "What is due first comes first."),
            args=model_arguments(ParkedQuery),
            resolver=guarded("read", _list),
            description="Deliveries that cannot go now, and wait.",
        ),
        "parked_delivery": graphene.Field(
            type_,
            args={"id": text_argument("Its id.", required=True)},
            resolver=guarded("read", _get),
            description="One of them, with its message.",
        ),
    }


def mutation_fields(errors: Any) -> dict[str, Any]:
    """The root fields of `Mutation`, by name in snake_case."""
    done = graphene.Boolean(
        description="False: no delivery worker has answered so far; one that starts within a day does it."
    )
    payload = object_type(
        "CancelDeliveryPayload", "What was cancelled.", {"id": graphene.String(), "done": done, "errors": errors}
    )
    return {
        "cancel_delivery": graphene.Field(
            payload,
            args={"id": text_argument("Its id.", required=True)},
            resolver=guarded("run", _cancel),
            description="Has a parked delivery given up; its last attempt is `suppressed: cancelled`.",
        ),
    }


async def _list(root: Any, context: GraphQLContext, **arguments: Any) -> JsonObject:
    query = checked(ParkedQuery, arguments)
    async with context.turn:
        items, next_cursor = await context.parts.parked.list(context.actor, query)
    context.spend(len(items))
    return {"items": items, "next_cursor": next_cursor}


async def _get(root: Any, context: GraphQLContext, id: str) -> JsonObject:  # noqa: A002 - the argument's word
    context.spend(1)
    async with context.turn:
        return await context.parts.parked.get(context.actor, id)


async def _cancel(root: Any, context: GraphQLContext, id: str) -> JsonObject:  # noqa: A002 - the argument's word
    return {"id": id, "done": await context.parts.parked.cancel(context.actor, id), "errors": []}
