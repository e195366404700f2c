"""`POST /producers/{name}/preview`: which messages a payload would become. It changes nothing: the scope is `read`."""

from typing import Any

from fastapi import APIRouter, Request, Response

from control_api.http import idempotency
from control_api.http.auth import ReadActor
from control_api.http.body import documented_body, read_model
from control_api.http.media_type import JSON
from control_api.http.page import json_response
from control_api.http.problems import documented
from control_api.intake.occasion import Occasion
from control_api.parts import PartsDep
from control_api.preview.payload_preview import PayloadQuery, preview_payload
from control_api.rest.examples import PAYLOAD_PREVIEW

router = APIRouter(prefix="/producers", tags=["preview"])

_ANSWER: dict[str, Any] = {
    "type": "object",
    "required": ["messages", "problems", "omitted"],
    "properties": {
        "messages": {"type": "array", "items": {"type": "object"}},
        "problems": {"type": "array", "items": {"type": "string"}},
        "omitted": {"type": "integer"},
    },
}


def _body() -> dict[str, Any]:
    """What OpenAPI says of the body, the mapping in its place: a reference within would be one to the whole document."""
    body = documented_body(PayloadQuery, PAYLOAD_PREVIEW)
    schema = body["requestBody"]["content"][JSON]["schema"]
    mapping, ways = schema.pop("$defs")["Mapping"], schema["properties"]["mapping"]
    ways["anyOf"] = [mapping if "$ref" in way else way for way in ways["anyOf"]]
    return body


@router.post(
    "/{name}/preview",
    summary="Preview the messages of a payload",
    response_class=Response,
    responses={
        200: {
            "description": "The first 50 messages, and what was found and did not fit.",
            "content": {JSON: {"schema": _ANSWER}},
        },
        **documented(400, 401, 403, 404, 409, 413, 415, 422),
    },
    openapi_extra={"parameters": [idempotency.PARAMETER], **_body()},
)
async def preview_payload_of(name: str, request: Request, parts: PartsDep, actor: ReadActor) -> Response:
    """What a producer with a mapping (`push`, `kafka`) would make of a payload, by its own mapping or by one in the body.

    Nothing is written. `problems` says what an expression found and does not fit, or did not find; `omitted` counts the
    messages that are not shown.
    """
    body, query = await read_model(request, PayloadQuery)

    async def act(occasion: Occasion) -> Response:
        return json_response(await preview_payload(parts.services, actor, name, query))

    return await idempotency.once(parts, request, actor, body, act)
