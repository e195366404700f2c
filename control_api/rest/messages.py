"""`POST /messages`: hand over messages."""

import json
from typing import Any

import msgspec
from fastapi import APIRouter, Request, Response

from control_api.http import idempotency
from control_api.http.auth import PushActor
from control_api.http.body import read_body
from control_api.http.headers import header
from control_api.http.media_type import ANY_JSON, JSON, NDJSON
from control_api.http.problems import documented
from control_api.intake.occasion import Occasion
from control_api.parts import PartsDep
from control_api.rest.arriving import Arriving
from control_api.rest.examples import MESSAGE
from control_api.rest.pushed import ACCEPTED, accept, accept_checked, accepted
from notifier.message import Message
from notifier.record import now

router = APIRouter(tags=["messages"])


def _message_schema() -> dict[str, Any]:
    _, components = msgspec.json.schema_components([Message], ref_template="#/components/schemas/{name}")
    return {**components["Message"], "additionalProperties": True}


_SCHEMA = _message_schema()


@router.post(
    "/messages",
    status_code=202,
    summary="Hand over messages",
    response_class=Response,
    responses={
        202: {"description": "Kafka has acknowledged all of them.", "content": {JSON: {"schema": ACCEPTED}}},
        **documented(400, 401, 403, 408, 409, 413, 415, 422),
    },
    openapi_extra={
        "parameters": [idempotency.PARAMETER],
        "requestBody": {
            "required": True,
            "content": {
                JSON: {"schema": {"oneOf": [_SCHEMA, {"type": "array", "items": _SCHEMA}]}, "example": MESSAGE},
                NDJSON: {
                    "schema": {"type": "string", "description": "One message a line."},
                    "example": f"{json.dumps(MESSAGE)}\n{json.dumps(MESSAGE | {'receiver': None})}\n",
                },
            },
        },
    },
)
async def post_messages(request: Request, parts: PartsDep, actor: PushActor) -> Response:
    """One message, an array of messages, or NDJSON with one a line; at most 20,000, 900 KB each and 16 MiB together.

    All are accepted or none. The body may be compressed (`Content-Encoding: gzip` or `deflate`); the limits are of it
    unpacked. A field that need not be there may be null. 202 says that Kafka has them for good: each will be delivered,
    or be found among the dead letters, or its attempt says why it was not sent. A message without `id` is given one,
    which the answer tells. 503 says that nothing was written (its `detail` says so where that cannot be known); repeat
    it, best under the same Idempotency-Key.
    """
    arriving = Arriving(Occasion(now()))
    # Under a key the whole body says whether the request is a repeat, which is answered as it was.
    watch = arriving.take if header(request.scope, idempotency.HEADER_NAME) is None else None
    media_type, body = await read_body(request, JSON, ANY_JSON, NDJSON, watch=watch)

    async def act(occasion: Occasion) -> Response:
        checked = await arriving.checked()
        if checked is None:
            return accepted(await accept(parts, media_type, body, occasion))
        return accepted(await accept_checked(parts, checked))

    return await idempotency.once(parts, request, actor, body, act)
