"""`GET /status`: what the processes of the data plane say about themselves, and which consumers are paused."""

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Query, Response
from msgspec.structs import replace

from control_api.definitions.services import Services
from control_api.http.auth import ReadActor
from control_api.http.page import Page, page
from control_api.http.problems import documented
from control_api.page_query import PageQuery, part_of
from control_api.parts import PartsDep
from notifier.outcome import KINDS
from notifier.record import JsonObject, rfc3339
from notifier.status import Status

router = APIRouter(prefix="/status", tags=["status"])


@router.get("", summary="List what the roles report", response_model=Page, responses=documented(401, 403, 422))
async def list_statuses(query: Annotated[PageQuery, Query()], parts: PartsDep, actor: ReadActor) -> Response:
    """Each process that works, or stopped and was not replaced: its state, the definitions it cannot use, what it passed over.

    Then each consumer that is paused: why, and when it is tried again.
    """
    lists = [parts.statuses.present(), parts.statuses.paused()]
    if not actor.sees_all:
        services = parts.services.seen_by(actor)
        lists = [await _seen(services, statuses) for statuses in lists]
    found = {f"{place}/{status.name}": status for place, statuses in enumerate(lists) for status in statuses}
    statuses, next_cursor = part_of(found, query)
    return page([shown(status) for status in statuses], next_cursor)


async def _seen(services: Services, statuses: Sequence[Status]) -> list[Status]:
    """The statuses without definitions that the services do not show."""
    paused = {f"{one.kind}/{one.name}" for one in statuses if one.state == "paused"}
    named = paused.union(*(one.problems for one in statuses))
    seen: set[str] = set()
    for kind in KINDS:
        names = [name.partition("/")[2] for name in named if name.startswith(f"{kind}/")]
        seen |= {f"{kind}/{name}" for name in await services.get_many(kind, names)}
    return [
        replace(one, problems={name: text for name, text in one.problems.items() if name in seen})
        for one in statuses
        if one.state != "paused" or f"{one.kind}/{one.name}" in seen
    ]


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
