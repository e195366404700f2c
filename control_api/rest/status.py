"""`GET /status`: what the processes of the data plane say about themselves, and which consumers are paused."""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from control_api.http.auth import ReadActor
from control_api.http.page import Page, page
from control_api.http.problems import documented
from control_api.page_query import PageQuery, part_of
from control_api.parts import PartsDep
from notifier.record import JsonObject, rfc3339
from notifier.status import Status

router = APIRouter(prefix="/status", tags=["status"])


@router.get("", summary="List what the roles report", response_model=Page, responses=documented(401, 403, 422))
async def list_statuses(query: Annotated[PageQuery, Query()], parts: PartsDep, actor: ReadActor) -> Response:
    """Each process that works, or stopped and was not replaced: its state, the definitions it cannot use, what it passed over.

    Then each consumer that is paused: why, and when it is tried again.
    """
    lists = parts.statuses.present(), parts.statuses.paused()
    found = {f"{place}/{status.name}": status for place, statuses in enumerate(lists) for status in statuses}
    statuses, next_cursor = part_of(found, query)
    return page([shown(status) for status in statuses], next_cursor)


def shown(status: Status) -> JsonObject:
    """A status as JSON, every field in it."""
    return {
        "kind": status.kind,
        "name": status.name,
        "state": status.state,
        "detail": status.detail,
        "at": rfc3339(status.at),
        "reason": status.reason,
        "not_before": None if status.not_before is None else rfc3339(status.not_before),
        "problems": status.problems,
        "passed_over": [
            {"topic": one.topic, "count": one.count, "last": one.last, "error": one.error} for one in status.passed_over
        ],
    }
