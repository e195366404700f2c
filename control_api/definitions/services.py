"""Services: what can be done with definitions. REST and GraphQL call these same functions; each only translates.

Every change is one transaction and one revision; a definition's revision is its version (its ETag). Whether the caller may
`write` at all is the surface's to check; what only `admin` may (scripts, `write` and `network` of parameters) is checked
here, where it is known.
"""

import binascii
from base64 import b64decode, urlsafe_b64encode
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Row, Select, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from control_api.access.actor import Actor
from control_api.definitions.changes import Edit, as_kind, lock, write
from control_api.definitions.spec import (
    Spec,
    check_json,
    document,
    mask,
    merge_patch,
    name_field,
    read,
    secrets_of,
    split_name,
)
from control_api.models import DefinitionRow, ReferenceRow
from notifier.database import Database
from notifier.definition import check_name
from notifier.errors import Duplicate, FieldError, InputError, StaleVersion, UnknownName
from notifier.outcome import Kind
from notifier.record import JsonObject
from notifier.registry import Registry
from notifier.seal import Seal

MAX_LIMIT = 500
_CHUNK = 500  # names in one statement
Action = Literal["create", "replace", "patch", "delete"]


@dataclass(frozen=True, kw_only=True)
class Stored:
    """A definition as it stands. `spec` is the stored form with sealed secrets: show `document`, which masks them."""

    kind: Kind
    name: str
    spec: JsonObject
    revision: int
    created_at: datetime
    updated_at: datetime
    changed_by: str
    document: JsonObject

    @property
    def etag(self) -> str:
        """Its version as HTTP has it: the revision in double quotes."""
        return f'"{self.revision}"'


@dataclass(frozen=True, kw_only=True)
class Page:
    """A part of a list. `next_cursor` leads to the part after it; None at the end."""

    items: Sequence[Stored]
    next_cursor: str | None


@dataclass(frozen=True, kw_only=True)
class Draft:
    """What a write would store. `revision` is of what is stored now; None: it would be new."""

    name: str
    spec: Spec
    revision: int | None


class Services:
    """Reads and changes definitions. `changed` is called with the revision after each commit, to wake the relay."""

    def __init__(
        self, database: Database, registry: Registry, seal: Seal, changed: Callable[[int], None] | None = None
    ) -> None:
        self._database = database
        self.registry = registry
        self._seal = seal
        self._changed = changed

    async def get(self, kind: Kind, name: str) -> Stored:
        """The definition. Raises UnknownName."""
        async with self._database.read() as session:
            return self._stored(await _row(session, kind, name))

    async def list(self, kind: Kind, limit: int = 100, cursor: str | None = None, q: str | None = None) -> Page:
        """Definitions of a kind by name, `limit` (1 to 500) at a time; `q`: whose name or title contains it, in any case.

        Raises InputError for a limit or cursor that cannot be.
        """
        if not 1 <= limit <= MAX_LIMIT:
            raise InputError(FieldError("/limit", f"must be between 1 and {MAX_LIMIT}"))
        statement = _select().where(DefinitionRow.kind == kind)
        if cursor is not None:
            statement = statement.where(DefinitionRow.name > _open_cursor(cursor))
        if q:
            check_json(q)
            statement = statement.where(
                or_(
                    DefinitionRow.name_key.contains(q.casefold(), autoescape=True),
                    func.lower(DefinitionRow.title).contains(q.lower(), autoescape=True),
                )
            )
        async with self._database.read() as session:
            rows = (await session.execute(statement.order_by(DefinitionRow.name).limit(limit + 1))).all()
        items = [self._stored(row) for row in rows[:limit]]
        return Page(items=items, next_cursor=_close_cursor(items[-1].name) if len(rows) > limit else None)

    async def get_many(self, kind: Kind, names: Iterable[str]) -> dict[str, Stored]:
        """Those definitions of a kind that there are, by name, read in one snapshot."""
        wanted = sorted(set(names))
        found: dict[str, Stored] = {}
        async with self._database.read() as session:
            for start in range(0, len(wanted), _CHUNK):
                condition = DefinitionRow.name.in_(wanted[start : start + _CHUNK])
                rows = await session.execute(_select().where(DefinitionRow.kind == kind, condition))
                found |= {row.name: self._stored(row) for row in rows}
        return found

    async def referrers(self, kind: Kind, to_kind: Kind, to_names: Iterable[str]) -> Mapping[str, Sequence[str]]:
        """By each of `to_names`: the names of the definitions of `kind` that name it, sorted."""
        wanted = sorted(set(to_names))
        found: dict[str, list[str]] = {name: [] for name in wanted}
        async with self._database.read() as session:
            for start in range(0, len(wanted), _CHUNK):
                query = select(ReferenceRow.to_name, ReferenceRow.name).where(
                    ReferenceRow.kind == kind,
                    ReferenceRow.to_kind == to_kind,
                    ReferenceRow.to_name.in_(wanted[start : start + _CHUNK]),
                )
                for to_name, name in await session.execute(query.order_by(ReferenceRow.name)):
                    found[to_name].append(name)
        return found

    async def create(self, actor: Actor, kind: Kind, written: object) -> Stored:
        """Creates a definition from a document with its name. Raises InputError, Forbidden or Duplicate."""
        name, rest = split_name(kind, written)
        return await self._write(actor, "create", kind, name, None, lambda _: rest)

    async def replace(
        self, actor: Actor, kind: Kind, name: str, written: object, expected: int | None = None
    ) -> Stored:
        """Replaces a definition by a document; secrets that it leaves out are kept. What is stored already changes nothing.

        `expected` is the revision that the caller had read. Raises UnknownName, StaleVersion, InputError or Forbidden.
        """
        rest = _same_name(kind, name, written)
        return await self._write(actor, "replace", kind, name, expected, lambda _: rest)

    async def patch(self, actor: Actor, kind: Kind, name: str, patch: object, expected: int | None = None) -> Stored:
        """Changes a definition by a merge patch (RFC 7396); null clears a secret. Raises as `replace` does."""
        changes = _same_name(kind, name, patch)
        check_json(changes)

        def patched(before: JsonObject) -> JsonObject:
            return self._patched(kind, before, changes)

        return await self._write(actor, "patch", kind, name, expected, patched)

    async def draft(
        self, actor: Actor, action: Action, kind: Kind, name: str | None, written: object, expected: int | None = None
    ) -> Draft:
        """What `create` (without a name), `replace` or `patch` would store, and stores nothing. Raises as they do."""
        if name is None:
            name, rest = split_name(kind, written)
        else:
            rest = _same_name(kind, name, written)
        if action == "patch":
            check_json(rest)

        def become(before: JsonObject) -> JsonObject:
            return self._patched(kind, before, rest) if action == "patch" else rest

        async with self._database.read() as session:
            row, spec = await self._read(session, action, kind, name, expected, become)
        if spec.privilege is not None:
            actor.require("admin", spec.privilege)
        return Draft(name=name, spec=spec, revision=row.revision if row is not None else None)

    async def delete(self, actor: Actor, kind: Kind, name: str, expected: int | None = None) -> int:
        """Deletes a definition; answers the revision that did. Raises UnknownName, StaleVersion, StillReferenced or Forbidden."""
        async with self._database.write() as session:
            await lock(session)
            row = await _row(session, kind, name)
            _check_version(row, expected)
            edit = Edit(kind=kind, name=name, before=row.spec, after=None)
            revision = await write(session, actor, "delete", f"delete {kind} {name}", [edit], self.registry)
        self._tell(revision)
        return revision

    async def _write(
        self,
        actor: Actor,
        action: Action,
        kind: Kind,
        name: str,
        expected: int | None,
        written: Callable[[JsonObject], JsonObject],
    ) -> Stored:
        async with self._database.write() as session:
            await lock(session)
            row, spec = await self._read(session, action, kind, name, expected, written)
            before = row.spec if row is not None else None
            if row is not None and spec.value == before:
                return self._stored(row)
            edit = Edit(kind=kind, name=name, before=before, after=spec)
            revision = await write(session, actor, action, f"{action} {kind} {name}", [edit], self.registry)
            stored = self._stored(await _row(session, kind, name))
        self._tell(revision)
        return stored

    async def _read(
        self,
        session: AsyncSession,
        action: Action,
        kind: Kind,
        name: str,
        expected: int | None,
        written: Callable[[JsonObject], JsonObject],
    ) -> tuple[Row[Any] | None, Spec]:
        """What is stored now, and what it is to become."""
        row = (await session.execute(_select().where(*_is(kind, name)))).one_or_none()
        if action == "create" and row is not None:
            raise Duplicate(f"there is a {kind} {name!r} already")
        if action != "create":
            row = await _row(session, kind, name) if row is None else row
            _check_version(row, expected)
        before = row.spec if row is not None else None
        return row, read(kind, name, written(before or {}), before=before, registry=self.registry, seal=self._seal)

    def _patched(self, kind: Kind, before: JsonObject, patch: JsonObject) -> JsonObject:
        secrets = secrets_of(kind, before, self.registry)
        target = mask(kind, before, self.registry)
        changes = patch.get("parameters")
        changes = changes if isinstance(changes, dict) else {}
        if patch.get("type", before.get("type")) != before.get("type"):
            kept = {field: value for field, value in target.get("parameters", {}).items() if field not in secrets}
            target = {**target, "parameters": kept}
        merged: JsonObject = merge_patch(target, patch)
        # A merge patch removes what is null, and a secret that is not there is kept; so null has to stay to be seen.
        cleared = {field: None for field in secrets if field in changes and changes[field] is None}
        # An object must replace what is shown of a secret, not be merged with it.
        replaced = {field: changes[field] for field in secrets if isinstance(changes.get(field), dict)}
        if cleared or replaced:
            merged["parameters"] = {**merged.get("parameters", {}), **cleared, **replaced}
        return merged

    def _stored(self, row: Row[Any]) -> Stored:
        kind = as_kind(row.kind)
        return Stored(
            kind=kind,
            name=row.name,
            spec=row.spec,
            revision=row.revision,
            created_at=row.created_at,
            updated_at=row.updated_at,
            changed_by=row.changed_by,
            document=document(kind, row.name, row.spec, self.registry),
        )

    def _tell(self, revision: int) -> None:
        if self._changed is not None:
            self._changed(revision)


def _select() -> Select[Any]:
    # Columns and not entities: what a session has read once it would not read again after a change.
    return select(
        DefinitionRow.kind,
        DefinitionRow.name,
        DefinitionRow.spec,
        DefinitionRow.revision,
        DefinitionRow.created_at,
        DefinitionRow.updated_at,
        DefinitionRow.changed_by,
    )


def _is(kind: Kind, name: str) -> tuple[Any, Any]:
    return DefinitionRow.kind == kind, DefinitionRow.name == name


async def _row(session: AsyncSession, kind: Kind, name: str) -> Row[Any]:
    try:
        check_name(kind, name)  # what cannot be a name (NUL among it) need not be asked for
    except InputError:
        raise UnknownName(kind, name) from None
    row: Row[Any] | None = (await session.execute(_select().where(*_is(kind, name)))).one_or_none()
    if row is None:
        raise UnknownName(kind, name)
    return row


def _check_version(row: Row[Any], expected: int | None) -> None:
    if expected is not None and expected != row.revision:
        raise StaleVersion(row.kind, row.name, expected, row.revision)


def _same_name(kind: Kind, name: str, written: object) -> JsonObject:
    """A document that is addressed by its name may repeat it, and may not change it."""
    if not isinstance(written, dict):
        raise InputError(FieldError("", "must be an object"))
    field = name_field(kind)
    if written.get(field, name) != name:
        raise InputError(
            FieldError(f"/{field}", f"is {name!r} and cannot be changed; create another {kind}, delete this one")
        )
    return {key: value for key, value in written.items() if key != field}


def _close_cursor(name: str) -> str:
    return urlsafe_b64encode(name.encode()).decode().rstrip("=")


def _open_cursor(cursor: str) -> str:
    try:
        name = b64decode(cursor + "=" * (-len(cursor) % 4), b"-_", validate=True).decode()
        check_json(name)
    except (binascii.Error, ValueError, InputError):
        raise InputError(FieldError("/cursor", "is not one that a list answered; begin without a cursor")) from None
    return name
