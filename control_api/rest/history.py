"""`GET /{kind}s/{name}/history` and `POST /{kind}s/{name}/rollback`: what a definition was, and going back to it."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from control_api.access.actor import Actor
from control_api.definitions.versions import MAX_VERSION, Rollback, history, rollback
from control_api.http import idempotency, if_match
from control_api.http.body import read_model
from control_api.http.media_type import JSON
from control_api.http.page import page
from control_api.intake.occasion import Occasion
from control_api.page_query import PageQuery
from control_api.parts import PartsDep
from control_api.rest.definition_operation import Operation
from control_api.rest.definitions import SHOWN, KindRoutes, stored_answer
from control_api.rest.examples import ROLLBACK
from notifier.outcome import KINDS
from notifier.record import JsonObject


class WantedVersion(BaseModel):
    """The version to go back to."""

    model_config = ConfigDict(extra="forbid")

    version: int = Field(ge=1, le=MAX_VERSION, description="A `version` of the history.", examples=[12])


class VersionRoutes(KindRoutes):
    """The routes on versions of one kind."""

    async def get_history(
        self, name: str, query: Annotated[PageQuery, Query()], parts: PartsDep, actor: Actor
    ) -> Response:
        async with parts.database.read() as session:
            return page(*await history(session, actor, self._kind, name, query, parts.services.registry))

    async def post_rollback(self, name: str, request: Request, parts: PartsDep, actor: Actor) -> Response:
        body, wanted = await read_model(request, WantedVersion)
        expected = await if_match.expected_revision(request, parts.services.seen_by(actor), self._kind, name)
        change = Rollback(kind=self._kind, name=name, version=wanted.version, expected=expected)

        async def act(occasion: Occasion) -> Response:
            return stored_answer(await rollback(parts.database, parts.services, actor, change))

        return await idempotency.once(parts, request, actor, body, act)


CHANGE: JsonObject = {
    "type": "object",
    "required": ["op", "pointer", "before", "after"],
    "properties": {
        "op": {"type": "string", "enum": ["add", "replace", "remove"]},
        "pointer": {"type": "string", "description": "JSON Pointer (RFC 6901); empty: the whole document."},
        "before": {"description": "Null where it was not there."},
        "after": {"description": 'Null where it is gone. A secret that changed is `{"set": true, "changed": true}`.'},
    },
}
_VERSION: JsonObject = {
    "type": "object",
    "required": ["version", "at", "actor", "action", "changes"],
    "properties": {
        "version": {"type": "integer", "description": "The revision; in quotes it is the ETag of that time."},
        "at": {"type": "string", "format": "date-time"},
        "actor": {"type": "string"},
        "action": {"type": "string", "examples": ["create", "patch", "replace", "apply", "rollback", "delete"]},
        "changes": {"type": "array", "items": CHANGE},
    },
}
_VERSIONS: JsonObject = {
    "type": "object",
    "required": ["items", "next_cursor"],
    "properties": {
        "items": {"type": "array", "items": _VERSION},
        "next_cursor": {"type": ["string", "null"]},
    },
}

OPERATIONS: tuple[Operation, ...] = (
    Operation(
        method="GET",
        path="/{name}/history",
        endpoint=VersionRoutes.get_history,
        scope="read",
        summary="List versions of a {kind}",
        description="What each change made of the {kind}, the newest first; also of one that was deleted.",
        secrets=" Secrets are never shown; that one changed is.",
        answers={"description": "The versions.", "content": {JSON: {"schema": _VERSIONS}}},
        problems=(401, 403, 404, 422),
    ),
    Operation(
        method="POST",
        path="/{name}/rollback",
        endpoint=VersionRoutes.post_rollback,
        scope="write",
        summary="Go back to a version of a {kind}",
        description=(
            "Writes what the {kind} was in that version as a new version, also where it was deleted since."
            " 409 names what it refers to and is gone, or the secrets that would be cleared."
            " What is stored already changes nothing."
        ),
        secrets=" Secrets stay as they are stored now; none is sent to another address than it was given for.",
        answers=SHOWN,
        takes={JSON: WantedVersion.model_json_schema()},
        example=lambda kind: ROLLBACK,
        parameters=(idempotency.PARAMETER, if_match.PARAMETER),
        problems=(400, 401, 403, 404, 409, 412, 413, 415, 422),
    ),
)

ROUTERS: tuple[APIRouter, ...] = tuple(VersionRoutes(kind, OPERATIONS).router for kind in KINDS)
