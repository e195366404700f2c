"""Lists of what Notifier recorded: dead letters, runs, the audit log, accounts and tokens, and how the roles are."""

from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Query, Response

from control_api.access.accounts import accounts
from control_api.access.teams import seen_history
from control_api.access.tokens import token_page
from control_api.console.navigation import N_
from control_api.console.view import View, ViewDep
from control_api.definitions.audit import AuditQuery, audit
from control_api.definitions.status_page import status_page
from control_api.history import records
from control_api.history.queries import DeadLetterQuery, RunQuery
from control_api.models import DeadLetterRow, RunRow
from control_api.page_query import PageQuery
from notifier.record import JsonObject

router = APIRouter(prefix="/console", include_in_schema=False)

_PAGE = 50
_Cursor = Annotated[str | None, Query(max_length=500)]  # as `PageQuery` has it


def _text(value: object) -> JsonObject:
    return {"text": "–" if value in (None, "") else str(value)}


def _moment(value: object) -> JsonObject:
    return {"moment": value}


def _badge(value: str, mood: str = "") -> JsonObject:
    return {"badge": value, "mood": mood}


def _section(columns: list[str], rows: list[list[JsonObject]], empty: str, title: str = "") -> JsonObject:
    return {"title": title, "columns": columns, "rows": rows, "empty": empty}


def _page(view: View, title: str, *sections: JsonObject, next_cursor: _Cursor = None) -> Response:
    return view.page("records.html", title=title, sections=sections, next_cursor=next_cursor)


@router.get("/dead_letters")
async def dead_letters(view: ViewDep, cursor: _Cursor = None) -> Response:
    """What was given up, the newest first."""
    view.require("read")
    async with view.parts.database.read() as session:
        found, next_cursor = await records.dead_letters(
            session, DeadLetterQuery().conditions(), _PAGE, cursor, seen_history(view.actor, DeadLetterRow)
        )
    rows = [
        [
            _moment(one["at"]),
            _badge(one["stage"]),
            _badge(one["reason"], "bad"),
            _text(one.get("consumer")),
            _message(one),
            _text(one.get("error")),
        ]
        for one in found
    ]
    columns = [N_("When"), N_("Stage"), N_("Reason"), N_("Consumer"), N_("Message"), N_("Why")]
    empty = N_("Nothing was given up. What cannot be delivered is kept here for 30 days.")
    return _page(view, N_("Dead letters"), _section(columns, rows, empty), next_cursor=next_cursor)


def _message(one: JsonObject) -> JsonObject:
    producer, id_ = one.get("producer"), one.get("message")
    if producer is None or id_ is None:
        return _text(one.get("id"))
    return {"text": f"{producer} / {id_}", "link": f"/console/messages/{quote(producer, '')}?id={quote(id_, '')}"}


@router.get("/runs")
async def runs(view: ViewDep, cursor: _Cursor = None) -> Response:
    """Runs, the one that began last first."""
    view.require("read")
    async with view.parts.database.read() as session:
        found, next_cursor = await records.runs(
            session, RunQuery().conditions(), _PAGE, cursor, seen_history(view.actor, RunRow)
        )
    moods = {"done": "good", "failed": "bad", "refused": "bad", "running": "waits"}
    rows = [
        [
            _moment(one["scheduled_at"]),
            {"text": one["configuration"], "link": f"/console/configurations/{one['configuration']}"},
            _badge(one["trigger"]),
            _badge(one["state"], moods.get(one["state"], "")),
            _text(_produced(one)),
            _text(one.get("error")),
        ]
        for one in found
    ]
    columns = [N_("Due"), N_("Configuration"), N_("Trigger"), N_("State"), N_("Messages"), N_("Error")]
    empty = N_("No run is known. A configuration with a schedule runs by itself; any can be run by hand.")
    return _page(view, N_("Runs"), _section(columns, rows, empty), next_cursor=next_cursor)


def _produced(run: JsonObject) -> str:
    parts = run.get("producers") or []
    return ", ".join(f"{one['producer']}: {one.get('error') or one.get('messages', 0)}" for one in parts)


@router.get("/audit")
async def audit_log(view: ViewDep, cursor: _Cursor = None) -> Response:
    """Who did what, the newest first."""
    view.require("admin")
    query = AuditQuery(limit=_PAGE, cursor=cursor)
    async with view.parts.database.read() as session:
        found, next_cursor = await audit(session, view.actor, query, view.parts.services.registry)
    rows = [
        [
            _moment(one["at"]),
            _text(one["actor"]),
            _badge(one["action"]),
            _text(f"{one['kind']} {one['name']}"),
            _text(" ".join(str(change["pointer"]) for change in one["changes"])),
        ]
        for one in found
    ]
    columns = [N_("When"), N_("Who"), N_("Did"), N_("What"), N_("Fields")]
    return _page(view, N_("Audit"), _section(columns, rows, N_("Nothing yet.")), next_cursor=next_cursor)


@router.get("/access")
async def access(view: ViewDep) -> Response:
    """Accounts and tokens."""
    view.require("admin")
    async with view.parts.database.read() as session:
        people, _ = await accounts(session, view.actor, 500, None)
        keys, _ = await token_page(session, PageQuery(limit=500), view.actor)
    rows = [[_text(one.name), _badge(one.role), _text(one.team), _moment(one.updated_at)] for one in people]
    token_rows: list[list[Any]] = [
        [
            _text(one.name),
            _text(", ".join(one.scopes)),
            _text(one.producer),
            _moment(one.created_at),
            _moment(one.last_used_at),
            _moment(one.expires_at),
            _moment(one.revoked_at),
        ]
        for one in keys
    ]
    return _page(
        view,
        N_("Access"),
        _section([N_("Name"), N_("Role"), N_("Team"), N_("Changed")], rows, N_("There is no account."), N_("Accounts")),
        _section(
            [N_("Name"), N_("Scopes"), N_("Producer"), N_("Made"), N_("Last used"), N_("Expires"), N_("Revoked")],
            token_rows,
            N_("There is no token. `notifier token create` makes one."),
            N_("Tokens"),
        ),
    )


@router.get("/system")
async def system(view: ViewDep, cursor: _Cursor = None) -> Response:
    """What the roles report."""
    view.require("read")
    services = view.parts.services.seen_by(view.actor)
    query = PageQuery(limit=100, cursor=cursor)
    found, next_cursor = await status_page(view.parts.statuses, services, view.actor, query)
    moods = {"ready": "good", "stopped": "bad", "paused": "waits", "disabled": "bad", "failing": "bad", "silent": "bad"}
    rows = [
        [
            _text(one["kind"]),
            _text(one["name"]),
            _badge(one["state"], moods.get(one["state"], "")),
            _moment(one["at"]),
            _text(_words(one)),
        ]
        for one in found
    ]
    columns = [N_("Kind"), N_("Name"), N_("State"), N_("Heard"), N_("What it says")]
    empty = N_("No role has reported. Is the broker there, and do router, runner, ticker and delivery run?")
    return _page(view, N_("System"), _section(columns, rows, empty), next_cursor=next_cursor)


def _words(status: JsonObject) -> str:
    said = [status["detail"] or ""]
    said += [f"{name}: {text}" for name, text in status["problems"].items()]
    said += [f"{one['topic']}: {one['count']} passed over, {one['error']}" for one in status["passed_over"]]
    return "; ".join(part for part in said if part)
