"""`GET /attempts`: what became of messages."""

from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import Field

from control_api.history import records
from control_api.http.auth import ReadActor
from control_api.http.page import Page, PageQuery, page
from control_api.http.problems import documented
from control_api.parts import PartsDep
from notifier.outcome import Outcome, Reason

router = APIRouter(prefix="/attempts", tags=["history"])


class AttemptQuery(PageQuery):
    """Which attempts; conditions are equalities, and all of them must hold."""

    producer: str | None = None
    message: str | None = Field(None, description="The message's id; unique with `producer`.")
    delivery: str | None = Field(None, description="The delivery's id.")
    configuration: str | None = None
    consumer: str | None = None
    recipient: str | None = Field(None, description="A username.")
    outcome: Outcome | None = None
    reason: Reason | None = None


@router.get(
    "",
    summary="List attempts",
    response_model=Page,
    responses=documented(401, 403, 422),
)
async def list_attempts(query: Annotated[AttemptQuery, Query()], parts: PartsDep, actor: ReadActor) -> Response:
    """Attempts at deliveries, and why messages were not delivered, the newest first; kept for 7 days."""
    async with parts.database.read() as session:
        return page(*await records.attempts(session, query.conditions(), query.limit, query.cursor))
