"""`POST /configurations/{name}/preview`: what the texts of a configuration would be. It changes nothing: the scope is `read`."""

from typing import Any

import msgspec
from fastapi import APIRouter, Request, Response

from control_api.http import idempotency
from control_api.http.auth import ReadActor
from control_api.http.body import documented_body, read_model
from control_api.http.media_type import JSON
from control_api.http.page import json_response
from control_api.http.problems import documented
from control_api.intake.occasion import Occasion
from control_api.parts import PartsDep
from control_api.preview.preview import Preview
from control_api.preview.query import PreviewQuery
from control_api.rest.examples import PREVIEW

router = APIRouter(tags=["preview"])


def _schema() -> dict[str, Any]:
    """The schema of an answer: that of a preview, and the message."""
    (_,), parts = msgspec.json.schema_components([Preview], ref_template="#/$defs/{name}")
    preview = parts.pop("Preview")
    properties = {"message": {"type": "object"}, **preview["properties"]}
    return {"type": "object", "properties": properties, "required": [*properties], "$defs": parts}


@router.post(
    "/configurations/{name}/preview",
    summary="Preview the texts of a configuration",
    response_class=Response,
    responses={
        200: {
            "description": "What each consumer would send to each recipient.",
            "content": {JSON: {"schema": _schema()}},
        },
        **documented(400, 401, 403, 404, 409, 413, 415, 422),
    },
    openapi_extra={"parameters": [idempotency.PARAMETER], **documented_body(PreviewQuery, PREVIEW)},
)
async def preview_configuration(name: str, request: Request, parts: PartsDep, actor: ReadActor) -> Response:
    """Renders the subject and the text for each recipient and consumer, by the definitions of now or by a draft.

    Filters are not asked: whether a message passes, `explain` says. The first 50 texts are made; `omitted` counts the others.
    """
    body, query = await read_model(request, PreviewQuery)

    async def act(occasion: Occasion) -> Response:
        return json_response(await parts.previewing.answer(query, actor, name))

    return await idempotency.once(parts, request, actor, body, act)
