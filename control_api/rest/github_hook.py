"""`POST /hooks/github/{producer}`: deliveries of GitHub's webhooks. `producers.github` makes messages of their events."""

import json
import re  # for our own constant patterns
from typing import Any

import orjson
from fastapi import APIRouter, Request, Response

from control_api.http import idempotency
from control_api.http.body import parse_large_json, read_body
from control_api.http.media_type import JSON
from control_api.http.page import json_response
from control_api.http.problems import Problem, documented
from control_api.http.signature import HookActor
from control_api.intake.occasion import Occasion
from control_api.parts import Parts, PartsDep
from control_api.rest.door import FORM, TAKEN, form_payload
from control_api.rest.examples import WEBHOOK
from control_api.rest.pushed import accepted, read, write
from notifier.errors import FieldError, InputError
from notifier.record import JsonObject
from producers.github import GitHub, read_webhook
from producers.push import Push

router = APIRouter(prefix="/hooks", tags=["hooks"])

_EVENT = "X-GitHub-Event"
_DELIVERY = "X-GitHub-Delivery"
_WORD = re.compile(r"[A-Za-z0-9_.-]{1,100}")


def _header(name: str, description: str) -> dict[str, Any]:
    return {
        "name": name,
        "in": "header",
        "required": True,
        "schema": {"type": "string", "pattern": f"^{_WORD.pattern}$"},
        "description": description,
    }


@router.post(
    "/github/{producer}",
    status_code=202,
    summary="Take a webhook of GitHub",
    response_class=Response,
    responses={
        202: {"description": "Kafka has acknowledged all of them.", "content": {JSON: {"schema": TAKEN}}},
        **documented(400, 401, 403, 404, 408, 409, 413, 415, 422),
    },
    openapi_extra={
        "parameters": [
            _header(_EVENT, "What happened, for instance `pull_request`."),
            _header(_DELIVERY, "The delivery's id, which the message gets; the same again is one message."),
            idempotency.PARAMETER,
        ],
        "requestBody": {
            "required": True,
            "content": {
                JSON: {"schema": {"type": "object"}, "example": WEBHOOK},
                FORM: {
                    "schema": {
                        "type": "object",
                        "properties": {"payload": {"type": "string"}},
                        "required": ["payload"],
                    },
                    "example": {"payload": json.dumps(WEBHOOK)},
                },
            },
        },
    },
)
async def post_github(producer: str, request: Request, parts: PartsDep, actor: HookActor) -> Response:
    """A delivery of a webhook, for a producer of the type `github` or `push`, signed under its `webhook_secret`.

    Pull requests that were opened, reopened, marked as ready, closed, assigned or are to be reviewed become a message for
    each person concerned, any other event one short message for everyone, `ping` none. A producer of the type `github`
    passes over other repositories than its own, which it knows under a new name too, or than those of its
    organization. The answer says how many messages it was, and in `detail` why it was passed over.
    """
    media_type, body = await read_body(request, JSON, FORM)
    event, delivery = _word(request, _EVENT), _word(request, _DELIVERY)
    payload = await parse_large_json(await _form_of(body) if media_type == FORM else body)
    if not isinstance(payload, dict):
        raise InputError(FieldError("", "must be a JSON object, as GitHub sends it"))
    spec = (await parts.services.get("producer", producer)).spec
    passed_over = await _passed_over(parts, producer, spec, payload)
    unassigned = spec.get("parameters", {}).get("unassigned")
    messages = [] if passed_over is not None else read_webhook(event, delivery, payload, unassigned)

    async def act(occasion: Occasion) -> Response:
        checked = read(JSON, orjson.dumps([{"producer": producer, **message} for message in messages]), occasion)
        if passed_over is not None:  # said in the answer too, which GitHub shows beside the delivery
            return json_response({"accepted": 0, "messages": [], "detail": passed_over}, 202)
        return accepted(await write(parts.intake, checked))

    return await idempotency.once(parts, request, actor, body, act)


def _word(request: Request, header: str) -> str:
    value = request.headers.get(header, "")
    if not _WORD.fullmatch(value):
        raise Problem(400, f"{header} is missing or is not what GitHub sends: letters, digits, `_`, `.` and `-`")
    return value


async def _form_of(body: bytes) -> bytes:
    found = await form_payload(body)
    if found is None:
        raise Problem(400, f"the body is {FORM} and has no field `payload`")
    return found


async def _passed_over(parts: Parts, producer: str, spec: JsonObject, payload: JsonObject) -> str | None:
    """Why a webhook is not about what the producer is about, in words; None: it is. Raises InputError for other types."""
    if spec["type"] == GitHub.type:
        return await parts.repositories.refusal(producer, spec["parameters"], payload)
    if spec["type"] != Push.type:
        raise InputError(
            FieldError("", f"the producer {producer!r} has the type {spec['type']!r}; it must be `github` or `push`")
        )
    return None
