"""`GET /audit`: who did what, and when."""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from control_api.definitions.audit import AuditQuery, audit
from control_api.http.auth import AdminActor
from control_api.http.media_type import JSON
from control_api.http.page import page
from control_api.http.problems import documented
from control_api.parts import PartsDep
from control_api.rest.history import CHANGE
from notifier.record import JsonObject

router = APIRouter(prefix="/audit", tags=["audit"])

_ENTRY: JsonObject = {
    "type": "object",
    "required": ["id", "at", "actor", "action", "kind", "name", "version", "changes"],
    "properties": {
        "id": {"type": "string"},
        "at": {"type": "string", "format": "date-time"},
        "actor": {"type": "string", "examples": ["account ada", "cli"]},
        "action": {"type": "string", "examples": ["patch", "sign_in"]},
        "kind": {"type": "string", "description": "Of a definition, or `token` or `account`."},
        "name": {"type": "string", "description": "Of the definition or account; the id of a token."},
        "version": {"type": ["integer", "null"], "description": "That the change made of a definition."},
        "changes": {"type": "array", "items": CHANGE},
    },
}
_PAGE: JsonObject = {
    "type": "object",
    "required": ["items", "next_cursor"],
    "properties": {"items": {"type": "array", "items": _ENTRY}, "next_cursor": {"type": ["string", "null"]}},
}


@router.get(
    "",
    summary="Read the audit log",
    response_class=Response,
    responses={
        200: {"description": "Entries, the newest first.", "content": {JSON: {"schema": _PAGE}}},
        **documented(401, 403, 422),
    },
)
async def get_audit(query: Annotated[AuditQuery, Query()], parts: PartsDep, actor: AdminActor) -> Response:
    """Who changed definitions, tokens and accounts, ran configurations and signed in. Secrets are never in it."""
    async with parts.database.read() as session:
        return page(*await audit(session, actor, query, parts.services.registry))
