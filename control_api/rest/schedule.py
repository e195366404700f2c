"""`GET /configurations/{name}/schedule`: when a configuration will run."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Response

from control_api.definitions.upcoming import MAX_COUNT, upcoming
from control_api.http.auth import ReadActor
from control_api.http.media_type import JSON
from control_api.http.page import json_response
from control_api.http.problems import documented
from control_api.parts import PartsDep
from notifier.record import rfc3339

router = APIRouter(prefix="/configurations", tags=["configurations"])

_SCHEDULE: dict[str, Any] = {
    "type": "object",
    "required": ["text", "next"],
    "properties": {
        "text": {"type": ["string", "null"], "description": "The schedule in words, with its zone; null: none."},
        "next": {"type": "array", "items": {"type": "string", "format": "date-time"}},
    },
}


@router.get(
    "/{name}/schedule",
    summary="When a configuration will run",
    response_class=Response,
    responses={
        200: {"description": "In words, and the next due times.", "content": {JSON: {"schema": _SCHEDULE}}},
        **documented(401, 403, 404, 422),
    },
)
async def schedule(
    name: str,
    parts: PartsDep,
    actor: ReadActor,
    count: Annotated[int, Query(ge=1, le=MAX_COUNT, description="How many due times.")] = 5,
) -> Response:
    """`{"text": "At 09:00 (Europe/Berlin)", "next": ["2027-03-28T07:00:00Z", …]}`; no times while it is not enabled."""
    found = await upcoming(parts.services.seen_by(actor), name, count)
    return json_response({"text": found.text, "next": [rfc3339(due) for due in found.next]})
