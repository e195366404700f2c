"""`/jobs`: work that goes on after its request was answered: redrives."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Response

from control_api.http.auth import ReadActor, RunActor
from control_api.http.media_type import JSON
from control_api.http.page import Page, json_response, page
from control_api.http.problems import documented
from control_api.page_query import PageQuery
from control_api.parts import PartsDep

router = APIRouter(prefix="/jobs", tags=["jobs"])

_TIME: dict[str, Any] = {"type": "string", "format": "date-time"}
_COUNT = {"type": "integer", "minimum": 0}
_SAMPLE = {"type": "object", "properties": {"id": {"type": "string"}, "why": {"type": "string"}}}
_JOB: dict[str, Any] = {
    "type": "object",
    "required": ["id", "kind", "state", "matched", "redriven", "skipped", "failed"],
    "properties": {
        "id": {"type": "string", "format": "uuid"},
        "kind": {"type": "string", "enum": ["redrive"]},
        "criteria": {"type": "object", "description": "The conditions that were given."},
        "per_second": {**_COUNT, "description": "How many letters are sent again in a second at most."},
        "state": {"type": "string", "enum": ["running", "done", "cancelled", "failed"]},
        "error": {"type": ["string", "null"], "description": "Why it failed, or waits now."},
        "matched": {**_COUNT, "description": "Letters that fulfilled the conditions when it began."},
        "redriven": {**_COUNT, "description": "Letters that were sent again."},
        "skipped": {**_COUNT, "description": "Letters that cannot be sent again."},
        "failed": {**_COUNT, "description": "Letters that Kafka did not take."},
        "why": {
            "type": "object",
            "additionalProperties": _COUNT,
            "description": "Why letters were skipped or failed, and how many.",
        },
        "samples": {"type": "array", "maxItems": 100, "items": _SAMPLE, "description": "The first of those letters."},
        "actor": {"type": "string", "description": "Who began it."},
        "created_at": _TIME,
        "started_at": {**_TIME, "type": ["string", "null"]},
        "ended_at": {**_TIME, "type": ["string", "null"]},
    },
}


@router.get("", summary="List jobs", response_model=Page, responses=documented(401, 403, 422))
async def list_jobs(query: Annotated[PageQuery, Query()], parts: PartsDep, actor: ReadActor) -> Response:
    """Redrives, the newest first; kept for 7 days after their end."""
    return page(*await parts.redrives.list(actor, query))


@router.get(
    "/{id}",
    summary="Get a job",
    response_class=Response,
    responses={
        200: {"description": "How far it is.", "content": {JSON: {"schema": _JOB}}},
        **documented(401, 403, 404),
    },
)
async def get_job(id: str, parts: PartsDep, actor: ReadActor) -> Response:  # noqa: A002 - the address's word
    """How far a redrive is, and why letters were not sent again."""
    return json_response(await parts.redrives.get(actor, id))


@router.delete("/{id}", status_code=204, summary="Cancel a job", responses=documented(401, 403, 404))
async def cancel_job(id: str, parts: PartsDep, actor: RunActor) -> Response:  # noqa: A002 - the address's word
    """Cancels a redrive; what was sent again stays so. One that has ended stays as it is."""
    await parts.redrives.cancel(actor, id)
    return Response(status_code=204)
