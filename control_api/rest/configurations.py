"""`POST /configurations/{name}/run`: run a configuration now."""

from urllib.parse import quote

from fastapi import APIRouter, Request, Response

from control_api.definitions.manual_run import run_now
from control_api.http import idempotency
from control_api.http.auth import RunActor
from control_api.http.body import whole_body
from control_api.http.media_type import JSON
from control_api.http.page import json_response
from control_api.http.problems import documented
from control_api.intake.occasion import Occasion
from control_api.parts import PartsDep
from notifier.record import rfc3339

router = APIRouter(prefix="/configurations", tags=["configurations"])

_TICK = {
    "type": "object",
    "required": ["configuration", "scheduled_at", "trigger"],
    "properties": {
        "configuration": {"type": "string"},
        "scheduled_at": {"type": "string", "format": "date-time"},
        "trigger": {"type": "string", "const": "manual"},
    },
}


@router.post(
    "/{name}/run",
    status_code=202,
    summary="Run a configuration now",
    response_class=Response,
    responses={
        202: {
            "description": "Kafka has acknowledged the tick.",
            "headers": {"Location": {"schema": {"type": "string"}, "description": "Where the run will be found."}},
            "content": {JSON: {"schema": _TICK}},
        },
        **documented(400, 401, 403, 404, 408, 409, 413, 422),
    },
    openapi_extra={"parameters": [idempotency.PARAMETER]},
)
async def run(name: str, request: Request, parts: PartsDep, actor: RunActor) -> Response:
    """Writes a tick; a runner then runs the configuration's pull producers, once. Needs no body."""
    body = await whole_body(request)  # it has no meaning, but the same key with another body is another request

    await parts.services.require_change(actor, "configuration", name)

    async def act(occasion: Occasion) -> Response:
        tick = await run_now(parts.database, parts.intake, actor, name, occasion.at)
        at = rfc3339(tick.scheduled_at)
        return json_response(
            {"configuration": name, "scheduled_at": at, "trigger": tick.trigger},
            202,
            {"Location": f"/api/v1/runs/{quote(name, safe='')}/{quote(at, safe=':')}"},
        )

    return await idempotency.once(parts, request, actor, body, act)
