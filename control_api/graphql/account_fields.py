"""The root fields of accounts."""

from functools import cache
from typing import Any

import graphene  # type: ignore[import-untyped]  # graphene has no types

from control_api.access import accounts
from control_api.access.actor import ROLES
from control_api.graphql.arguments import checked, model_arguments, text_argument
from control_api.graphql.context import GraphQLContext, guarded
from control_api.graphql.definition_types import object_type, page_type
from control_api.graphql.errors import payload_errors
from control_api.page_query import PageQuery
from notifier.errors import InputError
from notifier.record import JsonObject, rfc3339

_ROLE = f"{', '.join(ROLES)}; what the person may do."
_TEAM = "Whose definitions the person may change; null: every team's, or the team of who makes it."
_PASSWORD = f"{accounts.MIN_PASSWORD} to {accounts.MAX_PASSWORD} characters; never answered."


@cache
def _account() -> Any:
    texts = {name: graphene.String(required=True) for name in ("name", "role", "created_at", "updated_at")}
    team = graphene.String(description="Whose definitions the person may change; null: every team's.")
    return object_type("Account", "A person who signs in to the console.", {**texts, "team": team})


def account_queries() -> dict[str, Any]:
    """The root fields of `Query`, by name in snake_case."""
    return {
        "accounts": graphene.Field(
            page_type("AccountPage", _account(), "By name."),
            args=model_arguments(PageQuery), resolver=guarded("admin", _list), description="Accounts by name.",
        ),
        "account": graphene.Field(
            _account(), args=_name(), resolver=guarded("admin", _get), description="An account.",
        ),
    }  # fmt: skip


def account_mutations(errors: Any) -> dict[str, Any]:
    """The root fields of `Mutation`, by name in snake_case; `errors` is the field that every payload has."""
    payload = object_type(
        "AccountPayload", "What was written.", {"account": graphene.Field(_account()), "errors": errors}
    )
    deleted = object_type("DeleteAccountPayload", "What was removed.", {"name": graphene.String(), "errors": errors})
    password, role, team = text_argument(_PASSWORD), text_argument(_ROLE), text_argument(_TEAM)
    return {
        "create_account": graphene.Field(
            payload, args={**_name(), "password": text_argument(_PASSWORD, required=True), "role": role, "team": team},
            resolver=guarded("admin", _create), description="Makes an account, which can sign in at once.",
        ),
        "update_account": graphene.Field(
            payload, args={**_name(), "password": password, "role": role, "team": team}, resolver=guarded("admin", _update),
            description="Sets another password, role or team; the person has to sign in again.",
        ),
        "delete_account": graphene.Field(
            deleted, args=_name(), resolver=guarded("admin", _delete), description="Removes an account; its sessions end.",
        ),
    }  # fmt: skip


def _name() -> dict[str, Any]:
    return {"name": text_argument("Its name.", required=True)}


def _shown(account: accounts.Account) -> JsonObject:
    times = {"created_at": rfc3339(account.created_at), "updated_at": rfc3339(account.updated_at)}
    return {"name": account.name, "role": account.role, "team": account.team, **times}


async def _list(root: Any, context: GraphQLContext, **arguments: Any) -> JsonObject:
    query = checked(PageQuery, arguments)
    async with context.turn, context.parts.database.read() as session:
        found, next_cursor = await accounts.accounts(session, context.actor, query.limit, query.cursor)
    context.spend(len(found))
    return {"items": [_shown(account) for account in found], "next_cursor": next_cursor}


async def _get(root: Any, context: GraphQLContext, name: str) -> JsonObject:
    async with context.turn, context.parts.database.read() as session:
        return _shown(await accounts.get_account(session, context.actor, name))


async def _create(
    root: Any,
    context: GraphQLContext,
    name: str,
    password: str,
    role: str | None = None,
    team: str | None = None,
) -> JsonObject:
    try:
        async with context.parts.database.write() as session:
            made = await accounts.add(session, context.actor, name, password, role or "viewer", team)
    except InputError as error:
        return {"account": None, "errors": payload_errors(error.errors)}
    return {"account": _shown(made), "errors": []}


async def _update(
    root: Any,
    context: GraphQLContext,
    name: str,
    password: str | None = None,
    role: str | None = None,
    team: str | None = accounts.KEPT,
) -> JsonObject:
    try:
        async with context.parts.database.write() as session:
            changed = await accounts.change(session, context.actor, name, password=password, role=role, team=team)
    except InputError as error:
        return {"account": None, "errors": payload_errors(error.errors)}
    return {"account": _shown(changed), "errors": []}


async def _delete(root: Any, context: GraphQLContext, name: str) -> JsonObject:
    async with context.parts.database.write() as session:
        await accounts.remove(session, context.actor, name)
    return {"name": name, "errors": []}
