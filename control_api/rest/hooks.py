"""`POST /hooks/json/{producer}`: any JSON that a service sends becomes one message. Signatures are `http.signature`'s.

An object with a text as `content`, and of whose other fields those that a message has are of a message's types too, is a message
as `POST /messages` takes it, and is refused where it does not fit. Any other JSON, arrays included, becomes the content itself,
without its white space. Services call JSON by many media types, so any is taken. Many messages at once go to `POST /messages`.
"""

import msgspec
import orjson
from fastapi import APIRouter, Request, Response

from control_api.http import idempotency
from control_api.http.body import read_body
from control_api.http.media_type import ANY, JSON
from control_api.http.problems import Problem, documented
from control_api.http.signature import HookActor
from control_api.intake.occasion import Occasion
from control_api.parts import PartsDep
from control_api.rest.door import TAKEN, hook_of, read_payload, take
from control_api.rest.examples import HOOK
from control_api.rest.pushed import accept, accepted
from notifier.errors import FieldError, InputError
from producers.push import MessageShape

router = APIRouter(prefix="/hooks/json", tags=["hooks"])


@router.post(
    "/{producer}",
    status_code=202,
    summary="Hand over any JSON as a message",
    response_class=Response,
    responses={
        202: {"description": "Kafka has acknowledged it.", "content": {JSON: {"schema": TAKEN}}},
        **documented(400, 401, 403, 404, 408, 409, 413, 415, 422),
    },
    openapi_extra={
        "parameters": [idempotency.PARAMETER],
        "requestBody": {"required": True, "content": {JSON: {"schema": {}, "example": HOOK}}},
    },
)
async def post_json(producer: str, request: Request, parts: PartsDep, actor: HookActor) -> Response:
    """One message for the producer in the address, whose type takes pushes (`push`).

    An object with a text as `content` is a message, if its other fields have the types of a message's; any other JSON becomes
    the `content` of one. The media type does not matter. 202 says that Kafka has it for
    good. A hook that is sent again is another message, unless it has an `id` or the same Idempotency-Key.
    """
    media_type, body = await read_body(request, ANY)
    payload, raw = await read_payload(media_type, body)

    async def act(occasion: Occasion) -> Response:
        async with parts.doors.use(producer) as plugin:  # 404, since it is the address that is wrong
            if "json" in plugin.doors and getattr(plugin.parameters, "mapping", None) is not None:
                return await take(parts, producer, plugin, hook_of("json", request, payload), occasion)
        if raw is None:
            raise Problem(415, "the body must be JSON; a text is taken where the producer has a `mapping`")
        return accepted(await accept(parts, actor, JSON, as_message(producer, raw), occasion))

    return await idempotency.once(parts, request, actor, body, act)


_shape = msgspec.json.Decoder(MessageShape)
_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])


def as_message(producer: str, body: bytes) -> bytes:
    """The JSON of the message that a hook is, not yet checked. Raises InputError."""
    try:
        named = _shape.decode(body).producer
    except msgspec.ValidationError:
        # Formatted and not encoded again: numbers stay as they were written, however long they are.
        return orjson.dumps({"producer": producer, "content": msgspec.json.format(body, indent=-1).decode()})
    if named not in (None, producer):
        raise InputError(FieldError("/producer", f"is {producer!r} by the address; leave it out"))
    fields = _fields.decode(body)
    return msgspec.json.encode({**fields, "producer": producer})
