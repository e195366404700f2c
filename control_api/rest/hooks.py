"""`POST /hooks/json/{producer}`: any JSON that a service sends becomes one message. Signatures are `http.signature`'s.

An object with a `content` is a message as `POST /messages` takes it, and is refused where it does not fit. Any other JSON,
arrays included, becomes the content itself, without its white space. Many messages at once go to `POST /messages`.
"""

from typing import Any

import msgspec
import orjson
from fastapi import APIRouter, Request, Response

from control_api.http import idempotency
from control_api.http.body import JSON, parse_large_json, read_body
from control_api.http.problems import documented
from control_api.http.signature import HookActor
from control_api.intake.occasion import Occasion
from control_api.parts import PartsDep
from control_api.rest.pushed import ACCEPTED, accept, accepted
from notifier.errors import FieldError, InputError

router = APIRouter(prefix="/hooks/json", tags=["hooks"])


@router.post(
    "/{producer}",
    status_code=202,
    summary="Hand over any JSON as a message",
    response_class=Response,
    responses={
        202: {"description": "Kafka has acknowledged it.", "content": {JSON: {"schema": ACCEPTED}}},
        **documented(400, 401, 403, 404, 408, 409, 413, 415, 422),
    },
    openapi_extra={
        "parameters": [idempotency.PARAMETER],
        "requestBody": {"required": True, "content": {JSON: {"schema": {}}}},
    },
)
async def post_json(producer: str, request: Request, parts: PartsDep, actor: HookActor) -> Response:
    """One message for the producer in the address, whose type takes pushes (`push`).

    An object with `content` is a message; any other JSON becomes the `content` of one. 202 says that Kafka has it for
    good. A hook that is sent again is another message, unless it has an `id` or the same Idempotency-Key.
    """
    _, body = await read_body(request, JSON)
    value = await parse_large_json(body)
    await parts.services.get("producer", producer)  # 404, since it is the address that is wrong
    message = as_message(producer, body, value)

    async def act(occasion: Occasion) -> Response:
        ids = await accept(parts.database, parts.registry, parts.intake, JSON, message, occasion)
        return accepted(ids)

    return await idempotency.once(parts, request, actor, body, act)


def as_message(producer: str, body: bytes, value: Any) -> bytes:
    """The JSON of the message that a hook is, not yet checked; `value` is the body parsed. Raises InputError."""
    if not isinstance(value, dict) or "content" not in value:
        # Formatted and not encoded again: numbers stay as they were written, however long they are.
        return orjson.dumps({"producer": producer, "content": msgspec.json.format(body, indent=-1).decode()})
    if value.get("producer", producer) != producer:
        raise InputError(FieldError("/producer", f"is {producer!r} by the address; leave it out"))
    if "producer" in value:
        return body
    return body.strip()[:-1] + b',"producer":' + orjson.dumps(producer) + b"}"
