"""`POST /hooks/{door}/{producer}`: what a service sends, for the producer to make messages of.

The route reads the body, asks the producer's `received` and writes what it gives. Who may call it is `http.signature`'s.
The doors `json` and `github` have routes of their own.
"""

import logging
from traceback import format_exception
from typing import Any
from urllib.parse import parse_qs

from fastapi import APIRouter, Request, Response

from control_api.http import idempotency
from control_api.http.body import of_large, parse_large_json, read_body
from control_api.http.media_type import ANY, JSON, is_json
from control_api.http.page import json_response
from control_api.http.problems import Problem, documented, unavailable
from control_api.http.signature import HookActor, signature_header_of
from control_api.intake.occasion import Occasion
from control_api.parts import Parts, PartsDep
from control_api.rest.examples import ALERTS
from control_api.rest.made import read_made
from control_api.rest.pushed import ACCEPTED, write
from notifier.errors import FieldError, InputError, NotifierError, Retryable
from notifier.plugin import Hook, Producer, Received

logger = logging.getLogger(__name__)

router = APIRouter(prefix="/hooks", tags=["hooks"])

FORM = "application/x-www-form-urlencoded"  # of which the field `payload` is the JSON, as many services send it
# With `detail`, what the producer says beside the number, such as why there are none.
TAKEN = ACCEPTED | {"properties": {**ACCEPTED["properties"], "detail": {"type": "string"}}}
# A header with one of these words in its name may hold what lets its sender in. `key` alone is none: X-Event-Key is Bitbucket's.
_CREDENTIALS = (
    "authorization", "cookie", "token", "signature", "secret", "password", "x-auth", "api-key", "apikey", "access-key",
)  # fmt: skip


@router.post(
    "/{door}/{producer}",
    status_code=202,
    summary="Hand over what a service sends",
    response_class=Response,
    responses={
        202: {"description": "Kafka has acknowledged all of them.", "content": {JSON: {"schema": TAKEN}}},
        **documented(400, 401, 403, 404, 408, 409, 413, 415, 422),
    },
    openapi_extra={
        "parameters": [idempotency.PARAMETER],
        "requestBody": {"required": True, "content": {JSON: {"schema": {}, "example": ALERTS}}},
    },
)
async def post_hook(door: str, producer: str, request: Request, parts: PartsDep, actor: HookActor) -> Response:
    """A request of a service to a producer whose type has that door, such as `alertmanager` of the type `prometheus`.

    The body is JSON of any media type, or a form with it as `payload`; it may be compressed. The answer says how many messages
    it was, and in `detail` what else there is to say.
    """
    media_type, body = await read_body(request, ANY)
    payload, _ = await read_payload(media_type, body)
    hook = hook_of(door, request, payload)

    async def act(occasion: Occasion) -> Response:
        async with parts.doors.use(producer) as plugin:
            if door not in plugin.doors:
                raise Problem(
                    404, f"the producer {producer!r} has the type {plugin.type!r}, which takes no hooks at {door!r}"
                )
            return await take(parts, producer, plugin, hook, occasion)

    return await idempotency.once(parts, request, actor, body, act)


async def read_payload(media_type: str, body: bytes) -> tuple[Any, bytes | None]:
    """What the body says, and the JSON that it is read from, which may be a form's; None: it is a text.

    Raises Problem 400 and 413 for JSON that is none or too much, and 415 for what is neither.
    """
    if media_type == FORM and (form := await form_payload(body)) is not None:
        return await parse_large_json(form), form
    try:
        return await parse_large_json(body), body
    except Problem as refused:
        if is_json(media_type) or refused.status != 400:
            raise
        if not media_type.startswith("text/"):
            said = media_type or "it came"
            raise Problem(415, f"the body must be JSON, and as {said} it is not: {refused.detail}") from None
        return body.decode(errors="replace"), None


def hook_of(door: str, request: Request, payload: Any) -> Hook:
    """A request as the producer gets it, without the headers that may hold credentials."""
    signed_by = signature_header_of(request)
    headers = {
        name: value
        for name, value in request.headers.items()
        if name != signed_by and not any(word in name for word in _CREDENTIALS)
    }
    return Hook(door=door, payload=payload, headers=headers, query=dict(request.query_params))


async def take(parts: Parts, producer: str, plugin: Producer[Any], hook: Hook, occasion: Occasion) -> Response:
    """Has the producer make messages of a hook and writes them, all or none.

    Raises InputError for what the producer does not take, Problem 500 and 503 where it fails, and BrokerError.
    """
    received = await _received(plugin, hook, parts, producer)
    checked = await read_made(producer, received.messages, occasion)
    ids = await write(parts.intake, checked) if checked else []
    detail = {} if received.detail is None else {"detail": plugin.mask(received.detail)}
    return json_response({"accepted": len(ids), "messages": [{"id": id_} for id_ in ids], **detail}, 202)


async def _received(plugin: Producer[Any], hook: Hook, parts: Parts, producer: str) -> Received:
    try:
        return await plugin.received(hook, parts.doors.context(producer))
    except Retryable as error:
        raise unavailable(plugin.mask(str(error))) from None
    except InputError as error:
        raise InputError([FieldError(each.pointer, plugin.mask(each.detail)) for each in error.errors]) from None
    except NotifierError as error:
        raise InputError(FieldError("", plugin.mask(str(error)))) from None
    except Exception as error:  # a plugin may raise anything, and its secrets must not get into the log
        logger.warning(
            "The producer %s raised on a hook:\n%s",
            producer,
            plugin.mask("".join(format_exception(error))),
            extra={"action": "take_hook", "producer": producer},
        )
        raise Problem(500, "the producer fails on this hook; the log says why") from None


async def form_payload(body: bytes) -> bytes | None:
    """The field `payload` of a form; None where there is none, as in JSON that is only called a form."""
    return await of_large(body, _form_payload)  # a form of 5 MB takes two seconds


def _form_payload(body: bytes) -> bytes | None:
    try:
        return parse_qs(body.decode(), strict_parsing=True, max_num_fields=100, errors="strict")["payload"][0].encode()
    except (ValueError, KeyError):
        return None
