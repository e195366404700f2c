"""`/deliveries`: what is parked, and how it is cancelled."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Response

from control_api.http.auth import ReadActor, RunActor
from control_api.http.media_type import JSON
from control_api.http.page import Page, json_response, page
from control_api.http.problems import documented
from control_api.parked.parked import ParkedQuery
from control_api.parts import PartsDep

router = APIRouter(prefix="/deliveries", tags=["history"])

_TIME: dict[str, Any] = {"type": ["string", "null"], "format": "date-time"}
_NAME: dict[str, Any] = {"type": ["string", "null"]}
_DELIVERY: dict[str, Any] = {
    "type": "object",
    "required": ["id", "state", "configuration", "consumer", "why", "attempt", "message"],
    "properties": {
        "id": {"type": "string"},
        "state": {"type": "string", "enum": ["parked"]},
        "configuration": {"type": "string"},
        "consumer": {"type": "string"},
        "recipient": {**_NAME, "description": "A username; null: everyone in `recipients`."},
        "why": {**_NAME, "description": "`retry`, `held`, `delayed` or `digest`."},
        "attempt": {"type": "integer", "description": "Number of the next try."},
        "not_before": {**_TIME, "description": "When it is due; null: at once."},
        "parked_at": _TIME,
        "redriven": {"type": "boolean", "description": "Whether it was sent again from the dead letters."},
        "recipients": {"type": ["array", "null"], "items": {"type": "string"}},
        "lane": {"type": "string"},
        "message": {"description": "As it came."},
    },
}
_ASKED = {
    "type": "object",
    "required": ["id", "state"],
    "properties": {"id": {"type": "string"}, "state": {"type": "string", "enum": ["parked"]}},
}


@router.get("", summary="List parked deliveries", response_model=Page, responses=documented(401, 403, 422))
async def list_deliveries(query: Annotated[ParkedQuery, Query()], parts: PartsDep, actor: ReadActor) -> Response:
    """Deliveries that cannot go now, and wait; what is due first comes first. Without their messages."""
    return page(*await parts.parked.list(actor, query))


@router.get(
    "/{id:path}",
    summary="Get a parked delivery",
    response_class=Response,
    responses={
        200: {"description": "The delivery, with its message.", "content": {JSON: {"schema": _DELIVERY}}},
        **documented(401, 403, 404),
    },
)
async def get_delivery(id: str, parts: PartsDep, actor: ReadActor) -> Response:  # noqa: A002 - the address's word
    """A parked delivery, whole. Percent-encode the id once more: its own `%` are part of it."""
    return json_response(await parts.parked.get(actor, id))


@router.delete(
    "/{id:path}",
    status_code=204,
    summary="Cancel a parked delivery",
    response_class=Response,
    responses={
        202: {
            "description": "It is asked for. No delivery worker has answered so far; one that starts within a day does it.",
            "content": {JSON: {"schema": _ASKED}},
        },
        **documented(401, 403, 404, 409),
    },
)
async def cancel_delivery(id: str, parts: PartsDep, actor: RunActor) -> Response:  # noqa: A002 - the address's word
    """Has a parked delivery given up: it is not delivered, and its last attempt is `suppressed: cancelled`.

    404 where nothing is parked under the id; 409 where it was released meanwhile. Percent-encode the id once more.
    """
    if await parts.parked.cancel(actor, id):
        return Response(status_code=204)
    return json_response({"id": id, "state": "parked"}, 202)
