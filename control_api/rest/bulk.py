"""`POST /definitions`: many definitions at once, as one change."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from control_api.definitions.bulk import read_object, shown
from control_api.definitions.documents import Document
from control_api.http import idempotency
from control_api.http.auth import WriteActor
from control_api.http.body import of_large, parse_json, read_body
from control_api.http.media_type import JSON
from control_api.http.page import json_response
from control_api.http.problems import documented
from control_api.intake.occasion import Occasion
from control_api.parts import PartsDep
from control_api.rest.definition_schemas import PROBLEM, ref
from control_api.rest.examples import BULK
from notifier.outcome import KINDS

router = APIRouter(prefix="/definitions", tags=["definitions"])


class BulkQuery(BaseModel):
    """How definitions are applied."""

    model_config = ConfigDict(extra="forbid")

    dry_run: bool = Field(False, description="Answer the plan, and change nothing.")
    prune: bool = Field(False, description="Also delete what the body does not name.")


_DEFINITIONS = {
    "type": "object",
    "properties": {f"{kind}s": {"type": ["array", "null"], "items": ref(kind.capitalize())} for kind in KINDS},
    "patternProperties": {"^x-": {}},
    "additionalProperties": False,
}
_DIFFERENCE = {
    "type": "object",
    "required": ["path", "before", "after"],
    "properties": {name: {"type": "string"} for name in ("path", "before", "after")},
}
_CHANGE = {
    "type": "object",
    "required": ["action", "kind", "name", "differences"],
    "properties": {
        "action": {"type": "string", "enum": ["created", "changed", "deleted"]},
        "kind": {"type": "string", "enum": list(KINDS)},
        "name": {"type": "string"},
        "differences": {
            "type": "array",
            "items": _DIFFERENCE,
            "description": "Of what is changed, the first 200; texts are shortened.",
        },
        "more": {"type": "integer", "description": "How many differences are not shown, where there are such."},
    },
}
_PLAN = {
    "type": "object",
    "required": ["dry_run", "revision", "created", "changed", "deleted", "unchanged", "changes"],
    "properties": {
        "dry_run": {"type": "boolean"},
        "revision": {
            "type": ["integer", "null"],
            "description": "Number of the change; null: nothing was changed.",
        },
        **{word: {"type": "integer"} for word in ("created", "changed", "deleted", "unchanged")},
        "changes": {"type": "array", "items": _CHANGE},
    },
}


def _documents(body: bytes) -> list[Document]:
    return read_object(parse_json(body), passed_over=(PROBLEM,))


@router.post(
    "",
    summary="Apply definitions",
    response_class=Response,
    responses={
        200: {"description": "What was done, or would be.", "content": {JSON: {"schema": _PLAN}}},
        **documented(400, 401, 403, 409, 413, 415, 422),
    },
    openapi_extra={
        "parameters": [idempotency.PARAMETER],
        "requestBody": {"required": True, "content": {JSON: {"schema": _DEFINITIONS, "example": BULK}}},
    },
)
async def post_definitions(
    request: Request, query: Annotated[BulkQuery, Query()], parts: PartsDep, actor: WriteActor
) -> Response:
    """Makes the definitions what the body says, as `notifier apply` does: one change, all of it or nothing.

    The body is the object of a YAML file. Each definition replaces the one of its name; those that the body does not name
    stay, unless they are pruned. A body holds 10,000 definitions at most. Secrets that are left out are kept. Scripts need the
    scope `admin`.
    """
    _, body = await read_body(request, JSON)
    documents = await of_large(body, _documents)

    async def act(occasion: Occasion) -> Response:
        plan = await parts.services.apply(actor, documents, prune=query.prune, dry_run=query.dry_run)
        return json_response(shown(plan, dry_run=query.dry_run))

    return await idempotency.once(parts, request, actor, body, act)
