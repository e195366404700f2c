"""`GET /users/{username}/working`: whether a person works at a moment."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Response

from control_api.definitions.working import working as judged
from control_api.http.auth import ReadActor
from control_api.http.media_type import JSON
from control_api.http.page import json_response
from control_api.http.problems import documented
from control_api.parts import PartsDep
from notifier.bounds import BoundedTime

router = APIRouter(prefix="/users", tags=["users"])

_WORKING: dict[str, Any] = {
    "type": "object",
    "required": ["working", "reason"],
    "properties": {
        "working": {"type": "boolean"},
        "reason": {"type": "string", "enum": ["ok", "on_leave", "outside_hours"]},
    },
}


@router.get(
    "/{username}/working",
    summary="Whether a user works now",
    response_class=Response,
    responses={
        200: {"description": "Whether, and why not.", "content": {JSON: {"schema": _WORKING}}},
        **documented(401, 403, 404, 422),
    },
)
async def working(
    username: str,
    parts: PartsDep,
    actor: ReadActor,
    at: Annotated[BoundedTime | None, Query(description="The moment; by default this one.")] = None,
) -> Response:
    """`{"working": false, "reason": "on_leave"}`, as the filter `receiver_working` judges. It is no field of the user, which
    would then change without a change."""
    found = await judged(parts.services.seen_by(actor), username, at)
    return json_response({"working": found.working, "reason": found.reason})
