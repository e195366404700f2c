"""`/tokens`: the tokens that programs call the API with."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from control_api.access import tokens
from control_api.access.actor import Scope
from control_api.access.tokens import shown
from control_api.http import idempotency
from control_api.http.auth import AdminActor
from control_api.http.body import documented_body, read_model
from control_api.http.media_type import JSON
from control_api.http.page import Page, json_response, page
from control_api.http.problems import documented
from control_api.intake.occasion import Occasion
from control_api.page_query import PageQuery
from control_api.parts import PartsDep
from control_api.rest.examples import TOKEN
from notifier.bounds import BoundedTime
from notifier.definition import Name

router = APIRouter(prefix="/tokens", tags=["tokens"])


class NewToken(BaseModel):
    """What a token is made of."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1, max_length=200, description="What people call it.", examples=["ci"])
    scopes: list[Scope] = Field(
        default_factory=list,
        description="What it may do; only what the caller may do. One at least, unless `producer` is given.",
    )
    team: Name | None = Field(
        None, description="Whose definitions it may change; null: the caller's team, or every team's."
    )
    producer: Name | None = Field(
        None,
        description="The only producer whose messages it may hand over; its scope is `push`. Null: every producer.",
    )
    expires_at: BoundedTime | None = Field(None, description="Until when it is good; null: without end.")


class TokenAnswer(BaseModel):
    """A token. `token`, its text, is in the answer to POST only, and nowhere else ever."""

    id: str
    name: str
    scopes: list[Scope]
    team: str | None
    producer: str | None
    created_at: datetime
    created_by: str | None
    expires_at: datetime | None
    last_used_at: datetime | None = Field(description="To ten minutes.")
    revoked_at: datetime | None
    token: str | None = None


@router.get("", summary="List tokens", response_model=Page, responses=documented(401, 403, 422))
async def list_tokens(query: Annotated[PageQuery, Query()], parts: PartsDep, actor: AdminActor) -> Response:
    """All tokens, the newest first, revoked ones too."""
    async with parts.database.read() as session:
        found, next_cursor = await tokens.token_page(session, query, actor)
    return page([shown(token) for token in found], next_cursor)


@router.get("/{id}", summary="Get a token", response_model=TokenAnswer, responses=documented(401, 403, 404))
async def get_token(id: str, parts: PartsDep, actor: AdminActor) -> Response:  # noqa: A002 - the address's word
    """One token, without its text."""
    async with parts.database.read() as session:
        return json_response(shown(await tokens.get_token(session, id, actor)))


@router.post(
    "",
    status_code=201,
    summary="Make a token",
    response_class=Response,
    responses={
        201: {
            "description": "The token, its text included: it is shown this once.",
            "headers": {"Location": {"schema": {"type": "string"}}},
            "content": {JSON: {"schema": TokenAnswer.model_json_schema()}},
        },
        **documented(400, 401, 403, 409, 415, 422),
    },
    openapi_extra={"parameters": [idempotency.PARAMETER], **documented_body(NewToken, TOKEN)},
)
async def post_token(request: Request, parts: PartsDep, actor: AdminActor) -> Response:
    """Makes a token."""
    body, wanted = await read_model(request, NewToken)

    async def act(occasion: Occasion) -> Response:
        async with parts.database.write() as session:
            token, text = await tokens.mint(session, actor, tokens.NewToken(**dict(wanted)))
        headers = {"Location": f"/api/v1/tokens/{token.id}"}
        return json_response({**shown(token), "token": text}, 201, headers)

    return await idempotency.once(parts, request, actor, body, act)


@router.delete("/{id}", status_code=204, summary="Revoke a token", responses=documented(401, 403, 404))
async def delete_token(id: str, parts: PartsDep, actor: AdminActor) -> Response:  # noqa: A002 - the address's word
    """Revokes a token, by its id: at once here, within a second in other API processes. Doing so twice is harmless."""
    try:
        async with parts.database.write() as session:
            await tokens.get_token(session, id, actor)  # by id only: a name may be that of many
            await tokens.revoke(session, actor, id)
    finally:
        parts.tokens.forget()
    return Response(status_code=204)
