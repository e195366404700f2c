"""`GET /counters`: how many attempts there were, by step of time."""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from control_api.access.teams import seen_history
from control_api.history.counters import CounterQuery, counters
from control_api.http.auth import ReadActor
from control_api.http.media_type import JSON
from control_api.http.page import json_response
from control_api.http.problems import documented
from control_api.models import CounterRow
from control_api.parts import PartsDep
from control_api.rest.examples import COUNTERS
from notifier.record import JsonObject

router = APIRouter(prefix="/counters", tags=["history"])

_NAME: JsonObject = {"type": ["string", "null"], "description": "Null where it is not counted apart, or there is none."}
_POINT: JsonObject = {
    "type": "object",
    "required": ["at", "configuration", "outcome", "reason", "count"],
    "properties": {
        "at": {"type": "string", "format": "date-time", "description": "Where the step begins."},
        **dict.fromkeys(("configuration", "outcome", "reason"), _NAME),
        "count": {"type": "integer"},
    },
}
_POINTS: JsonObject = {
    "type": "object",
    "required": ["step", "since", "until", "items", "next_cursor"],
    "properties": {
        "step": {"type": "string", "enum": ["minute", "hour", "day"]},
        "since": {"type": "string", "format": "date-time"},
        "until": {"type": "string", "format": "date-time"},
        "items": {"type": "array", "items": _POINT},
        "next_cursor": {"type": ["string", "null"], "description": "Null: these are all points of the range."},
    },
}


@router.get(
    "",
    summary="Count attempts by time",
    response_class=Response,
    responses={
        200: {"description": "Points, the newest first.", "content": {JSON: {"schema": _POINTS, "example": COUNTERS}}},
        **documented(401, 403, 422),
    },
)
async def get_counters(query: Annotated[CounterQuery, Query()], parts: PartsDep, actor: ReadActor) -> Response:
    """How many attempts there were in each minute, hour or day, by configuration, outcome and reason; kept for 30 days.

    What filters dropped is counted with them, as `suppressed`. A step without any has no point. At most 10,000 steps are
    answered; `next_cursor` says that there are more points than `limit`.
    """
    async with parts.database.read() as session:
        return json_response(await counters(session, query, seen_history(actor, CounterRow)))
