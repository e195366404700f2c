"""`GET /runs`: what became of ticks."""

from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import AwareDatetime

from control_api.access.teams import seen_history
from control_api.history import records
from control_api.history.queries import RunQuery
from control_api.http.auth import ReadActor
from control_api.http.media_type import JSON
from control_api.http.page import Page, json_response, page
from control_api.http.problems import documented
from control_api.models import RunRow
from control_api.parts import PartsDep

router = APIRouter(prefix="/runs", tags=["history"])


@router.get("", summary="List runs", response_model=Page, responses=documented(401, 403, 422))
async def list_runs(query: Annotated[RunQuery, Query()], parts: PartsDep, actor: ReadActor) -> Response:
    """Runs of configurations, the one that began last first; kept for 30 days."""
    async with parts.database.read() as session:
        return page(
            *await records.runs(session, query.conditions(), query.limit, query.cursor, seen_history(actor, RunRow))
        )


@router.get(
    "/{configuration}/{scheduled_at}",
    summary="Get a run",
    response_class=Response,
    responses={
        200: {"description": "The run.", "content": {JSON: {"schema": {"type": "object"}}}},
        **documented(401, 403, 404, 422),
    },
)
async def get_run(configuration: str, scheduled_at: AwareDatetime, parts: PartsDep, actor: ReadActor) -> Response:
    """The run of a tick; 404 until a runner has taken it up."""
    async with parts.database.read() as session:
        return json_response(await records.run(session, configuration, scheduled_at, seen_history(actor, RunRow)))
