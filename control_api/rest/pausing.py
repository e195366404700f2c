"""`POST /consumers/{name}/pause` and `…/resume`, and the same of producers."""

from typing import Any

from fastapi import APIRouter, Request, Response

from control_api.access.actor import Actor
from control_api.definitions.pausing import Pause, Paused
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

router = APIRouter()

_BODY = documented_body(Pause, PAUSE)
_BODY["requestBody"]["required"] = False


def _answers(description: str) -> dict[int | str, Any]:
    return {
        200: {"description": description, "content": {JSON: {"schema": {"type": "object"}}}},
        **documented(400, 401, 403, 404, 408, 409, 413, 415, 422, 503),
    }


@router.post(
    "/consumers/{name}/pause",
    tags=["consumers"],
    summary="Pause a consumer",
    response_class=Response,
    responses=_answers("Its status: `paused`, why, since when and by whom."),
    openapi_extra={"parameters": [idempotency.PARAMETER], **_BODY},
)
async def pause_consumer(name: str, request: Request, parts: PartsDep, actor: WriteActor) -> Response:
    """Calls that are under way end; then its deliveries wait in order until it is resumed. Needs no body.

    Pausing again changes nothing but the reason, where one is given.
    """
    return await _pause("consumer", name, request, parts, actor)


@router.post(
    "/consumers/{name}/resume",
    tags=["consumers"],
    summary="Resume a consumer",
    response_class=Response,
    responses=_answers("Its status: `resumed`, and by whom."),
    openapi_extra={"parameters": [idempotency.PARAMETER]},
)
async def resume_consumer(name: str, request: Request, parts: PartsDep, actor: WriteActor) -> Response:
    """Every pause ends, and that it is disabled. It is tried at once, and paused again where that fails. Needs no body."""
    return await _resume("consumer", name, request, parts, actor)


@router.post(
    "/producers/{name}/pause",
    tags=["producers"],
    summary="Pause a producer",
    response_class=Response,
    responses=_answers("Its status: `paused`, why, since when and by whom."),
    openapi_extra={"parameters": [idempotency.PARAMETER], **_BODY},
)
async def pause_producer(name: str, request: Request, parts: PartsDep, actor: WriteActor) -> Response:
    """Nothing is read of its source until it is resumed, and runs that are due wait. Needs no body.

    Hooks, and what else is sent to it, is taken all the same: a producer that only takes what is sent cannot be paused (409).
    """
    return await _pause("producer", name, request, parts, actor)


@router.post(
    "/producers/{name}/resume",
    tags=["producers"],
    summary="Resume a producer",
    response_class=Response,
    responses=_answers("Its status: `resumed`, and by whom."),
    openapi_extra={"parameters": [idempotency.PARAMETER]},
)
async def resume_producer(name: str, request: Request, parts: PartsDep, actor: WriteActor) -> Response:
    """It is read on from where it was, and the runs that waited are done. Needs no body."""
    return await _resume("producer", name, request, parts, actor)


async def _pause(kind: Paused, name: str, request: Request, parts: PartsDep, actor: Actor) -> Response:
    body, query = await whole_body(request), Pause(reason=None)
    if body.strip():
        body, query = await read_model(request, Pause)

    async def act(occasion: Occasion) -> Response:
        return json_response(shown(await parts.pausing.pause(actor, name, query.reason, kind)))

    return await idempotency.once(parts, request, actor, body, act)


async def _resume(kind: Paused, name: str, request: Request, parts: PartsDep, actor: Actor) -> Response:
    body = await whole_body(request)

    async def act(occasion: Occasion) -> Response:
        return json_response(shown(await parts.pausing.resume(actor, name, kind)))

    return await idempotency.once(parts, request, actor, body, act)
