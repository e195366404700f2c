"""`POST /configurations/{name}/dry_run` and `/dry_runs/{id}`: what a change would have delivered."""

from typing import Any

from fastapi import APIRouter, Request, Response

from control_api.dry_run.question import DryRunInput
from control_api.http import idempotency
from control_api.http.auth import ReadActor, RunActor
from control_api.http.body import documented_body, read_model
from control_api.http.media_type import JSON
from control_api.http.page import json_response
from control_api.http.problems import documented
from control_api.intake.occasion import Occasion
from control_api.parts import PartsDep
from control_api.rest.examples import DRY_RUN

router = APIRouter(tags=["dry runs"])

_BEGUN = {"type": "object", "required": ["id"], "properties": {"id": {"type": "string", "format": "uuid"}}}
_TIME = {"type": "string", "format": "date-time"}
_COUNT = {"type": "integer", "minimum": 0}
_SAMPLE: dict[str, Any] = {
    "type": "object",
    "required": ["producer", "message", "at", "text", "consumer", "why"],
    "properties": {
        "producer": {"type": "string"},
        "message": {"type": "string", "description": "The message's id."},
        "at": {**_TIME, "description": "When it was written, by which it is judged."},
        "text": {"type": "string", "description": "Its title, or the beginning of its content."},
        "consumer": {"type": "string"},
        "recipient": {"type": "string", "description": "A username; absent: everyone at once."},
        "why": {"type": "string", "description": "What the other version says of it."},
    },
}
_SAMPLES = {"type": "array", "maxItems": 100, "items": _SAMPLE}
_DRY_RUN: dict[str, Any] = {
    "type": "object",
    "required": ["id", "configuration", "state", "progress", "messages", "would_deliver", "delivers_now"],
    "properties": {
        "id": {"type": "string", "format": "uuid"},
        "configuration": {"type": "string"},
        "draft": {"type": "boolean", "description": "Whether a draft was given."},
        "since": _TIME,
        "until": _TIME,
        "state": {"type": "string", "enum": ["running", "done", "cancelled", "failed"]},
        "error": {"type": ["string", "null"], "description": "Why it failed."},
        "progress": {"type": "number", "minimum": 0, "maximum": 1},
        "messages": {**_COUNT, "description": "Records of the span that were read."},
        "considered": {**_COUNT, "description": "Of them, messages that the configuration or its draft takes."},
        "unreadable": {**_COUNT, "description": "Of them, records that are no messages; they are delivered to nobody."},
        "failed": {**_COUNT, "description": "Messages that a filter cannot judge; they would become dead letters."},
        "would_deliver": {**_COUNT, "description": "Deliveries by the draft, or as it is stored."},
        "delivers_now": {**_COUNT, "description": "Deliveries by the configuration as it is stored."},
        "added": {**_COUNT, "description": "Deliveries by the draft alone."},
        "dropped": {**_COUNT, "description": "Deliveries by the stored configuration alone."},
        "samples": {"type": "object", "properties": {"added": _SAMPLES, "dropped": _SAMPLES}},
        "created_at": _TIME,
        "ended_at": {**_TIME, "type": ["string", "null"]},
    },
}


@router.post(
    "/configurations/{name}/dry_run",
    status_code=202,
    summary="Ask what a draft would have delivered",
    response_class=Response,
    responses={
        202: {
            "description": "It has begun.",
            "headers": {"Location": {"schema": {"type": "string"}, "description": "Where its results are."}},
            "content": {JSON: {"schema": _BEGUN}},
        },
        **documented(400, 401, 403, 404, 409, 413, 415, 422),
    },
    openapi_extra={"parameters": [idempotency.PARAMETER], **documented_body(DryRunInput, DRY_RUN)},
)
async def begin(name: str, request: Request, parts: PartsDep, actor: RunActor) -> Response:
    """Judges the messages of a span by a draft and by the configuration as it is stored, each at its own time.

    Nothing is sent. A draft need not have a stored configuration. 409 while too many dry runs are at work.
    """
    body, asked = await read_model(request, DryRunInput)

    async def act(occasion: Occasion) -> Response:
        id_ = occasion.id_of(0)
        await parts.dry_runs.begin(actor, name, asked, id_, occasion.at)
        return json_response({"id": id_}, 202, {"Location": f"/api/v1/dry_runs/{id_}"})

    return await idempotency.once(parts, request, actor, body, act)


@router.get(
    "/dry_runs/{id}",
    summary="Get a dry run",
    response_class=Response,
    responses={
        200: {"description": "What it has found so far.", "content": {JSON: {"schema": _DRY_RUN}}},
        **documented(401, 403, 404),
    },
)
async def get(id: str, parts: PartsDep, actor: ReadActor) -> Response:  # noqa: A002 - the address's word
    """How far a dry run is and what it has found; kept for 7 days."""
    return json_response(await parts.dry_runs.get(actor, id))


@router.delete("/dry_runs/{id}", status_code=204, summary="Cancel a dry run", responses=documented(401, 403, 404))
async def cancel(id: str, parts: PartsDep, actor: RunActor) -> Response:  # noqa: A002 - the address's word
    """Cancels a dry run, and keeps what it has found. One that has ended stays as it is."""
    await parts.dry_runs.cancel(actor, id)
    return Response(status_code=204)
