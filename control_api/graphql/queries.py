"""Queries: the root fields that read. Their arguments are the query parameters of the REST lists."""

from collections.abc import Awaitable, Callable
from typing import Any

import graphene  # type: ignore[import-untyped]  # graphene has no types
from pydantic import AwareDatetime, TypeAdapter, ValidationError
from sqlalchemy.ext.asyncio import AsyncSession

from control_api.access import tokens
from control_api.access.actor import Scope
from control_api.access.teams import seen_history
from control_api.definitions.plugins import PluginQuery, plugin_items
from control_api.definitions.spec import name_field
from control_api.graphql import dry_runs, record_types
from control_api.graphql.account_fields import account_queries
from control_api.graphql.arguments import checked, model_arguments, text_argument
from control_api.graphql.context import GraphQLContext, Resolver, guarded, shown
from control_api.graphql.definition_types import KindTypes, page_type
from control_api.graphql.explanation import explain_field
from control_api.graphql.history_fields import history_queries
from control_api.graphql.message_fields import message_queries, search
from control_api.graphql.pausing import status_queries
from control_api.graphql.payload_preview import payload_preview_field
from control_api.graphql.preview import preview_field
from control_api.history import records
from control_api.history.queries import AnswerQuery, AttemptQuery, DeadLetterQuery, RunQuery
from control_api.models import AnswerRow, DeadLetterRow, RunRow
from control_api.page_query import PageQuery
from notifier.errors import FieldError, InputError
from notifier.outcome import Kind
from notifier.record import JsonObject

_Read = Callable[
    [AsyncSession, records.Conditions, int, str | None, records.Seen], Awaitable[tuple[list[JsonObject], str | None]]
]
_MOMENT: TypeAdapter[Any] = TypeAdapter(AwareDatetime)


def query_fields(kinds: dict[Kind, KindTypes], dry_run: Any) -> dict[str, Any]:
    """The root fields of `Query`, by name in snake_case."""
    attempt, letter = record_types.attempt(), record_types.dead_letter()
    run, token = record_types.run(), record_types.token()
    fields: dict[str, Any] = {}
    for kind, made in kinds.items():
        fields[f"{kind}s"] = _field(
            made.page,
            _list(kind),
            {**model_arguments(PageQuery), "q": text_argument("Whose name or title contains it.")},
            f"{kind.capitalize()}s by name.",
        )
        fields[kind] = _field(
            made.shown, _get(kind), {name_field(kind): text_argument("Its name.", required=True)}, f"A {kind}."
        )
    newest = "Newest first."
    return {
        **fields,
        **history_queries(),
        **account_queries(),
        **status_queries(),
        "attempts": _field(
            page_type("AttemptPage", attempt, newest), search(AttemptQuery, records.attempts),
            model_arguments(AttemptQuery), "What became of messages; kept for 7 days unless set otherwise.",
        ),
        **message_queries(attempt),
        "dead_letters": _field(
            page_type("DeadLetterPage", letter, newest), _history(DeadLetterQuery, DeadLetterRow, records.dead_letters),
            model_arguments(DeadLetterQuery), "What was given up; kept for 30 days.",
        ),
        "dead_letter": _field(letter, _dead_letter, {"id": text_argument("Its own id.", required=True)}, "A dead letter, whole."),
        "runs": _field(
            page_type("RunPage", run, newest), _history(RunQuery, RunRow, records.runs),
            model_arguments(RunQuery), "What became of ticks; kept for 30 days.",
        ),
        "answers": _field(
            page_type("AnswerPage", record_types.answer(), newest), _history(AnswerQuery, AnswerRow, records.answers),
            model_arguments(AnswerQuery), "What people pressed under messages; kept for 30 days.",
        ),
        "run": _field(
            run, _run,
            {
                "configuration": text_argument("The configuration's name.", required=True),
                "scheduled_at": text_argument("When it was due, in RFC 3339.", required=True),
            },
            "A run.",
        ),
        "explain": explain_field(attempt, letter),
        "preview": preview_field(),
        "producer_preview": payload_preview_field(),
        "dry_run": dry_runs.query_field(dry_run),
        "plugins": _field(
            graphene.List(graphene.NonNull(record_types.plugin())), _plugins, model_arguments(PluginQuery),
            "What types there are.",
        ),
        "tokens": _field(
            page_type("TokenPage", token, newest), _tokens, model_arguments(PageQuery), "Revoked ones too.", "admin",
        ),
        "token": _field(token, _token, {"id": text_argument("Its id.", required=True)}, "A token, without its text.", "admin"),
    }  # fmt: skip


def _field(type_: Any, resolve: Resolver, arguments: dict[str, Any], description: str, scope: Scope = "read") -> Any:
    return graphene.Field(type_, args=arguments, resolver=guarded(scope, resolve), description=description)


def _list(kind: Kind) -> Resolver:
    async def resolve(root: Any, context: GraphQLContext, q: str | None = None, **arguments: Any) -> JsonObject:
        query = checked(PageQuery, arguments)
        async with context.turn:
            page = await context.services.list(kind, query.limit, query.cursor, q)
        context.spend(len(page.items))
        return {"items": [shown(stored) for stored in page.items], "next_cursor": page.next_cursor}

    return resolve


def _get(kind: Kind) -> Resolver:
    async def resolve(root: Any, context: GraphQLContext, **arguments: str) -> JsonObject:
        context.spend(1)
        async with context.turn:
            return shown(await context.services.get(kind, arguments[name_field(kind)]))

    return resolve


def _history(model: Any, table: Any, read: _Read) -> Resolver:
    async def resolve(root: Any, context: GraphQLContext, **arguments: Any) -> JsonObject:
        query = checked(model, arguments)
        async with context.turn, context.parts.database.read() as session:
            seen = seen_history(context.actor, table)
            items, next_cursor = await read(session, query.conditions(), query.limit, query.cursor, seen)
        context.spend(len(items))
        return {"items": items, "next_cursor": next_cursor}

    return resolve


async def _dead_letter(root: Any, context: GraphQLContext, id: str) -> JsonObject:  # noqa: A002 - the argument's word
    context.spend(1)
    async with context.turn, context.parts.database.read() as session:
        return await records.dead_letter(session, id, seen_history(context.actor, DeadLetterRow))


async def _run(root: Any, context: GraphQLContext, configuration: str, scheduled_at: str) -> JsonObject:
    try:
        moment = _MOMENT.validate_python(scheduled_at)
    except ValidationError:
        raise InputError(FieldError("/scheduled_at", "must be a time with a zone: 2026-11-23T09:00:00Z")) from None
    context.spend(1)
    async with context.turn, context.parts.database.read() as session:
        return await records.run(session, configuration, moment, seen_history(context.actor, RunRow))


async def _plugins(root: Any, context: GraphQLContext, **arguments: Any) -> list[dict[str, object]]:
    return plugin_items(context.parts.registry, checked(PluginQuery, arguments).kind)


async def _tokens(root: Any, context: GraphQLContext, **arguments: Any) -> JsonObject:
    query = checked(PageQuery, arguments)
    async with context.turn, context.parts.database.read() as session:
        found, next_cursor = await tokens.token_page(session, query, context.actor)
    context.spend(len(found))
    return {"items": [tokens.shown(token) for token in found], "next_cursor": next_cursor}


async def _token(root: Any, context: GraphQLContext, id: str) -> JsonObject:  # noqa: A002 - the argument's word
    context.spend(1)
    async with context.turn, context.parts.database.read() as session:
        return tokens.shown(await tokens.get_token(session, id, context.actor))
