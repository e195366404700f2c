"""`POST /explain` and `POST /configurations/{name}/explain`: why a message reached or did not reach each person.

They change nothing, a draft neither, so the scope is `read`.
"""

from typing import Any

import msgspec
from fastapi import APIRouter, Request, Response

from control_api.explain.explanation import Explanation
from control_api.explain.query import ConfigurationExplainQuery, ExplainQuery
from control_api.http import idempotency
from control_api.http.auth import ReadActor
from control_api.http.body import documented_body, read_model
from control_api.http.media_type import JSON
from control_api.http.page import json_response
from control_api.http.problems import documented
from control_api.intake.occasion import Occasion
from control_api.parts import PartsDep
from control_api.rest.examples import CONFIGURATION_EXPLAIN, EXPLAIN

router = APIRouter(tags=["explain"])


def _schema() -> dict[str, Any]:
    """The schema of an answer: that of an explanation, with what stands around it."""
    (_,), parts = msgspec.json.schema_components([Explanation], ref_template="#/$defs/{name}")
    explanation = parts.pop("Explanation")
    records = {"type": "array", "items": {"type": "object"}}
    around = {
        "message": {"type": "object"},
        "origin": {"type": ["object", "null"], "description": "Where it lies on the topic, and when it came."},
        "as_of": {"type": "string", "description": "Whose definitions count: `then`, `now`, or a time."},
        "revision": {"type": "integer", "description": "Of those definitions."},
        "now": {
            "anyOf": [{"$ref": "#/$defs/Explanation"}, {"type": "null"}],
            "description": "The same by the definitions of now, at the same moment; null: the answer is that.",
        },
        "attempts": {**records, "description": "What really happened, the newest first, as GET /attempts lists it."},
        "dead_letters": {**records, "description": "What was given up of it, as GET /dead_letters lists it."},
    }
    return {
        "type": "object",
        "properties": {**around, **explanation["properties"]},
        "required": [*around, *explanation["required"]],
        "$defs": {**parts, "Explanation": explanation},
    }


_ANSWERS: dict[int | str, Any] = {
    200: {"description": "Why, in words and step by step.", "content": {JSON: {"schema": _schema()}}},
    **documented(400, 401, 403, 404, 409, 413, 415, 422),
}


@router.post(
    "/explain",
    summary="Explain what became of a message",
    response_class=Response,
    responses=_ANSWERS,
    openapi_extra={"parameters": [idempotency.PARAMETER], **documented_body(ExplainQuery, EXPLAIN)},
)
async def explain(request: Request, parts: PartsDep, actor: ReadActor) -> Response:
    """Says for each configuration and person what each filter and consumer made of a message, or would make of it.

    A message on the topic is explained by the definitions as they were when it came, and in `now` by those of now.
    """
    body, query = await read_model(request, ExplainQuery)

    async def act(occasion: Occasion) -> Response:
        return json_response(await parts.explaining.answer(query, actor))

    return await idempotency.once(parts, request, actor, body, act)


@router.post(
    "/configurations/{name}/explain",
    summary="Explain what a configuration makes of a message",
    response_class=Response,
    responses=_ANSWERS,
    openapi_extra={
        "parameters": [idempotency.PARAMETER],
        **documented_body(ConfigurationExplainQuery, CONFIGURATION_EXPLAIN),
    },
)
async def explain_configuration(name: str, request: Request, parts: PartsDep, actor: ReadActor) -> Response:
    """The same of one configuration, also as it might be: `draft` is what PUT takes, and nothing is stored."""
    body, query = await read_model(request, ConfigurationExplainQuery)

    async def act(occasion: Occasion) -> Response:
        return json_response(await parts.explaining.answer(query, actor, name))

    return await idempotency.once(parts, request, actor, body, act)
