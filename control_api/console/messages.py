"""`/console/messages`: what came, and why each message reached or did not reach each person."""

import json
from shlex import quote
from typing import Annotated, get_args

from fastapi import APIRouter, Query, Response
from pydantic import ValidationError

from control_api.access.teams import sight_of
from control_api.console.view import ViewDep
from control_api.explain.query import ExplainQuery
from control_api.history.messages import messages
from control_api.history.queries import MessageQuery
from notifier.errors import FieldError, InputError
from notifier.outcome import Outcome
from notifier.record import JsonObject
from notifier.validation import field_errors

router = APIRouter(prefix="/console/messages", include_in_schema=False)

_PAGE = 50
_GIVEN = ("q", "producer", "recipient", "outcome")


@router.get("")
async def feed(view: ViewDep) -> Response:
    """The newest messages that fit the search."""
    view.require("read")
    asked = view.request.query_params
    given = {name: asked[name].strip() for name in (*_GIVEN, "cursor") if asked.get(name, "").strip()}
    items: list[JsonObject] = []
    next_cursor, errors = None, []
    try:
        query = MessageQuery.model_validate({**given, "limit": _PAGE})
        async with view.parts.database.read() as session:
            items, next_cursor = await messages(session, query, sight_of(view.actor))
    except ValidationError as error:
        errors = list(field_errors(error, given))
    except InputError as error:
        errors = list(error.errors)
    shown = {name: given.get(name, "") for name in _GIVEN}
    return view.page(
        "messages.html",
        status=422 if errors else 200,
        items=items,
        given=shown,
        live="live" in asked,
        outcomes=get_args(Outcome),
        errors=errors,
        next_cursor=next_cursor,
    )


@router.get("/{producer}")
async def show_message(
    producer: str, id_: Annotated[str, Query(alias="id", max_length=512)], view: ViewDep
) -> Response:
    """Why a message reached or did not reach each person, and what happened."""
    view.require("read")
    if len(producer) > 512:
        raise InputError(FieldError("/producer", "is too long"))
    why = await view.parts.explaining.answer(ExplainQuery(producer=producer, id=id_), view.actor)
    message: JsonObject = {"id": id_, "title": None, "sender": None, "receiver": None, "severity": None, "labels": {}}
    return view.page(
        "message.html",
        message=message | why["message"],
        why=why,
        ways=ways_of(producer, id_, str(view.request.base_url)),
    )


def ways_of(producer: str, id_: str, base: str) -> dict[str, str]:
    """The commands that ask the same. People copy them into a shell, so ids are quoted: a sender chooses them."""
    asked = json.dumps({"producer": producer, "id": id_}, ensure_ascii=False)
    address = quote(f"{base.rstrip('/')}/api/v1/explain")
    return {
        "curl": f'curl -H "Authorization: Bearer $NOTIFIER_TOKEN" --json {quote(asked)} {address}',
        "notifier": f"notifier explain --producer={quote(producer)} --id={quote(id_)}",
    }
