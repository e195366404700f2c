"""`POST /users/{username}/link`: a code with which a person is reached in a chat."""

from typing import Any

from fastapi import APIRouter, Request, Response

from control_api.http import idempotency
from control_api.http.auth import WriteActor
from control_api.http.body import whole_body
from control_api.http.media_type import JSON
from control_api.http.page import json_response
from control_api.http.problems import documented
from control_api.intake.occasion import Occasion
from control_api.parts import PartsDep
from control_api.wishes.codes import make_code

router = APIRouter(prefix="/users", tags=["users"])

_CODE: dict[str, Any] = {
    "type": "object",
    "required": ["username", "code", "command", "expires_at", "consumers"],
    "properties": {
        "username": {"type": "string"},
        "code": {"type": "string", "description": "It is shown this once, and works once."},
        "command": {
            "type": "string",
            "description": "What the person sends to the bot.",
            "examples": ["/start f8Zk3…"],
        },
        "expires_at": {"type": "string", "format": "date-time"},
        "consumers": {
            "type": "array",
            "items": {"type": "string"},
            "description": "Names of the consumers that hear people: the code works with any of them.",
        },
    },
}


@router.post(
    "/{username}/link",
    status_code=201,
    summary="Make a code that links a user to a chat",
    response_class=Response,
    responses={
        201: {"description": "The code.", "content": {JSON: {"schema": _CODE}}},
        **documented(400, 401, 403, 404, 408, 409, 413, 422),
    },
    openapi_extra={"parameters": [idempotency.PARAMETER]},
)
async def post_link(username: str, request: Request, parts: PartsDep, actor: WriteActor) -> Response:
    """Who sends the command to the bot within a day is reached there: the chat is written into the user's `additional_info`,
    as a change by the consumer. Needs no body."""
    body = await whole_body(request)

    async def act(occasion: Occasion) -> Response:
        return json_response((await make_code(parts.database, parts.services, actor, username)).answer(), 201)

    return await idempotency.once(parts, request, actor, body, act)
