"""`GET /attempts`: what became of messages."""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from control_api.access.teams import seen_history
from control_api.history import records
from control_api.history.queries import AttemptQuery
from control_api.http.auth import ReadActor
from control_api.http.page import Page, page
from control_api.http.problems import documented
from control_api.models import AttemptRow
from control_api.parts import PartsDep

router = APIRouter(prefix="/attempts", tags=["history"])


@router.get(
    "",
    summary="List attempts",
    response_model=Page,
    responses=documented(401, 403, 422),
)
async def list_attempts(query: Annotated[AttemptQuery, Query()], parts: PartsDep, actor: ReadActor) -> Response:
    """Attempts at deliveries, and why messages were not delivered, the newest first; kept for 7 days."""
    async with parts.database.read() as session:
        return page(
            *await records.attempts(
                session, query.conditions(), query.limit, query.cursor, seen_history(actor, AttemptRow)
            )
        )
