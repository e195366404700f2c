"""`/accounts`: the people who sign in to the console."""

from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field, SecretStr

from control_api.access import accounts
from control_api.access.actor import Role
from control_api.http import idempotency
from control_api.http.auth import AdminActor
from control_api.http.body import documented_body, read_model
from control_api.http.media_type import JSON, MERGE_PATCH
from control_api.http.page import Page, json_response, page
from control_api.http.problems import documented
from control_api.intake.occasion import Occasion
from control_api.page_query import PageQuery
from control_api.parts import PartsDep
from control_api.rest.examples import ACCOUNT, ACCOUNT_CHANGE
from notifier.absent import Written
from notifier.definition import Name
from notifier.record import JsonObject, rfc3339

router = APIRouter(prefix="/accounts", tags=["accounts"])

_LENGTH = f"{accounts.MIN_PASSWORD} to {accounts.MAX_PASSWORD} characters; never answered."


class NewAccount(Written):
    """What an account is made of."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(description="What the person types to sign in.", examples=["ada"])
    password: SecretStr = Field(description=_LENGTH, examples=["correct horse battery staple"])
    role: Role = Field("viewer", description="What the person may do.")
    team: Name | None = Field(
        None, description="Whose definitions the person may change; null: the caller's team, or every team's."
    )


class AccountChange(Written):
    """What changes of an account: what is given."""

    model_config = ConfigDict(extra="forbid")

    password: SecretStr | None = Field(None, description=_LENGTH, examples=["correct horse battery staple"])
    role: Role | None = Field(None, description="What the person may do.")
    team: Name | None = Field(None, description="Whose definitions the person may change; null: every team's.")


class AccountAnswer(BaseModel):
    """An account. Its password is never answered."""

    name: str
    role: Role
    team: str | None
    created_at: str
    updated_at: str = Field(description="When the password, the role or the team was last changed.")


def answer(account: accounts.Account) -> JsonObject:
    """An account as JSON, as `AccountAnswer` describes it."""
    times = {"created_at": rfc3339(account.created_at), "updated_at": rfc3339(account.updated_at)}
    return {"name": account.name, "role": account.role, "team": account.team, **times}


_ANSWER = {"content": {JSON: {"schema": AccountAnswer.model_json_schema()}}}


@router.get("", summary="List accounts", response_model=Page, responses=documented(401, 403, 422))
async def list_accounts(query: Annotated[PageQuery, Query()], parts: PartsDep, actor: AdminActor) -> Response:
    """Accounts by name."""
    async with parts.database.read() as session:
        found, next_cursor = await accounts.accounts(session, actor, query.limit, query.cursor)
    return page([answer(account) for account in found], next_cursor)


@router.get("/{name}", summary="Get an account", response_model=AccountAnswer, responses=documented(401, 403, 404))
async def get_account(name: str, parts: PartsDep, actor: AdminActor) -> Response:
    """One account."""
    async with parts.database.read() as session:
        return json_response(answer(await accounts.get_account(session, actor, name)))


@router.post(
    "",
    status_code=201,
    summary="Make an account",
    response_class=Response,
    responses={
        201: {"description": "The account.", "headers": {"Location": {"schema": {"type": "string"}}}, **_ANSWER},
        **documented(400, 401, 403, 409, 413, 415, 422),
    },
    openapi_extra={"parameters": [idempotency.PARAMETER], **documented_body(NewAccount, ACCOUNT)},
)
async def post_account(request: Request, parts: PartsDep, actor: AdminActor) -> Response:
    """Makes an account, which can sign in at once."""
    body, wanted = await read_model(request, NewAccount)

    async def act(occasion: Occasion) -> Response:
        async with parts.database.write() as session:
            password = wanted.password.get_secret_value()
            made = await accounts.add(session, actor, wanted.name, password, wanted.role, wanted.team)
        return json_response(answer(made), 201, {"Location": f"/api/v1/accounts/{quote(made.name, safe='@+')}"})

    return await idempotency.once(parts, request, actor, body, act)


@router.patch(
    "/{name}",
    summary="Change an account",
    response_class=Response,
    responses={
        200: {"description": "The account.", **_ANSWER},
        **documented(400, 401, 403, 404, 409, 413, 415, 422),
    },
    openapi_extra=documented_body(AccountChange, ACCOUNT_CHANGE, MERGE_PATCH, JSON),
)
async def patch_account(name: str, request: Request, parts: PartsDep, actor: AdminActor) -> Response:
    """Sets another password, role or team; the person has to sign in again. 409 where no admin would be left.

    Tokens that the account made keep their scopes: `created_by` of `GET /tokens` names them.
    """
    _, wanted = await read_model(request, AccountChange, MERGE_PATCH, JSON)
    password = None if wanted.password is None else wanted.password.get_secret_value()
    team = wanted.team if "team" in wanted.model_fields_set else accounts.KEPT
    async with parts.database.write() as session:
        changed = await accounts.change(session, actor, name, password=password, role=wanted.role, team=team)
    return json_response(answer(changed))


@router.delete("/{name}", status_code=204, summary="Remove an account", responses=documented(401, 403, 404, 409))
async def delete_account(name: str, parts: PartsDep, actor: AdminActor) -> Response:
    """Removes an account; its sessions end at once. 409 for the last admin.

    Tokens that it made work on: `created_by` of `GET /tokens` names them, and `DELETE /tokens/{id}` revokes one.
    """
    async with parts.database.write() as session:
        await accounts.remove(session, actor, name)
    return Response(status_code=204)
