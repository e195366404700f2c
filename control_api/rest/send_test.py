"""`POST /consumers/{name}/test`: send one message by a consumer, and see what its service answers."""

from typing import Any

from fastapi import APIRouter, Request, Response

from control_api.http import idempotency
from control_api.http.auth import RunActor
from control_api.http.body import documented_body, read_model, whole_body
from control_api.http.media_type import JSON
from control_api.http.page import json_response
from control_api.http.problems import documented
from control_api.intake.occasion import Occasion
from control_api.parts import PartsDep
from control_api.rest.examples import SEND_TEST
from control_api.send_test import TestInput

router = APIRouter(prefix="/consumers", tags=["consumers"])

_BODY = documented_body(TestInput, SEND_TEST)
_BODY["requestBody"]["required"] = False
_TEXT: dict[str, Any] = {"type": ["string", "null"]}
_ANSWER = {
    "type": "object",
    "required": ["delivery", "state", "outcome", "reason", "detail", "started_at", "ended_at"],
    "properties": {
        "delivery": {"type": "string"},
        "state": {"type": "string", "enum": ["tried", "waiting"]},
        **dict.fromkeys(("outcome", "reason", "detail", "started_at", "ended_at"), _TEXT),
    },
}


@router.post(
    "/{name}/test",
    summary="Send a test",
    response_class=Response,
    responses={
        200: {
            "description": "What became of the first try. `waiting`: there was none so far; `detail` says why.",
            "content": {JSON: {"schema": _ANSWER}},
        },
        **documented(400, 401, 403, 404, 408, 409, 413, 415, 422, 503),
    },
    openapi_extra={"parameters": [idempotency.PARAMETER], **_BODY},
)
async def send_test(name: str, request: Request, parts: PartsDep, actor: RunActor) -> Response:
    """Sends one message by the consumer and waits for the service's own answer, up to 20 seconds. Needs no body.

    A delivery worker sends it, at the consumer's pace. It passes no filter and no template of a configuration.
    """
    body, asked = await whole_body(request), TestInput(user=None, text=None)
    if body.strip():
        body, asked = await read_model(request, TestInput)

    async def act(occasion: Occasion) -> Response:
        return json_response(await parts.send_test.send(actor, name, asked))

    return await idempotency.once(parts, request, actor, body, act)
