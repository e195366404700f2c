"""The audit log as the API answers it: who did what and when, the newest first. Nothing here or elsewhere changes its rows.

Rows of definitions show what changed between their documents as they are shown everywhere: every field, secrets masked.
"""

from collections.abc import Sequence
from typing import Any, Literal

import orjson
from pydantic import Field
from sqlalchemy import ColumnElement, select
from sqlalchemy.ext.asyncio import AsyncSession

from control_api.access.actor import Actor
from control_api.access.teams import seen_entries
from control_api.definitions.changes import as_kind
from control_api.definitions.differences import differences
from control_api.definitions.spec import whole
from control_api.models import AuditRow
from control_api.page_query import PageQuery, close_cursor, open_cursor
from notifier.bounds import BoundedTime
from notifier.errors import FieldError, InputError
from notifier.outcome import KINDS
from notifier.record import JsonObject, rfc3339

MAX_PAGE_BYTES = 8 * 1024 * 1024  # of specs in one page, which ends early beyond that
_AT_ONCE = 20  # rows that are read ahead
_Kind = Literal["user", "group", "script", "producer", "filter", "consumer", "configuration", "token", "account"]


class AuditQuery(PageQuery):
    """Which entries of the audit log; all conditions must hold."""

    actor: str | None = Field(None, max_length=200, description="Who did it, for instance `account ada` or `cli`.")
    kind: _Kind | None = Field(None, description="Of a definition, or `token` or `account`.")
    name: str | None = Field(None, max_length=150, description="Of the definition or account; the id of a token.")
    action: str | None = Field(None, max_length=50, description="For instance `patch`, `rollback` or `sign_in`.")
    since: BoundedTime | None = Field(None, description="From this moment on.")
    until: BoundedTime | None = Field(None, description="Before this moment.")


async def audit(session: AsyncSession, actor: Actor, query: AuditQuery) -> tuple[list[JsonObject], str | None]:
    """Entries that the actor sees as JSON, and the cursor of the next page. Raises InputError for a cursor that is none."""
    wanted: list[ColumnElement[bool]] = [*seen_entries(actor)]
    wanted += [
        getattr(AuditRow, column) == value
        for column in ("actor", "kind", "name", "action")
        if (value := getattr(query, column)) is not None
    ]
    if query.since is not None:
        wanted.append(AuditRow.at >= query.since)
    if query.until is not None:
        wanted.append(AuditRow.at < query.until)
    rows, next_cursor = await newest(session, wanted, query.limit, query.cursor)
    return [_entry(row) for row in rows], next_cursor


async def newest(
    session: AsyncSession, conditions: Sequence[ColumnElement[bool]], limit: int, cursor: str | None
) -> tuple[list[AuditRow], str | None]:
    """A page of rows, and the cursor of the next. Raises InputError for a cursor that is none."""
    query = select(AuditRow).where(*conditions).order_by(AuditRow.id.desc()).limit(limit + 1)
    if cursor is not None:
        query = query.where(AuditRow.id < _position(cursor))
    rows: list[AuditRow] = []
    size = 0
    found = await session.stream_scalars(query.execution_options(yield_per=_AT_ONCE))
    try:
        async for row in found:
            if len(rows) == limit or size > MAX_PAGE_BYTES:
                return rows, close_cursor(str(rows[-1].id))
            rows.append(row)
            size += len(orjson.dumps([row.before, row.after]))
    finally:
        await found.close()
    return rows, None


def changes_of(row: AuditRow) -> list[JsonObject]:
    """What the row says has changed, as JSON."""
    before: Any = row.before
    after: Any = row.after
    if row.revision is not None and row.kind in KINDS:
        kind = as_kind(row.kind)
        before = None if before is None else whole(kind, row.name, before)
        after = None if after is None else whole(kind, row.name, after)
    return [change.answer() for change in differences(before, after)]


def _entry(row: AuditRow) -> JsonObject:
    return {
        "id": str(row.id),
        "at": rfc3339(row.at),
        "actor": row.actor,
        "action": row.action,
        "kind": row.kind,
        "name": row.name,
        "version": row.revision,
        "changes": changes_of(row),
    }


def _position(cursor: str) -> int:
    key = open_cursor(cursor)
    if not (key.isascii() and key.isdecimal() and len(key) <= 18):
        raise InputError(FieldError("/cursor", "is not one that a list answered; begin without a cursor"))
    return int(key)
