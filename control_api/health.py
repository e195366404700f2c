"""`/health/live` and `/health/ready`: open to anyone, so they name no host and no user.

Live means that the event loop turns. Ready means that the database and the broker answer, definitions can be published, and
the history is followed, and no role has said that it cannot go on.
"""

import asyncio
import logging
from typing import Any

from fastapi import APIRouter, Response
from sqlalchemy import text

from control_api.http.media_type import JSON
from control_api.http.page import json_response
from control_api.parts import Parts, PartsDep
from notifier.errors import DatabaseError

logger = logging.getLogger(__name__)

router = APIRouter(prefix="/health", tags=["health"])

_LIMIT_S = 5.0
_STATE = {
    "type": "object",
    "required": ["ready"],
    "properties": {"ready": {"type": "boolean"}, "detail": {"type": "string"}},
}
_SCHEMA = {
    "type": "object",
    "required": ["ready", "parts"],
    "properties": {"ready": {"type": "boolean"}, "parts": {"type": "object", "additionalProperties": _STATE}},
}


@router.get("/live", summary="Is the process alive", response_class=Response)
async def live() -> Response:
    """Always 200."""
    return json_response({"live": True})


@router.get(
    "/ready",
    summary="Is everything there that it needs",
    response_class=Response,
    responses={
        200: {"description": "Ready.", "content": {JSON: {"schema": _SCHEMA}}},
        503: {"description": "Not ready; `parts` says what is missing.", "content": {JSON: {"schema": _SCHEMA}}},
    },
)
async def ready(parts: PartsDep) -> Response:
    """200 when ready, else 503, with each part by itself."""
    states = {
        "database": await _database(parts),
        "broker": _state(parts.intake.connected, "the Kafka broker does not answer"),
        "relay": _state(parts.relay.problem is None, "definitions cannot be published now; they wait in the outbox"),
        "history": _history(parts),
        "roles": _roles(parts),
    }
    good = all(state["ready"] for state in states.values())
    return json_response({"ready": good, "parts": states}, 200 if good else 503, None if good else {"Retry-After": "5"})


def _state(good: bool, otherwise: str, **more: Any) -> dict[str, Any]:
    return {"ready": good, **({} if good else {"detail": otherwise}), **more}


async def _database(parts: Parts) -> dict[str, Any]:
    # The error's own text may name hosts and users, so it goes to the log only.
    try:
        async with asyncio.timeout(_LIMIT_S), parts.database.read() as session:
            await session.execute(text("SELECT 1"))
    except (DatabaseError, TimeoutError) as error:
        logger.warning("The database does not answer: %s", error, extra={"action": "check_health"})
        return _state(False, "the database does not answer")
    return _state(True, "")


def _history(parts: Parts) -> dict[str, Any]:
    history = parts.history
    if history.failed is not None:
        return _state(False, "a record on a topic is newer than this program; update it")
    return _state(history.lag is not None, "the history is not followed now", lag=history.lag, skipped=history.skipped)


def _roles(parts: Parts) -> dict[str, Any]:
    stopped = ", ".join(parts.statuses.stopped())
    return _state(not stopped, f"cannot go on: {stopped}; `notifier status` and GET /api/v1/status say why")
