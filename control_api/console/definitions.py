"""`/console/{kind}s`: lists of definitions, and a page for each that shows it as YAML and saves it."""

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Request, Response

from control_api.console.kinds import KIND_PAGES, cell
from control_api.console.view import FormDep, View, ViewDep, fields_of, see_other
from control_api.definitions import yaml_core
from control_api.definitions.documents import read_object
from control_api.definitions.manual_run import run_now
from control_api.definitions.services import Stored
from control_api.definitions.spec import name_field
from control_api.definitions.upcoming import upcoming_of
from control_api.definitions.versions import Rollback, history, rollback
from control_api.definitions.writes import Write
from control_api.page_query import PageQuery
from notifier.definition import SPECS
from notifier.errors import Conflict, FieldError, Forbidden, InputError, StaleVersion, UnknownName
from notifier.outcome import Kind
from notifier.record import JsonObject, now

router = APIRouter(prefix="/console", include_in_schema=False)

_PAGE = 50
_CHECKED = ("producer", "consumer")


def _kind(plural: str) -> Kind:
    kind = next((kind for kind in KIND_PAGES if f"{kind}s" == plural), None)
    if kind is None:
        raise UnknownName("page", plural)
    return kind


@router.get("/{kinds}")
async def list_definitions(kinds: str, view: ViewDep, q: str = "", cursor: str | None = None) -> Response:
    """Definitions of a kind by name."""
    view.require("read")
    kind = _kind(kinds)
    about = KIND_PAGES[kind]
    found = await view.parts.services.seen_by(view.actor).list(kind, _PAGE, cursor, q[:200])
    items = [
        {
            "name": stored.name,
            "cells": [cell(stored.document, field) for _, field in about.columns],
            "updated_at": stored.updated_at,
            "problem": view.parts.statuses.problem(kind, stored.name),
        }
        for stored in found.items
    ]
    return view.page(
        "definitions.html",
        kind=kind,
        title=about.title,
        teaching=about.teaching,
        columns=[heading for heading, _ in about.columns],
        changeable=view.may(about.scope),
        items=items,
        q=q[:200],
        next_cursor=found.next_cursor,
    )


# `~` is in no name: a definition may well be called `new`.
@router.get("/{kinds}/~new")
async def new_definition(kinds: str, view: ViewDep) -> Response:
    """An empty editor, with an example in it."""
    kind = _kind(kinds)
    view.require(KIND_PAGES[kind].scope)
    return _editor(view, kind, None, KIND_PAGES[kind].example)


@router.post("/{kinds}/~new")
async def create_definition(kinds: str, request: Request, view: FormDep) -> Response:
    """Creates a definition."""
    kind = _kind(kinds)
    view.require(KIND_PAGES[kind].scope)
    given = await fields_of(request)
    text = given.get("text", "")
    try:
        write = Write(action="create", kind=kind, document=read_object(text))
        stored = await view.parts.verification.save(view.actor, write, verify=_is_tried(kind, given))
    except (InputError, Conflict, Forbidden) as error:
        return _editor(view, kind, None, text, error=error)
    return see_other(f"{_address(kind, stored.name)}?saved=1")


@router.get("/{kinds}/{name}")
async def show_definition(kinds: str, name: str, view: ViewDep) -> Response:
    """A definition as YAML, and what there is to know of it."""
    view.require("read")
    kind = _kind(kinds)
    stored = await view.parts.services.seen_by(view.actor).get(kind, name)
    return _editor(view, kind, stored, _yaml(stored), versions=await _versions(view, kind, stored.name))


@router.post("/{kinds}/{name}")
async def save_definition(kinds: str, name: str, request: Request, view: FormDep) -> Response:
    """Saves or deletes a definition, unless it has changed since it was shown."""
    kind = _kind(kinds)
    view.require(KIND_PAGES[kind].scope)
    given = await fields_of(request)
    text = given.get("text", "")
    stored = await view.parts.services.seen_by(view.actor).get(kind, name)
    version = given.get("version")
    expected = _number(version) if version else None
    try:
        if given.get("act") == "delete":
            await view.parts.services.delete(view.actor, kind, stored.name, expected)
            return see_other(f"/console/{kind}s")
        write = Write(action="replace", kind=kind, name=stored.name, document=read_object(text), expected=expected)
        await view.parts.verification.save(view.actor, write, verify=_is_tried(kind, given))
    except (InputError, Conflict, Forbidden, StaleVersion) as error:
        return _editor(view, kind, stored, text, error=error, version=expected)
    return see_other(f"{_address(kind, stored.name)}?saved=1")


@router.post("/{kinds}/{name}/rollback")
async def go_back(kinds: str, name: str, request: Request, view: FormDep) -> Response:
    """Goes back to a version."""
    kind = _kind(kinds)
    view.require(KIND_PAGES[kind].scope)
    given = await fields_of(request)
    services = view.parts.services.seen_by(view.actor)
    stored = await services.get(kind, name)
    wanted = Rollback(kind=kind, name=stored.name, version=_number(given.get("version", "")))
    try:
        await rollback(view.parts.database, view.parts.services, view.actor, wanted)
    except (InputError, Conflict, Forbidden) as error:
        return _editor(view, kind, stored, _yaml(stored), error=error)
    return see_other(f"{_address(kind, stored.name)}?saved=1")


@router.post("/configurations/{name}/run")
async def run_configuration(name: str, view: FormDep) -> Response:
    """Runs a configuration now."""
    view.require("run")
    await view.parts.services.seen_by(view.actor).require_change(view.actor, "configuration", name)
    await run_now(view.parts.database, view.parts.intake, view.actor, name, now())
    return see_other("/console/runs")


@router.post("/consumers/{name}/{act}")
async def pause_or_resume(name: str, act: str, view: FormDep) -> Response:
    """Pauses the deliveries of a consumer, or has them go on."""
    view.require("write")
    pausing = view.parts.pausing
    if act == "pause":
        await pausing.pause(view.actor, name)
    elif act == "resume":
        await pausing.resume(view.actor, name)
    else:
        raise UnknownName("page", act)
    return see_other(_address("consumer", name))


def _editor(
    view: View,
    kind: Kind,
    stored: Stored | None,
    text: str,
    *,
    error: Exception | None = None,
    **more: Any,
) -> Response:
    about = KIND_PAGES[kind]
    name = None if stored is None else stored.name
    errors = [] if error is None else getattr(error, "errors", None) or [FieldError("", str(error))]
    status = 200 if error is None else 422 if isinstance(error, InputError) else 409
    paused = None if stored is None or kind != "consumer" else view.parts.statuses.of_consumer(stored.name)
    coming = upcoming_of(stored.spec, 5) if stored is not None and kind == "configuration" else None
    values: JsonObject = {
        "kind": kind,
        "title": about.title,
        "name": name,
        "text": text,
        "rows": min(40, max(8, text.count("\n") + 2)),
        "version": None if stored is None else stored.revision,
        "changeable": view.may(about.scope)
        and view.actor.may_change(None if stored is None else stored.spec.get("team")),
        "verifiable": kind in _CHECKED,
        "problem": None if stored is None else view.parts.statuses.problem(kind, stored.name),
        "saved": "saved" in view.request.query_params,
        "errors": errors,
        "about": _about(kind),
        "runs": None if coming is None else coming.next,
        "words": "" if coming is None else coming.text,
        "pausable": stored is not None and kind == "consumer",
        "paused": None if paused is None else paused.detail or paused.state,
        "versions": [],
        "ways": _ways(view, kind, name, text),
    }
    values |= {name: value for name, value in more.items() if value is not None}
    return view.page("definition.html", status=status, **values)


def _about(kind: Kind) -> list[tuple[str, str]]:
    fields = SPECS[kind].model_fields
    return [(name, field.description or "") for name, field in fields.items()]


def _ways(view: View, kind: Kind, name: str | None, text: str) -> dict[str, str]:
    """How the same is done elsewhere."""
    base = str(view.request.base_url).rstrip("/")
    command = f"notifier export --kind {kind}" if name is None else f"notifier history {kind} {name}"
    asked = f"{base}/api/v1/{kind}s" + ("" if name is None else f"/{name}")
    indented = "\n".join(f"    {line}" if number else f"  - {line}" for number, line in enumerate(text.splitlines()))
    return {
        "curl": f'curl -H "Authorization: Bearer $NOTIFIER_TOKEN" {asked}',
        "YAML": f"{kind}s:\n{indented}\n",
        "notifier": command,
    }


async def _versions(view: View, kind: Kind, name: str) -> list[JsonObject]:
    async with view.parts.database.read() as session:
        found, _ = await history(session, view.actor, kind, name, PageQuery(limit=20), view.parts.services.registry)
    return found


def _yaml(stored: Stored) -> str:
    field = name_field(stored.kind)
    written = {key: value for key, value in stored.document.items() if key != field and value is not None}
    return yaml_core.dump({field: stored.name, **written})


def _is_tried(kind: Kind, given: Mapping[str, str]) -> bool:
    return kind in _CHECKED and given.get("act") == "verify"


def _number(text: str) -> int:
    if not text.isdecimal() or len(text) > 18:
        raise InputError(FieldError("/version", "is the number of a version"))
    return int(text)


def _address(kind: Kind, name: str) -> str:
    return f"/console/{kind}s/{name}"
