"""Catalogs: the definitions as the router reads them, as they are now and as they were at a time.

Both are made from the audit log, which has every definition after each change. Secrets are masked there; a catalog has sealed
texts that nothing opens in their place, as the router's has. A catalog is made from one that is known already: only what was
changed between the two is read, forwards or backwards.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, cast, get_args

from pydantic import SecretStr
from sqlalchemy import and_, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from control_api.models import AuditRow, ChangeRow
from notifier.catalog import Catalog, Change
from notifier.database import Database
from notifier.definition import Definition
from notifier.errors import InputError
from notifier.outcome import KINDS, Kind
from notifier.plugin import secret_fields
from notifier.record import JsonObject
from notifier.registry import Registry

_KEPT = 4  # catalogs; unchanged definitions are shared between them
_CLOSED = "sealed:none:closed"  # in place of a secret


class Catalogs:
    """Makes catalogs, and keeps the last ones."""

    def __init__(self, database: Database, registry: Registry) -> None:
        self._database = database
        self._registry = registry
        self._known: OrderedDict[int, Catalog] = OrderedDict()  # by revision
        self._making = asyncio.Lock()

    async def now(self) -> tuple[int, Catalog]:
        """The newest revision, and the definitions at it."""
        async with self._database.read() as session:
            revision = await session.scalar(select(func.max(ChangeRow.revision))) or 0
        return revision, await self.of(revision)

    async def at(self, moment: datetime) -> tuple[int, Catalog]:
        """The newest revision that was published by then, and the definitions at it: what a router could know."""
        revision = await self.revision_at(moment)
        return revision, await self.of(revision)

    async def revision_at(self, moment: datetime) -> int:
        """The newest revision that was published by then; 0 for none."""
        query = select(ChangeRow.revision).where(ChangeRow.published_at <= moment)
        async with self._database.read() as session:
            return await session.scalar(query.order_by(ChangeRow.revision.desc()).limit(1)) or 0

    async def of(self, revision: int) -> Catalog:
        """The definitions at a revision. The same object again, as long as it is kept."""
        async with self._making:
            catalog = self._known.get(revision)
            if catalog is None:
                nearest = min(self._known, key=lambda known: abs(known - revision), default=0)
                before = self._known.get(nearest, Catalog(registry=self._registry))
                async with self._database.read() as session:
                    rows = await _changed(session, nearest, revision)
                # In a thread: of thousands of definitions it takes a second.
                catalog = await asyncio.to_thread(self._made, before, rows)
            self._known[revision] = catalog
            self._known.move_to_end(revision)
            while len(self._known) > _KEPT:
                self._known.popitem(last=False)
            return catalog

    def _made(self, before: Catalog, rows: Sequence[Any]) -> Catalog:
        return before.with_changes([_change(row, self._registry) for row in rows])

    async def leaves(self, usernames: Collection[str], revision: int) -> Mapping[str, datetime]:
        """Since when these users are on leave, of those who are at that revision and of whom it is known."""
        async with self._database.read() as session:
            found = {name: await _leave(session, name, revision) for name in usernames}
        return {name: began for name, began in found.items() if began is not None}


async def _changed(session: AsyncSession, known: int, wanted: int) -> Sequence[Any]:
    """What was changed between two revisions, as it is at the wanted one: kind, name, revision and spec, None for none."""
    low, high = sorted((known, wanted))
    touched = (
        select(AuditRow.kind, AuditRow.name)
        .where(AuditRow.revision > low, AuditRow.revision <= high, AuditRow.kind.in_(KINDS))
        .distinct()
        .subquery()
    )
    last = (
        select(touched.c.kind, touched.c.name, func.max(AuditRow.revision).label("revision"))
        .outerjoin(
            AuditRow,
            and_(AuditRow.kind == touched.c.kind, AuditRow.name == touched.c.name, AuditRow.revision <= wanted),
        )
        .group_by(touched.c.kind, touched.c.name)
        .subquery()
    )
    query = select(last.c.kind, last.c.name, last.c.revision, AuditRow.after).outerjoin(
        AuditRow,
        and_(AuditRow.kind == last.c.kind, AuditRow.name == last.c.name, AuditRow.revision == last.c.revision),
    )
    return (await session.execute(query)).all()


def _change(row: Any, registry: Registry) -> Change:
    kind = cast("Kind", row.kind)
    if row.after is None:
        return kind, row.name, None
    spec = _with_closed_secrets(kind, row.after, registry)
    return kind, row.name, Definition(kind=kind, name=row.name, revision=row.revision, spec=spec)


def _with_closed_secrets(kind: Kind, spec: JsonObject, registry: Registry) -> JsonObject:
    """A spec with sealed texts where the audit log has masked secrets."""
    parameters = spec.get("parameters")
    if not isinstance(parameters, dict) or kind not in ("producer", "filter", "consumer"):
        return spec
    try:
        model = registry.get(kind, spec["type"]).Parameters
    except (InputError, KeyError):  # a type that is not installed any more
        return spec
    closed = {
        field: _shaped(model.model_fields[field].annotation) for field in secret_fields(model) & parameters.keys()
    }
    return {**spec, "parameters": {**parameters, **closed}}


def _shaped(annotation: Any) -> Any:
    """What a secret field of that type may hold, without a secret."""
    if annotation is SecretStr:
        return _CLOSED
    origin = getattr(annotation, "__origin__", None)
    if origin is dict:
        return {"closed": _CLOSED}
    if origin in (list, tuple, set, frozenset):
        return [_CLOSED]
    return next((shaped for part in get_args(annotation) if (shaped := _shaped(part)) is not None), None)


async def _leave(session: AsyncSession, username: str, revision: int) -> datetime | None:
    """When the leave began that a user is on at a revision; None where the user is not, or always was."""
    query = select(AuditRow.at, AuditRow.after).where(
        AuditRow.kind == "user", AuditRow.name == username, AuditRow.revision <= revision
    )
    began = None
    async for at, after in await session.stream(query.order_by(AuditRow.revision.desc())):
        if not (after or {}).get("on_leave", False):
            return began
        began = at
    return None
