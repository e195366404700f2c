"""`POST /consumers/{name}/pause` and `POST /consumers/{name}/resume`."""

from typing import Any

from fastapi import APIRouter, Request, Response

from control_api.definitions.pausing import Pause
from control_api.definitions.status_page import shown
from control_api.http import idempotency
from control_api.http.auth import WriteActor
from control_api.http.body import documented_body, read_model, whole_body
from control_api.http.media_type import JSON
from control_api.http.page import json_response
from control_api.http.problems import documented
from control_api.intake.occasion import Occasion
from control_api.parts import PartsDep
from control_api.rest.examples import PAUSE

router = APIRouter(prefix="/consumers", tags=["consumers"])

_BODY = documented_body(Pause, PAUSE)
_BODY["requestBody"]["required"] = False


def _answers(description: str) -> dict[int | str, Any]:
    return {
        200: {"description": description, "content": {JSON: {"schema": {"type": "object"}}}},
        **documented(400, 401, 403, 404, 408, 409, 413, 415, 422, 503),
    }


@router.post(
    "/{name}/pause",
    summary="Pause a consumer",
    response_class=Response,
    responses=_answers("Its status: `paused`, why, since when and by whom."),
    openapi_extra={"parameters": [idempotency.PARAMETER], **_BODY},
)
async def pause(name: str, request: Request, parts: PartsDep, actor: WriteActor) -> Response:
    """Calls that are under way end; then its deliveries wait in order until it is resumed. Needs no body.

    Pausing again changes nothing but the reason, where one is given.
    """
    body, query = await whole_body(request), Pause(reason=None)
    if body.strip():
        body, query = await read_model(request, Pause)

    async def act(occasion: Occasion) -> Response:
        return json_response(shown(await parts.pausing.pause(actor, name, query.reason)))

    return await idempotency.once(parts, request, actor, body, act)


@router.post(
    "/{name}/resume",
    summary="Resume a consumer",
    response_class=Response,
    responses=_answers("Its status: `resumed`, and by whom."),
    openapi_extra={"parameters": [idempotency.PARAMETER]},
)
async def resume(name: str, request: Request, parts: PartsDep, actor: WriteActor) -> Response:
    """Every pause ends, and that it is disabled. It is tried at once, and paused again where that fails. Needs no body."""
    body = await whole_body(request)

    async def act(occasion: Occasion) -> Response:
        return json_response(shown(await parts.pausing.resume(actor, name)))

    return await idempotency.once(parts, request, actor, body, act)
