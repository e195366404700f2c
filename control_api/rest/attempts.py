"""`GET /attempts`: what became of messages."""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from control_api.access.teams import sight_of
from control_api.history import records
from control_api.history.queries import AttemptQuery
from control_api.http.auth import ReadActor
from control_api.http.page import Page, page
from control_api.http.problems import documented
from control_api.parts import PartsDep

router = APIRouter(prefix="/attempts", tags=["history"])


@router.get(
    "",
    summary="List attempts",
    response_model=Page,
    responses=documented(401, 403, 422),
)
async def list_attempts(query: Annotated[AttemptQuery, Query()], parts: PartsDep, actor: ReadActor) -> Response:
    """Attempts at deliveries, and why messages were not delivered, the newest first; kept for 7 days unless set otherwise.

    A page of a search may hold fewer items than `limit`, or none, and have a cursor: what is rare among many is looked for
    page by page.
    """
    async with parts.database.read() as session:
        return page(*await records.attempts(session, query, sight_of(actor)))
