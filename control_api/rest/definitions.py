"""The six kinds of definitions: `/users`, `/scripts`, `/producers`, `/filters`, `/consumers`, `/configurations`.

One router is made for each kind; they differ in the name of the name, in the model, and in the scope that changes need. The
documents are those of YAML. What may stand in them, and what belongs together, is `control_api.definitions.services`' to say.
"""

import re  # for our own constant pattern
from collections.abc import Mapping, Sequence
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Depends, Path, Query, Request, Response, Security
from pydantic import BaseModel, ConfigDict, Field, create_model
from pydantic.json_schema import models_json_schema

from control_api.access.actor import Actor, Scope
from control_api.definitions.services import Stored
from control_api.definitions.spec import name_field
from control_api.definitions.verification import Write, save
from control_api.http import idempotency
from control_api.http.auth import ReadActor, authorize
from control_api.http.body import JSON, MERGE_PATCH, parse_large_json, read_body
from control_api.http.page import json_response, page
from control_api.http.problems import Problem, documented
from control_api.page_query import PageQuery
from control_api.parts import Parts, PartsDep
from notifier.definition import SPECS, Name, Username
from notifier.errors import StaleVersion
from notifier.outcome import KINDS, Kind
from notifier.record import JsonObject

_CHECKED: tuple[Kind, ...] = ("producer", "consumer")  # kinds whose plugins can try themselves against a service
_TAGS = re.compile(r'(?:W/)?"[\x21\x23-\x7e]*"(?:\s*,\s*(?:W/)?"[\x21\x23-\x7e]*")*')
_OURS = re.compile(r'(?:^|,)\s*"([0-9]{1,18})"')


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


def _schemas() -> dict[str, Any]:
    """The JSON Schemas of documents, for OpenAPI's components: of each kind, and the same where the name may be left out."""
    models: list[type[BaseModel]] = []
    for kind, spec in SPECS.items():
        text = Field(description="Its name; it cannot be changed.")
        fields: dict[str, Any] = {name_field(kind): (Username if kind == "user" else Name, text)}
        models.append(create_model(kind.capitalize(), __base__=spec, __doc__=spec.__doc__, **fields))
    _, schema = models_json_schema(
        [(model, "validation") for model in models], ref_template="#/components/schemas/{model}"
    )
    found: dict[str, Any] = schema["$defs"]
    for kind in SPECS:
        whole = found[kind.capitalize()]
        required = [field for field in whole["required"] if field != name_field(kind)]
        found[f"{kind.capitalize()}Replacement"] = {**whole, "required": required}
    return found


SCHEMAS = _schemas()


def _ref(name: str) -> JsonObject:
    return {"$ref": f"#/components/schemas/{name}"}


_TAG_HEADER = {"ETag": {"schema": {"type": "string"}, "description": "The version; for If-Match."}}
_IF_MATCH = {
    "name": "If-Match",
    "in": "header",
    "required": False,
    "schema": {"type": "string"},
    "description": "The ETag that was read last; when the definition was changed since, the answer is 412.",
}


def _location(kind: Kind, name: str) -> str:
    return f"/api/v1/{kind}s/{quote(name, safe='@+')}"


def _answer(stored: Stored, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return json_response(stored.document, status, {"ETag": stored.etag, **(headers or {})})


async def expected_revision(request: Request, parts: Parts, kind: Kind, name: str) -> int | None:
    """The revision that `If-Match` asks for; None: any. Raises Problem 400 and 412, UnknownName and StaleVersion."""
    header = ", ".join(request.headers.getlist("if-match")).strip()
    if header in ("", "*"):
        return None
    if not _TAGS.fullmatch(header):
        raise Problem(400, f"If-Match must be the ETag as it was answered, with its quotes; got {header[:100]!r}")
    revisions = [int(found) for found in _OURS.findall(header)]  # weak tags match nothing here (RFC 9110, 13.1.1)
    if len(revisions) == 1:
        return revisions[0]
    stored = await parts.services.get(kind, name)
    if stored.revision in revisions:
        return stored.revision
    if revisions:
        raise StaleVersion(kind, name, max(revisions), stored.revision)
    raise Problem(412, f"If-Match names no version of the {kind} {name!r}; its ETag is {stored.etag}")


def _router(kind: Kind) -> APIRouter:
    plural, field, model = f"{kind}s", name_field(kind), kind.capitalize()
    scope: Scope = "admin" if kind == "script" else "write"
    wants_check = _verified if kind in _CHECKED else _unverified
    one = f"/{{{field}}}"
    masked = ' Secrets are shown as `{"set": true}`.' if kind in _CHECKED else ""
    kept = " A secret that is left out, or written as it is shown, is kept; null clears it." if kind in _CHECKED else ""
    shown = {"description": f"The {kind}.", "headers": _TAG_HEADER, "content": {JSON: {"schema": _ref(model)}}}
    router = APIRouter(prefix=f"/{plural}", tags=[plural])

    def takes(schemas: Mapping[str, JsonObject], *headers: JsonObject) -> JsonObject:
        content = {media_type: {"schema": schema} for media_type, schema in schemas.items()}
        return {"parameters": list(headers), "requestBody": {"required": True, "content": content}}

    async def change(
        action: Write, request: Request, parts: Parts, actor: Actor, name: str, verify: bool, media_types: Sequence[str]
    ) -> Response:
        _, body = await read_body(request, *media_types)
        value = await parse_large_json(body)
        expected = await expected_revision(request, parts, kind, name)
        return _answer(await save(parts, actor, action, kind, name, value, expected=expected, verify=verify))

    @router.get(
        "",
        summary=f"List {plural}",
        description=f"The {plural} by name.{masked}",
        response_class=Response,
        responses={
            200: {
                "description": f"The {plural} by name.",
                "content": {
                    JSON: {
                        "schema": {
                            "type": "object",
                            "required": ["items", "next_cursor"],
                            "properties": {
                                "items": {"type": "array", "items": _ref(model)},
                                "next_cursor": {"type": ["string", "null"]},
                            },
                        }
                    }
                },
            },
            **documented(401, 403, 422),
        },
    )
    async def list_definitions(
        query: Annotated[DefinitionQuery, Query()], parts: PartsDep, actor: ReadActor
    ) -> Response:
        found = await parts.services.list(kind, query.limit, query.cursor, query.q)
        return page([stored.document for stored in found.items], found.next_cursor)

    @router.post(
        "",
        status_code=201,
        summary=f"Create a {kind}",
        description=f"Names are given once, whatever their case; unknown fields are refused.{masked}",
        response_class=Response,
        responses={
            201: {**shown, "headers": {**_TAG_HEADER, "Location": {"schema": {"type": "string"}}}},
            **documented(400, 401, 403, 409, 413, 415, 422),
        },
        openapi_extra=takes({JSON: _ref(model)}, idempotency.PARAMETER),
    )
    async def post_definition(
        request: Request,
        parts: PartsDep,
        actor: Annotated[Actor, Security(authorize, scopes=[scope])],
        verify: Annotated[bool, Depends(wants_check)],
    ) -> Response:
        _, body = await read_body(request, JSON)
        value = await parse_large_json(body)

        async def act(occasion: idempotency.Occasion) -> Response:
            stored = await save(parts, actor, "create", kind, None, value, verify=verify)
            return _answer(stored, 201, {"Location": _location(kind, stored.name)})

        return await idempotency.once(parts, request, actor, body, act)

    @router.get(
        one,
        summary=f"Get a {kind}",
        description=f"The document as it would be written, every field in it.{masked}",
        response_class=Response,
        responses={200: shown, **documented(401, 403, 404)},
    )
    async def get_definition(name: Annotated[str, Path(alias=field)], parts: PartsDep, actor: ReadActor) -> Response:
        return _answer(await parts.services.get(kind, name))

    @router.put(
        one,
        summary=f"Replace a {kind}",
        description=f"Fields that are left out take their defaults.{kept} What is stored already changes nothing.",
        response_class=Response,
        responses={200: shown, **documented(400, 401, 403, 404, 409, 412, 413, 415, 422)},
        openapi_extra=takes({JSON: _ref(f"{model}Replacement")}, _IF_MATCH),
    )
    async def put_definition(
        name: Annotated[str, Path(alias=field)],
        request: Request,
        parts: PartsDep,
        actor: Annotated[Actor, Security(authorize, scopes=[scope])],
        verify: Annotated[bool, Depends(wants_check)],
    ) -> Response:
        return await change("replace", request, parts, actor, name, verify, [JSON])

    patch_schema = {"type": "object", "description": f"What changes of the {kind}; null removes a field (RFC 7396)."}

    @router.patch(
        one,
        summary=f"Change a {kind}",
        description=f"By a merge patch (RFC 7396): null removes a field, lists are replaced whole.{kept}",
        response_class=Response,
        responses={200: shown, **documented(400, 401, 403, 404, 409, 412, 413, 415, 422)},
        openapi_extra=takes({MERGE_PATCH: patch_schema, JSON: patch_schema}, _IF_MATCH),
    )
    async def patch_definition(
        name: Annotated[str, Path(alias=field)],
        request: Request,
        parts: PartsDep,
        actor: Annotated[Actor, Security(authorize, scopes=[scope])],
        verify: Annotated[bool, Depends(wants_check)],
    ) -> Response:
        return await change("patch", request, parts, actor, name, verify, [MERGE_PATCH, JSON])

    @router.delete(
        one,
        status_code=204,
        summary=f"Delete a {kind}",
        description="409 where others still refer to it.",
        responses=documented(400, 401, 403, 404, 409, 412),
        openapi_extra={"parameters": [_IF_MATCH]},
    )
    async def delete_definition(
        name: Annotated[str, Path(alias=field)],
        request: Request,
        parts: PartsDep,
        actor: Annotated[Actor, Security(authorize, scopes=[scope])],
    ) -> Response:
        await parts.services.delete(actor, kind, name, await expected_revision(request, parts, kind, name))
        return Response(status_code=204)

    return router


ROUTERS: tuple[APIRouter, ...] = tuple(_router(kind) for kind in KINDS)
