"""`POST /messages`: hand over messages. `GET /messages`: what came."""

import json
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Query, Request, Response

from control_api.access.teams import sight_of
from control_api.history.messages import message, messages
from control_api.history.queries import MessageQuery
from control_api.http import idempotency
from control_api.http.auth import PushActor, ReadActor
from control_api.http.body import read_body
from control_api.http.headers import header
from control_api.http.media_type import ANY_JSON, JSON, NDJSON
from control_api.http.page import Page, json_response, page
from control_api.http.problems import documented
from control_api.intake.occasion import Occasion
from control_api.parts import PartsDep
from control_api.rest.arriving import Arriving
from control_api.rest.examples import MESSAGE, SHOWN_MESSAGE
from control_api.rest.pushed import ACCEPTED, accept, accept_checked, accepted
from notifier.message import Message
from notifier.record import JsonObject, now

router = APIRouter(tags=["messages"])


def _message_schema() -> dict[str, Any]:
    _, components = msgspec.json.schema_components([Message], ref_template="#/components/schemas/{name}")
    return {**components["Message"], "additionalProperties": True}


_SCHEMA = _message_schema()
_TEXT: JsonObject = {"type": ["string", "null"]}
_SHOWN: JsonObject = {
    "type": "object",
    "required": ["producer", "id", "content", "cut", "at", "partition", "offset", "attempts"],
    "properties": {
        "producer": {"type": "string"},
        "id": {"type": "string"},
        **dict.fromkeys(("sender", "receiver", "title", "content", "url", "severity"), _TEXT),
        "labels": {"type": "object", "additionalProperties": {"type": "string"}},
        "cut": {"type": "boolean", "description": "Whether a text is longer than what is kept of it."},
        "at": {"type": "string", "format": "date-time", "description": "When it was written to the topic."},
        "partition": {"type": "integer"},
        "offset": {"type": "integer"},
        "attempts": {"type": "array", "items": {"type": "object"}, "description": "As of `GET /attempts`."},
    },
}


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
            return accepted(await accept(parts, actor, media_type, body, occasion))
        return accepted(await accept_checked(parts, actor, checked))

    return await idempotency.once(parts, request, actor, body, act)


@router.get("/messages", summary="List messages", response_model=Page, responses=documented(401, 403, 422))
async def list_messages(query: Annotated[MessageQuery, Query()], parts: PartsDep, actor: ReadActor) -> Response:
    """What came from producers, the newest first; kept for 7 days unless set otherwise, and found a second after it came.

    Of title, content and url the first 4,000 characters are kept each; `cut` says that there were more. A page of a search may
    hold fewer items than `limit`, or none, and have a cursor: what is rare among many is looked for page by page.
    """
    async with parts.database.read() as session:
        return page(*await messages(session, query, sight_of(actor)))


@router.get(
    "/messages/{producer}/{id:path}",
    summary="Get a message",
    response_class=Response,
    responses={
        200: {
            "description": "The message, with its attempts.",
            "content": {JSON: {"schema": _SHOWN, "example": SHOWN_MESSAGE}},
        },
        **documented(401, 403, 404),
    },
)
async def get_message(producer: str, id: str, parts: PartsDep, actor: ReadActor) -> Response:  # noqa: A002 - the address's word
    """The newest message of that producer and id, with its newest 100 attempts."""
    async with parts.database.read() as session:
        return json_response(await message(session, producer, id, sight_of(actor)))
