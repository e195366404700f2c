"""`GET /dead_letters`: what was given up."""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from control_api.access.teams import seen_history
from control_api.history import records
from control_api.history.queries import DeadLetterQuery
from control_api.http.auth import ReadActor
from control_api.http.media_type import JSON
from control_api.http.page import Page, json_response, page
from control_api.http.problems import documented
from control_api.models import DeadLetterRow
from control_api.parts import PartsDep

router = APIRouter(prefix="/dead_letters", tags=["history"])


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
