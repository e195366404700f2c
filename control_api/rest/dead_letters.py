"""`GET /dead_letters`: what was given up; and `POST /dead_letters/redrive`, which sends it again."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from control_api.access.teams import seen_history
from control_api.history import records
from control_api.history.queries import DeadLetterQuery
from control_api.http import idempotency
from control_api.http.auth import ReadActor, RunActor
from control_api.http.body import documented_body, read_model
from control_api.http.media_type import JSON
from control_api.http.page import Page, json_response, page
from control_api.http.problems import documented
from control_api.intake.occasion import Occasion
from control_api.models import DeadLetterRow
from control_api.parts import PartsDep
from control_api.redrive.criteria import RedriveInput
from control_api.rest.examples import REDRIVE

router = APIRouter(prefix="/dead_letters", tags=["history"])

_COUNTS = {"type": "object", "additionalProperties": {"type": "integer"}}
_MATCHED = {"type": "integer", "minimum": 0, "description": "How many letters fulfil the conditions now."}
_BEGUN = {
    "type": "object",
    "required": ["job", "matched"],
    "properties": {"job": {"type": "string", "format": "uuid"}, "matched": _MATCHED},
}
_COUNTED = {
    "type": "object",
    "required": ["job", "matched", "reasons", "consumers"],
    "properties": {
        "job": {"type": "null"},
        "matched": _MATCHED,
        "reasons": {**_COUNTS, "description": "How many of each reason."},
        "consumers": {**_COUNTS, "description": "How many of each consumer."},
    },
}


@router.get("", summary="List dead letters", response_model=Page, responses=documented(401, 403, 422))
async def list_dead_letters(query: Annotated[DeadLetterQuery, Query()], parts: PartsDep, actor: ReadActor) -> Response:
    """Records and deliveries given up, the newest first; kept for 30 days.

    A value beyond 16,384 characters is left out here (`value_omitted`); ask for the dead letter itself.
    """
    async with parts.database.read() as session:
        return page(
            *await records.dead_letters(
                session, query.conditions(), query.limit, query.cursor, seen_history(actor, DeadLetterRow)
            )
        )


@router.post(
    "/redrive",
    status_code=202,
    summary="Send dead letters again",
    response_class=Response,
    responses={
        200: {"description": "What `dry_run` counted.", "content": {JSON: {"schema": _COUNTED}}},
        202: {
            "description": "It has begun.",
            "headers": {"Location": {"schema": {"type": "string"}, "description": "Where its progress is."}},
            "content": {JSON: {"schema": _BEGUN}},
        },
        **documented(400, 401, 403, 409, 413, 415, 422),
    },
    openapi_extra={"parameters": [idempotency.PARAMETER], **documented_body(RedriveInput, REDRIVE)},
)
async def redrive(request: Request, parts: PartsDep, actor: RunActor) -> Response:
    """Sends what fulfils all of the conditions again, each letter once, in the order in which they were given up.

    A delivery keeps its id and is tried as a new one; of other letters the original record goes through the pipeline again.
    Somebody of a team sends what is of the team's own configurations and of those without team. 409 while too many are at work.
    """
    body, asked = await read_model(request, RedriveInput)

    async def act(occasion: Occasion) -> Response:
        if asked.dry_run:
            return json_response(await parts.redrives.count(actor, asked))
        id_ = occasion.id_of(0)
        begun = await parts.redrives.begin(actor, asked, id_)
        return json_response(begun, 202, {"Location": f"/api/v1/jobs/{id_}"})

    return await idempotency.once(parts, request, actor, body, act)


@router.get(
    "/{id:path}",
    summary="Get a dead letter",
    response_class=Response,
    responses={
        200: {"description": "The dead letter, whole.", "content": {JSON: {"schema": {"type": "object"}}}},
        **documented(401, 403, 404),
    },
)
async def get_dead_letter(id: str, parts: PartsDep, actor: ReadActor) -> Response:  # noqa: A002 - the address's word
    """The newest dead letter of that id. Percent-encode the id once more: its own `%` are part of it."""
    async with parts.database.read() as session:
        return json_response(await records.dead_letter(session, id, seen_history(actor, DeadLetterRow)))
