"""The kinds of definitions: `/users`, `/groups`, `/scripts`, `/templates`, `/producers`, `/filters`, `/consumers`, …

`OPERATIONS` is the table of their routes, and `DefinitionRoutes` has a method for each. Kinds differ in the path parameter of
the name, in the model, and in the scope that changes need. The documents are those of YAML. What may stand in them, and what
belongs together, is checked in `control_api.definitions`. The routes on versions are in `control_api.rest.history`.
"""

import inspect
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Depends, Path, Query, Request, Response, Security
from pydantic import BaseModel, ConfigDict, Field

from control_api.access.actor import Actor, Scope
from control_api.definitions.services import Stored
from control_api.definitions.spec import name_field
from control_api.definitions.writes import Write
from control_api.http import idempotency, if_match
from control_api.http.auth import authorize
from control_api.http.body import parse_large_json, read_body
from control_api.http.media_type import JSON, MERGE_PATCH
from control_api.http.page import json_response, page
from control_api.intake.occasion import Occasion
from control_api.page_query import PageQuery
from control_api.parts import Parts, PartsDep
from control_api.rest.definition_operation import CHECKED, Operation
from control_api.rest.definition_schemas import PROBLEM, ref
from control_api.rest.examples import DOCUMENTS, PATCHES, replacement
from notifier.outcome import KINDS, Kind
from notifier.record import JsonObject


class DefinitionQuery(PageQuery):
    """Which definitions of a kind."""

    cursor: str | None = Field(None, max_length=1000, description="`next_cursor` of the page before.")
    q: str | None = Field(None, max_length=200, description="Whose name or title contains this, in any case.")


class PlainChange(BaseModel):
    """The query parameters of a change: there are none."""

    model_config = ConfigDict(extra="forbid")


class CheckedChange(PlainChange):
    """The query parameters of a change that a service can be asked about."""

    verify: bool = Field(
        False, description="Try it against the real service first, for 15 seconds at most; 422 has the service's words."
    )


async def _unverified(query: Annotated[PlainChange, Query()]) -> bool:
    return False


async def _verified(query: Annotated[CheckedChange, Query()]) -> bool:
    return query.verify


_TAG_HEADER = {"ETag": {"schema": {"type": "string"}, "description": "The version; for If-Match."}}


def _location(kind: Kind, name: str) -> str:
    return f"/api/v1/{kind}s/{quote(name, safe='@+')}"


def stored_answer(stored: Stored, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A definition as an answer, with its ETag."""
    return json_response(stored.document, status, {"ETag": stored.etag, **(headers or {})})


async def _read_document(request: Request, *media_types: str) -> tuple[bytes, Any]:
    """The body, and the document in it without its `problem`: it may be written as it was shown."""
    _, body = await read_body(request, *media_types)
    document = await parse_large_json(body)
    if isinstance(document, dict):
        document.pop(PROBLEM, None)
    return body, document


class KindRoutes:
    """Routes of one kind. What FastAPI passes as `actor`, `name` and `verify` differs by kind: see `_dependencies`."""

    def __init__(self, kind: Kind, operations: Iterable[Operation]) -> None:
        self._kind = kind
        self.router = APIRouter(prefix=f"/{kind}s", tags=[f"{kind}s"])
        for operation in operations:
            self.router.add_api_route(
                operation.path.replace("name", name_field(kind)),
                self._endpoint(operation),
                methods=[operation.method],
                status_code=operation.status,
                name=operation.endpoint.__name__,
                response_class=Response,
                **operation.describe(kind),
            )

    def _endpoint(self, operation: Operation) -> Callable[..., Any]:
        """The operation's method, with the kind's own dependencies in the signature that FastAPI reads."""
        endpoint = partial(operation.endpoint, self)
        signature = inspect.signature(endpoint)
        dependencies = self._dependencies(operation)
        parameters = [
            parameter.replace(annotation=dependencies.get(parameter.name, parameter.annotation))
            for parameter in signature.parameters.values()
        ]
        endpoint.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]  # see `inspect`
        return endpoint

    def _dependencies(self, operation: Operation) -> Mapping[str, Any]:
        # Scripts run on the machines of the data plane.
        scope: Scope = "admin" if operation.scope == "write" and self._kind == "script" else operation.scope
        return {
            "actor": Annotated[Actor, Security(authorize, scopes=[scope])],
            "name": Annotated[str, Path(alias=name_field(self._kind))],
            "verify": Annotated[bool, Depends(_verified if self._kind in CHECKED else _unverified)],
        }


class DefinitionRoutes(KindRoutes):
    """The routes that read and change definitions of one kind."""

    async def list_definitions(
        self, query: Annotated[DefinitionQuery, Query()], parts: PartsDep, actor: Actor
    ) -> Response:
        found = await parts.services.seen_by(actor).list(self._kind, query.limit, query.cursor, query.q)
        return page([self._marked(parts, stored) for stored in found.items], found.next_cursor)

    async def post_definition(self, request: Request, parts: PartsDep, actor: Actor, verify: bool) -> Response:
        body, document = await _read_document(request, JSON)
        write = Write(action="create", kind=self._kind, document=document)

        async def act(occasion: Occasion) -> Response:
            stored = await parts.verification.save(actor, write, verify=verify)
            return stored_answer(stored, 201, {"Location": _location(self._kind, stored.name)})

        return await idempotency.once(parts, request, actor, body, act)

    async def get_definition(self, name: str, parts: PartsDep, actor: Actor) -> Response:
        stored = await parts.services.seen_by(actor).get(self._kind, name)
        return json_response(self._marked(parts, stored), headers={"ETag": stored.etag})

    async def put_definition(
        self, name: str, request: Request, parts: PartsDep, actor: Actor, verify: bool
    ) -> Response:
        _, document = await _read_document(request, JSON)
        expected = await if_match.expected_revision(request, parts.services.seen_by(actor), self._kind, name)
        write = Write(action="replace", kind=self._kind, name=name, document=document, expected=expected)
        return stored_answer(await parts.verification.save(actor, write, verify=verify))

    async def patch_definition(
        self, name: str, request: Request, parts: PartsDep, actor: Actor, verify: bool
    ) -> Response:
        _, patch = await _read_document(request, MERGE_PATCH, JSON)
        expected = await if_match.expected_revision(request, parts.services.seen_by(actor), self._kind, name)
        write = Write(action="patch", kind=self._kind, name=name, document=patch, expected=expected)
        return stored_answer(await parts.verification.save(actor, write, verify=verify))

    async def delete_definition(self, name: str, request: Request, parts: PartsDep, actor: Actor) -> Response:
        expected = await if_match.expected_revision(request, parts.services.seen_by(actor), self._kind, name)
        await parts.services.delete(actor, self._kind, name, expected)
        return Response(status_code=204)

    def _marked(self, parts: Parts, stored: Stored) -> JsonObject:
        """The document, with what running roles find wrong with it where they do."""
        problem = parts.statuses.problem(self._kind, stored.name)
        return stored.document if problem is None else {**stored.document, PROBLEM: problem}


_MASKED = ' Secrets are shown as `{"set": true}`.'
_KEPT = " A secret that is left out, or written as it is shown, is kept; null clears it."
SHOWN: JsonObject = {
    "description": "The {kind}.",
    "headers": _TAG_HEADER,
    "content": {JSON: {"schema": ref("{Kind}")}},
}
_PAGE: JsonObject = {
    "type": "object",
    "required": ["items", "next_cursor"],
    "properties": {
        "items": {"type": "array", "items": ref("{Kind}")},
        "next_cursor": {"type": ["string", "null"]},
    },
}
_PATCH: JsonObject = {"type": "object", "description": "What changes of the {kind}; null removes a field (RFC 7396)."}

OPERATIONS: tuple[Operation, ...] = (
    Operation(
        method="GET",
        path="",
        endpoint=DefinitionRoutes.list_definitions,
        scope="read",
        summary="List {kinds}",
        description="The {kinds} by name.",
        secrets=_MASKED,
        answers={"description": "The {kinds} by name.", "content": {JSON: {"schema": _PAGE}}},
        problems=(401, 403, 422),
    ),
    Operation(
        method="POST",
        path="",
        endpoint=DefinitionRoutes.post_definition,
        scope="write",
        status=201,
        summary="Create a {kind}",
        description="Names are given once, whatever their case; unknown fields are refused.",
        secrets=_MASKED,
        answers={**SHOWN, "headers": {**_TAG_HEADER, "Location": {"schema": {"type": "string"}}}},
        takes={JSON: ref("{Kind}")},
        example=lambda kind: DOCUMENTS[kind],
        parameters=(idempotency.PARAMETER,),
        problems=(400, 401, 403, 409, 413, 415, 422),
    ),
    Operation(
        method="GET",
        path="/{name}",
        endpoint=DefinitionRoutes.get_definition,
        scope="read",
        summary="Get a {kind}",
        description="The document as it would be written, every field in it; `problem` where a running role cannot use it.",
        secrets=_MASKED,
        answers=SHOWN,
        problems=(401, 403, 404),
    ),
    Operation(
        method="PUT",
        path="/{name}",
        endpoint=DefinitionRoutes.put_definition,
        scope="write",
        summary="Replace a {kind}",
        description="Fields that are left out take their defaults.",
        secrets=_KEPT,
        more=" What is stored already changes nothing.",
        answers=SHOWN,
        takes={JSON: ref("{Kind}Replacement")},
        example=replacement,
        parameters=(if_match.PARAMETER,),
        problems=(400, 401, 403, 404, 409, 412, 413, 415, 422),
    ),
    Operation(
        method="PATCH",
        path="/{name}",
        endpoint=DefinitionRoutes.patch_definition,
        scope="write",
        summary="Change a {kind}",
        description="By a merge patch (RFC 7396): null removes a field, lists are replaced whole.",
        secrets=_KEPT,
        answers=SHOWN,
        takes={MERGE_PATCH: _PATCH, JSON: _PATCH},
        example=lambda kind: PATCHES[kind],
        parameters=(if_match.PARAMETER,),
        problems=(400, 401, 403, 404, 409, 412, 413, 415, 422),
    ),
    Operation(
        method="DELETE",
        path="/{name}",
        endpoint=DefinitionRoutes.delete_definition,
        scope="write",
        status=204,
        summary="Delete a {kind}",
        description="409 where others still refer to it.",
        parameters=(if_match.PARAMETER,),
        problems=(400, 401, 403, 404, 409, 412),
    ),
)

ROUTERS: tuple[APIRouter, ...] = tuple(DefinitionRoutes(kind, OPERATIONS).router for kind in KINDS)
