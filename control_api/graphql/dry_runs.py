"""Dry runs in GraphQL: the query that follows one, and the mutations that begin and cancel one."""

from typing import Any

import graphene  # type: ignore[import-untyped]  # graphene has no types
from pydantic import ValidationError

from control_api.dry_run.question import DryRunInput
from control_api.graphql.context import GraphQLContext, guarded
from control_api.graphql.definition_types import KindTypes, object_type
from control_api.graphql.errors import payload_errors
from control_api.graphql.inputs import plain
from control_api.intake.occasion import Occasion
from notifier.errors import InputError
from notifier.outcome import Kind
from notifier.record import JsonObject
from notifier.validation import field_errors

_TEXTS = ("id", "configuration", "since", "until", "state", "error", "created_at", "ended_at")
_COUNTS = {
    "messages": "Records of the span that were read.",
    "considered": "Of them, messages that the configuration or its draft takes.",
    "unreadable": "Of them, records that are no messages; they are delivered to nobody.",
    "failed": "Messages that a filter cannot judge; they would become dead letters.",
    "would_deliver": "Deliveries by the draft, or as it is stored.",
    "delivers_now": "Deliveries by the configuration as it is stored.",
    "added": "Deliveries by the draft alone.",
    "dropped": "Deliveries by the stored configuration alone.",
}


def dry_run_type() -> Any:
    """The type of a dry run."""
    texts = ("producer", "message", "at", "text", "consumer", "recipient", "why")
    sample = object_type(
        "DryRunSample", "A delivery that only one version makes.", {name: graphene.String() for name in texts}
    )
    some = graphene.List(graphene.NonNull(sample), required=True, description="At most 100.")
    fields = {
        **{name: graphene.String() for name in _TEXTS},
        "draft": graphene.Boolean(description="Whether a draft was given."),
        "progress": graphene.Float(description="The part that was read, 0 to 1."),
        **{name: graphene.Int(description=text) for name, text in _COUNTS.items()},
        "samples": graphene.Field(
            object_type("DryRunSamples", "What only one version delivers.", {"added": some, "dropped": some})
        ),
    }
    return object_type("DryRun", "What a draft of a configuration would have delivered.", fields)


def query_field(type_: Any) -> Any:
    """The root field `dryRun` of `Query`."""
    return graphene.Field(
        type_,
        args={"id": graphene.Argument(graphene.String, required=True, description="Its id.")},
        resolver=guarded("read", _get),
        description="How far a dry run is, and what it has found; kept for 7 days.",
    )


def mutation_fields(type_: Any, kinds: dict[Kind, KindTypes], errors: Any) -> dict[str, Any]:
    """The root fields of `Mutation`, by name in snake_case."""
    payload = object_type("DryRunPayload", "The dry run.", {"dry_run": graphene.Field(type_), "errors": errors})
    text = graphene.String
    return {
        "start_dry_run": graphene.Field(
            payload,
            args={
                "configuration": graphene.Argument(text, required=True, description="Its name; it need not be stored."),
                "draft": graphene.Argument(
                    kinds["configuration"].written, description="As it would be, whole; null: as it is stored."
                ),
                "since": graphene.Argument(text, description="RFC 3339; by default a day before `until`."),
                "until": graphene.Argument(text, description="RFC 3339; by default now."),
            },
            resolver=guarded("run", _start),
            description="Asks what a draft would have delivered; the query `dryRun` follows it. Nothing is sent.",
        ),
        "cancel_dry_run": graphene.Field(
            payload,
            args={"id": graphene.Argument(text, required=True, description="Its id.")},
            resolver=guarded("run", _cancel),
            description="Cancels a dry run, and keeps what it has found.",
        ),
    }


async def _get(root: Any, context: GraphQLContext, id: str) -> JsonObject:  # noqa: A002 - the argument's word
    context.spend(1)
    async with context.turn:
        return await context.parts.dry_runs.get(context.actor, id)


async def _start(root: Any, context: GraphQLContext, configuration: str, **asked: Any) -> JsonObject:
    given = {name: plain(value) for name, value in asked.items() if value is not None}
    runs = context.parts.dry_runs
    at = context.occasion.at
    id_ = Occasion(at).id_of(0)  # a request may begin several
    try:
        try:
            question = DryRunInput.model_validate(given)
        except ValidationError as error:
            raise InputError(field_errors(error, given)) from None
        await runs.begin(context.actor, configuration, question, id_, at)
    except InputError as error:
        return {"dry_run": None, "errors": payload_errors(error.errors)}
    return {"dry_run": await runs.get(context.actor, id_), "errors": []}


async def _cancel(root: Any, context: GraphQLContext, id: str) -> JsonObject:  # noqa: A002 - the argument's word
    await context.parts.dry_runs.cancel(context.actor, id)
    return {"dry_run": await context.parts.dry_runs.get(context.actor, id), "errors": []}
