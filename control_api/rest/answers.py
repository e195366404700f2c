"""`GET /answers`: what people pressed under messages."""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from control_api.access.teams import seen_history
from control_api.history import records
from control_api.history.queries import AnswerQuery
from control_api.http.auth import ReadActor
from control_api.http.page import Page, page
from control_api.http.problems import documented
from control_api.models import AnswerRow
from control_api.parts import PartsDep

router = APIRouter(prefix="/answers", tags=["history"])


@router.get("", summary="List answers", response_model=Page, responses=documented(401, 403, 422))
async def list_answers(query: Annotated[AnswerQuery, Query()], parts: PartsDep, actor: ReadActor) -> Response:
    """Buttons that people pressed under messages, the newest first; kept for 30 days unless set otherwise."""
    seen = seen_history(actor, AnswerRow)
    async with parts.database.read() as session:
        return page(*await records.answers(session, query.conditions(), query.limit, query.cursor, seen))
