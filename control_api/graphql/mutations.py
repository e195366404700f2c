"""Mutations: the root fields that change definitions and run configurations.

Each answers a payload: the definition as it is now, and the `errors` of the input by field. The mutations of a request are
executed one after another.
"""

import re
from collections.abc import Awaitable
from typing import Any

import graphene  # type: ignore[import-untyped]  # graphene has no types

from control_api.access.actor import Scope
from control_api.definitions.manual_run import run_now
from control_api.definitions.services import Stored
from control_api.definitions.spec import name_field
from control_api.definitions.versions import Rollback, rollback
from control_api.definitions.writes import Write
from control_api.graphql import dry_runs, jobs, parked, record_types
from control_api.graphql.account_fields import account_mutations
from control_api.graphql.context import GraphQLContext, Resolver, guarded, shown
from control_api.graphql.definition_types import KindTypes, object_type
from control_api.graphql.errors import payload_errors
from control_api.graphql.inputs import plain
from control_api.graphql.linking import linking_mutations
from control_api.graphql.pausing import pausing_mutations
from control_api.graphql.send_test import send_test_mutations
from notifier.errors import FieldError, InputError
from notifier.outcome import Kind
from notifier.record import JsonObject, rfc3339

_ETAG = re.compile(r'"?([0-9]{1,18})"?')


def mutation_fields(kinds: dict[Kind, KindTypes], dry_run: Any, job: Any) -> dict[str, Any]:
    """The root fields of `Mutation`, by name in snake_case."""
    field_error = object_type(
        "FieldError",
        "What is wrong with one field of the input.",
        {
            "field": graphene.String(required=True, description="Its path in the input: `workingTime.start`."),
            "messages": graphene.List(graphene.NonNull(graphene.String), required=True),
            "pointer": graphene.String(required=True, description="The same as REST has it: `/working_time/start`."),
        },
    )
    errors = graphene.List(graphene.NonNull(field_error), required=True, description="Empty: it is done.")
    deleted = object_type(
        "DeletePayload",
        "What was deleted.",
        {
            "name": graphene.String(description="Its name."),
            "revision": graphene.Int(description="Number of the change that deleted it."),
            "errors": errors,
        },
    )
    fields: dict[str, Any] = {}
    for kind, made in kinds.items():
        fields |= _kind_mutations(kind, made, errors, deleted)
    ticked = object_type(
        "RunPayload", "What was begun.", {"tick": graphene.Field(record_types.tick()), "errors": errors}
    )
    fields["run"] = _field(
        "run",
        ticked,
        _run,
        {"configuration": graphene.Argument(graphene.String, required=True, description="Its name.")},
        "Runs a configuration now; the query `run` follows it.",
    )
    return {
        **fields,
        **pausing_mutations(errors),
        **send_test_mutations(errors),
        **linking_mutations(errors),
        **account_mutations(errors),
        **dry_runs.mutation_fields(dry_run, kinds, errors),
        **jobs.mutation_fields(job, errors),
        **parked.mutation_fields(errors),
    }


def _kind_mutations(kind: Kind, made: KindTypes, errors: Any, deleted: Any) -> dict[str, Any]:
    # Scripts run on the machines of the data plane, so only `admin` may change them, here as in REST.
    scope: Scope = "admin" if kind == "script" else "write"
    fields: dict[str, Any] = {}
    payload = object_type(
        f"{kind.capitalize()}Payload", "What was written.", {kind: graphene.Field(made.shown), "errors": errors}
    )
    written = graphene.Argument(made.written, required=True)
    fields[f"create_{kind}"] = _field(
        scope, payload, _create(kind), {"input": written, **_verify(kind)}, f"Creates a {kind}."
    )
    fields[f"update_{kind}"] = _field(
        scope,
        payload,
        _update(kind),
        {**_name(kind), "input": written, **_if_match(), **_verify(kind)},
        f"Changes those fields of a {kind} that are given, as a merge patch of REST does.",
    )
    fields[f"delete_{kind}"] = _field(
        scope,
        deleted,
        _delete(kind),
        {**_name(kind), **_if_match()},
        f"Deletes a {kind} that nothing names any more.",
    )
    version = graphene.Argument(graphene.Int, required=True, description=f"A version of `{kind}History`.")
    fields[f"rollback_{kind}"] = _field(
        scope,
        payload,
        _rollback(kind),
        {**_name(kind), "version": version, **_if_match()},
        f"Writes what a {kind} was in that version as a new version, also where it was deleted since.",
    )
    return fields


def _field(scope: Scope, type_: Any, resolve: Resolver, arguments: dict[str, Any], description: str) -> Any:
    return graphene.Field(type_, args=arguments, resolver=guarded(scope, resolve), description=description)


def _name(kind: Kind) -> dict[str, Any]:
    return {name_field(kind): graphene.Argument(graphene.String, required=True, description="Its name.")}


def _if_match() -> dict[str, Any]:
    text = "The `etag` that was read; when it is another one by now, nothing is done (STALE_VERSION)."
    return {"if_match": graphene.Argument(graphene.String, description=text)}


def _verify(kind: Kind) -> dict[str, Any]:
    if kind not in ("producer", "consumer"):
        return {}
    text = "Ask the service first whether it works with that; what it says is in `errors`."
    return {"verify": graphene.Argument(graphene.Boolean, default_value=False, description=text)}


def _create(kind: Kind) -> Resolver:
    async def resolve(
        root: Any,
        context: GraphQLContext,
        input: JsonObject,  # noqa: A002 - GraphQL's word
        verify: bool | None = False,
    ) -> JsonObject:
        write = Write(action="create", kind=kind, document=plain(input))
        return await _written(kind, context, context.parts.verification.save(context.actor, write, verify=bool(verify)))

    return resolve


def _update(kind: Kind) -> Resolver:
    async def resolve(
        root: Any,
        context: GraphQLContext,
        input: JsonObject,  # noqa: A002 - GraphQL's word
        if_match: str | None = None,
        verify: bool | None = False,
        **arguments: str,
    ) -> JsonObject:
        name, expected = arguments[name_field(kind)], _revision(if_match)
        write = Write(action="patch", kind=kind, name=name, document=plain(input), expected=expected)
        return await _written(kind, context, context.parts.verification.save(context.actor, write, verify=bool(verify)))

    return resolve


async def _written(kind: Kind, context: GraphQLContext, saving: Awaitable[Stored]) -> JsonObject:
    try:
        stored = await saving
    except InputError as error:
        return {kind: None, "errors": payload_errors(error.errors)}
    context.forget()
    return {kind: shown(stored), "errors": []}


def _delete(kind: Kind) -> Resolver:
    async def resolve(root: Any, context: GraphQLContext, if_match: str | None = None, **arguments: str) -> JsonObject:
        name = arguments[name_field(kind)]
        revision = await context.parts.services.delete(context.actor, kind, name, _revision(if_match))
        context.forget()
        return {"name": name, "revision": revision, "errors": []}

    return resolve


def _rollback(kind: Kind) -> Resolver:
    async def resolve(
        root: Any, context: GraphQLContext, version: int, if_match: str | None = None, **arguments: str
    ) -> JsonObject:
        parts, name = context.parts, arguments[name_field(kind)]
        wanted = Rollback(kind=kind, name=name, version=version, expected=_revision(if_match))
        return await _written(kind, context, rollback(parts.database, parts.services, context.actor, wanted))

    return resolve


async def _run(root: Any, context: GraphQLContext, configuration: str) -> JsonObject:
    parts, at = context.parts, context.occasion.at
    await parts.services.require_change(context.actor, "configuration", configuration)
    tick = await run_now(parts.database, parts.intake, context.actor, configuration, at)
    shown_tick = {
        "configuration": tick.configuration,
        "scheduled_at": rfc3339(tick.scheduled_at),
        "trigger": tick.trigger,
    }
    return {"tick": shown_tick, "errors": []}


def _revision(if_match: str | None) -> int | None:
    if if_match is None or if_match == "*":
        return None
    found = _ETAG.fullmatch(if_match)
    if found is None:
        raise InputError(FieldError("/if_match", 'is none of ours; give back an `etag` as it was, for instance "12"'))
    return int(found[1])
