"""`GET /status`: what the processes of the data plane say about themselves, paused consumers, chats that moved and sources."""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from control_api.definitions.status_page import status_page
from control_api.http.auth import ReadActor
from control_api.http.page import Page, page
from control_api.http.problems import documented
from control_api.page_query import PageQuery
from control_api.parts import PartsDep

router = APIRouter(prefix="/status", tags=["status"])


@router.get("", summary="List what the roles report", response_model=Page, responses=documented(401, 403, 422))
async def list_statuses(query: Annotated[PageQuery, Query()], parts: PartsDep, actor: ReadActor) -> Response:
    """Each process that works, or stopped and was not replaced: its state, the definitions it cannot use, what it passed over.

    Then each consumer that is paused or disabled: why, since when and by whom, when it is tried again, and how
    many deliveries wait on its topic (counted every few seconds). Then each producer that is paused. Then each chat that has
    another number than its consumer says, by its name `<consumer>/<chat id>`; `became` is the new one. Then each producer whose
    source is failing, silent, has something to say, or was so and is ready again: since when, and why.
    """
    return page(*await status_page(parts.statuses, parts.services, actor, query))
