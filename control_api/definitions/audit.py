"""The audit log as the API answers it: who did what and when, the newest first. Nothing here or elsewhere changes its rows.

Rows of definitions show what changed between their documents as they are shown everywhere: every field, secrets masked. They
are masked when they are written, and again when they are read: a field may have become a secret since.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Literal

import orjson
from pydantic import Field
from sqlalchemy import ColumnElement, select
from sqlalchemy.ext.asyncio import AsyncSession

from control_api.access.actor import Actor
from control_api.access.teams import seen_entries
from control_api.definitions.changes import as_kind
from control_api.definitions.differences import differences, is_masked
from control_api.definitions.secret_parameters import mask
from control_api.definitions.spec import whole
from control_api.history.span import span_of
from control_api.models import AuditRow
from control_api.page_query import PageQuery, close_cursor, open_cursor
from notifier.bounds import BoundedTime
from notifier.errors import FieldError, InputError
from notifier.outcome import KINDS, Kind
from notifier.record import JsonObject, rfc3339
from notifier.registry import Registry

MAX_PAGE_BYTES = 8 * 1024 * 1024  # of a page, and of the specs that it is made from; it ends early beyond that
_AT_ONCE = 2  # rows that are read ahead: the loop parses them in one go
_Kind = Literal[
    "user",
    "group",
    "script",
    "template",
    "producer",
    "mapping",
    "filter",
    "consumer",
    "configuration",
    "token",
    "account",
    "job",
]


class AuditQuery(PageQuery):
    """Which entries of the audit log; all conditions must hold."""

    actor: str | None = Field(None, max_length=200, description="Who did it, for instance `account ada` or `cli`.")
    kind: _Kind | None = Field(None, description="Of a definition, or `token`, `account` or `job`.")
    name: str | None = Field(None, max_length=150, description="Of the definition or account; the id of a token.")
    action: str | None = Field(None, max_length=50, description="For instance `patch`, `rollback` or `sign_in`.")
    since: BoundedTime | None = Field(None, description="From this moment on.")
    until: BoundedTime | None = Field(None, description="Before this moment.")


async def audit(
    session: AsyncSession, actor: Actor, query: AuditQuery, registry: Registry
) -> tuple[list[JsonObject], str | None]:
    """Entries that the actor sees as JSON, and the cursor of the next page. Raises InputError for a cursor that is none."""
    wanted: list[ColumnElement[bool]] = [*seen_entries(actor)]
    wanted += [
        getattr(AuditRow, column) == value
        for column in ("actor", "kind", "name", "action")
        if (value := getattr(query, column)) is not None
    ]
    span = await span_of(session, AuditRow.id, AuditRow.at, query.since, query.until)
    wanted += [*span.times, *span.numbers(AuditRow.id)]
    return await newest(session, wanted, query, lambda row: _entry(row, registry))


async def newest(
    session: AsyncSession,
    conditions: Sequence[ColumnElement[bool]],
    page: PageQuery,
    answer: Callable[[AuditRow], JsonObject],
) -> tuple[list[JsonObject], str | None]:
    """A page of rows as `answer` shows them, and the cursor of the next. Raises InputError for a cursor that is none."""
    query = select(AuditRow).where(*conditions).order_by(AuditRow.id.desc()).limit(page.limit + 1)
    if page.cursor is not None:
        query = query.where(AuditRow.id < _position(page.cursor))
    items: list[JsonObject] = []
    size = last = 0
    found = await session.stream_scalars(query.execution_options(yield_per=_AT_ONCE))
    try:
        async for row in found:
            if len(items) == page.limit or size > MAX_PAGE_BYTES:
                return items, close_cursor(str(last))
            # In a thread: the documents of one row may hold 100,000 values.
            item, more = await asyncio.to_thread(_sized, row, answer)
            items.append(item)
            size += more
            last = row.id
    finally:
        await found.close()
    return items, None


def _sized(row: AuditRow, answer: Callable[[AuditRow], JsonObject]) -> tuple[JsonObject, int]:
    """The answer, and the bytes that the page counts for it."""
    item = answer(row)
    return item, max(len(orjson.dumps(part)) for part in ([row.before, row.after], item))


def changes_of(row: AuditRow, registry: Registry) -> list[JsonObject]:
    """What the row says has changed, as JSON."""
    before: Any = row.before
    after: Any = row.after
    if row.revision is not None and row.kind in KINDS:
        kind = as_kind(row.kind)
        before = None if before is None else whole(kind, row.name, _masked(kind, before, registry))
        after = None if after is None else whole(kind, row.name, _masked(kind, after, registry))
    return [change.answer() for change in differences(before, after)]


def _masked(kind: Kind, spec: JsonObject, registry: Registry) -> JsonObject:
    """The spec of a row, also what was no secret when it was written; what was keeps saying that it changed."""
    masked = mask(kind, spec, registry)
    if masked is spec:
        return spec
    was = spec["parameters"]
    parameters = {field: was[field] if is_masked(was[field]) else part for field, part in masked["parameters"].items()}
    return {**masked, "parameters": parameters}


def _entry(row: AuditRow, registry: Registry) -> JsonObject:
    return {
        "id": str(row.id),
        "at": rfc3339(row.at),
        "actor": row.actor,
        "action": row.action,
        "kind": row.kind,
        "name": row.name,
        "version": row.revision,
        "changes": changes_of(row, registry),
    }


def _position(cursor: str) -> int:
    key = open_cursor(cursor)
    if not (key.isascii() and key.isdecimal() and len(key) <= 18):
        raise InputError(FieldError("/cursor", "is not one that a list answered; begin without a cursor"))
    return int(key)
