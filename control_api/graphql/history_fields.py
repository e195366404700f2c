"""The root fields that read versions of definitions, and the audit log. Going back is a mutation like other changes."""

from typing import Any

import graphene  # type: ignore[import-untyped]  # graphene has no types
import orjson

from control_api.definitions.audit import AuditQuery, audit
from control_api.definitions.spec import name_field
from control_api.definitions.versions import history
from control_api.graphql.arguments import checked, model_arguments, text_argument
from control_api.graphql.context import GraphQLContext, Resolver, guarded
from control_api.graphql.definition_types import object_type, page_type
from control_api.graphql.scalars import Json
from control_api.page_query import PageQuery
from notifier.outcome import KINDS, Kind
from notifier.record import JsonObject

_OBJECT_BYTES = 2_048  # of changes that count as one object: a page of REST's size fits, a second one does not


def history_queries() -> dict[str, Any]:
    """The root fields of `Query`, by name in snake_case."""
    newest = "Newest first."
    change = object_type(
        "Change",
        "What became of one field.",
        {
            "op": graphene.String(required=True, description="add, replace or remove."),
            "pointer": graphene.String(required=True, description="JSON Pointer; empty: the whole document."),
            "before": Json(description="Null where it was not there."),
            "after": Json(description="Null where it is gone."),
        },
    )
    changes = graphene.List(graphene.NonNull(change), required=True)
    version = object_type(
        "Version",
        "What one change made of a definition.",
        {
            "version": graphene.Int(required=True, description="The revision."),
            **_texts("at", "actor", "action"),
            "changes": changes,
        },
    )
    entry = object_type(
        "AuditEntry",
        "That somebody did something.",
        {
            **_texts("id", "at", "actor", "action", "kind", "name"),
            "version": graphene.Int(description="That the change made of a definition."),
            "changes": changes,
        },
    )
    versions = page_type("VersionPage", version, newest)
    fields = {
        f"{kind}_history": graphene.Field(
            versions,
            args={name_field(kind): text_argument("Its name.", required=True), **model_arguments(PageQuery)},
            resolver=guarded("read", _history(kind)),
            description=f"What each change made of a {kind}, also of one that was deleted.",
        )
        for kind in KINDS
    }
    fields["audit"] = graphene.Field(
        page_type("AuditEntryPage", entry, newest),
        args=model_arguments(AuditQuery),
        resolver=guarded("admin", _audit),
        description="Who did what, and when.",
    )
    return fields


def _texts(*names: str) -> dict[str, Any]:
    return {name: graphene.String(required=True) for name in names}


def _history(kind: Kind) -> Resolver:
    async def resolve(root: Any, context: GraphQLContext, **arguments: Any) -> JsonObject:
        name = arguments.pop(name_field(kind))
        query = checked(PageQuery, arguments)
        registry = context.parts.services.registry
        async with context.turn, context.parts.database.read() as session:
            context.spend(0)  # nothing is left where another field has used it up
            items, next_cursor = await history(session, context.actor, kind, name, query, registry)
            return _page(context, items, next_cursor)

    return resolve


async def _audit(root: Any, context: GraphQLContext, **arguments: Any) -> JsonObject:
    query = checked(AuditQuery, arguments)
    async with context.turn, context.parts.database.read() as session:
        context.spend(0)
        items, next_cursor = await audit(session, context.actor, query, context.parts.services.registry)
        return _page(context, items, next_cursor)


def _page(context: GraphQLContext, items: list[JsonObject], next_cursor: str | None) -> JsonObject:
    changes = sum(len(item["changes"]) for item in items)
    context.spend(len(items) + max(changes, len(orjson.dumps(items)) // _OBJECT_BYTES))
    return {"items": items, "next_cursor": next_cursor}
