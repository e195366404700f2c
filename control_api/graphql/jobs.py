"""Jobs in GraphQL: the queries that follow redrives, and the mutations that begin and cancel one."""

from typing import Any

import graphene  # type: ignore[import-untyped]  # graphene has no types
from pydantic import ValidationError

from control_api.graphql.arguments import checked, model_arguments, text_argument
from control_api.graphql.context import GraphQLContext, guarded
from control_api.graphql.definition_types import object_type, page_type
from control_api.graphql.errors import payload_errors
from control_api.graphql.inputs import plain
from control_api.graphql.scalars import Json
from control_api.intake.occasion import Occasion
from control_api.page_query import PageQuery
from control_api.redrive.criteria import RedriveInput
from notifier.errors import InputError
from notifier.record import JsonObject
from notifier.validation import field_errors

_COUNTS = {
    "per_second": "How many letters are sent again in a second at most.",
    "matched": "Letters that fulfilled the conditions when it began.",
    "redriven": "Letters that were sent again.",
    "skipped": "Letters that cannot be sent again.",
    "failed": "Letters that Kafka did not take.",
}


def job_type() -> Any:
    """The type of a job."""
    texts = ("id", "kind", "state", "error", "actor", "created_at", "started_at", "ended_at")
    sample = object_type(
        "JobSample", "A letter that was not sent again.", {"id": graphene.String(), "why": graphene.String()}
    )
    fields = {
        **{name: graphene.String() for name in texts},
        "criteria": Json(description="The conditions that were given, as in REST."),
        **{name: graphene.Int(description=text) for name, text in _COUNTS.items()},
        "why": Json(description="Why letters were skipped or failed, and how many."),
        "samples": graphene.List(graphene.NonNull(sample), description="The first of those letters, at most 100."),
    }
    return object_type("Job", "Work that goes on after its request was answered: a redrive.", fields)


def query_fields(type_: Any) -> dict[str, Any]:
    """The root fields of `Query`, by name in snake_case."""
    return {
        "job": graphene.Field(
            type_,
            args={"id": text_argument("Its id.", required=True)},
            resolver=guarded("read", _get),
            description="How far a redrive is; kept for 7 days after its end.",
        ),
        "jobs": graphene.Field(
            page_type("JobPage", type_, "Newest first."),
            args=model_arguments(PageQuery),
            resolver=guarded("read", _list),
            description="Redrives.",
        ),
    }


def mutation_fields(type_: Any, errors: Any) -> dict[str, Any]:
    """The root fields of `Mutation`, by name in snake_case."""
    begun = object_type(
        "RedrivePayload",
        "What was begun, or counted.",
        {
            "job": graphene.Field(type_, description="Null with `dryRun`."),
            "matched": graphene.Int(description="How many letters fulfil the conditions now."),
            "reasons": Json(description="With `dryRun`: how many of each reason."),
            "consumers": Json(description="With `dryRun`: how many of each consumer."),
            "errors": errors,
        },
    )
    cancelled = object_type("JobPayload", "The job.", {"job": graphene.Field(type_), "errors": errors})
    names = graphene.List(graphene.NonNull(graphene.String))
    described = {name: str(field.description) for name, field in RedriveInput.model_fields.items()}
    text = graphene.String
    types = {"since": text, "until": text, "per_second": graphene.Int, "dry_run": graphene.Boolean}
    return {
        "redrive": graphene.Field(
            begun,
            args={
                name: graphene.Argument(types.get(name, names), description=words) for name, words in described.items()
            },
            resolver=guarded("run", _redrive),
            description="Sends dead letters again; the query `job` follows it.",
        ),
        "cancel_job": graphene.Field(
            cancelled,
            args={"id": text_argument("Its id.", required=True)},
            resolver=guarded("run", _cancel),
            description="Cancels a redrive; what was sent again stays so.",
        ),
    }


async def _get(root: Any, context: GraphQLContext, id: str) -> JsonObject:  # noqa: A002 - the argument's word
    context.spend(1)
    async with context.turn:
        return await context.parts.redrives.get(context.actor, id)


async def _list(root: Any, context: GraphQLContext, **arguments: Any) -> JsonObject:
    query = checked(PageQuery, arguments)
    async with context.turn:
        items, next_cursor = await context.parts.redrives.list(context.actor, query)
    context.spend(len(items))
    return {"items": items, "next_cursor": next_cursor}


async def _redrive(root: Any, context: GraphQLContext, **asked: Any) -> JsonObject:
    given = {name: plain(value) for name, value in asked.items() if value is not None}
    redrives = context.parts.redrives
    id_ = Occasion(context.occasion.at).id_of(0)  # a request may begin several
    try:
        try:
            wanted = RedriveInput.model_validate(given)
        except ValidationError as error:
            raise InputError(field_errors(error, given)) from None
    except InputError as error:
        return {"job": None, "errors": payload_errors(error.errors)}
    if wanted.dry_run:
        return {**await redrives.count(context.actor, wanted), "errors": []}
    begun = await redrives.begin(context.actor, wanted, id_)
    return {**begun, "job": await redrives.get(context.actor, id_), "errors": []}


async def _cancel(root: Any, context: GraphQLContext, id: str) -> JsonObject:  # noqa: A002 - the argument's word
    await context.parts.redrives.cancel(context.actor, id)
    return {"job": await context.parts.redrives.get(context.actor, id), "errors": []}
