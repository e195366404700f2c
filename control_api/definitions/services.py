"""Services: definitions read and changed. REST and GraphQL call these same functions; each only translates.

Every change is one transaction and one revision; a definition's revision is its version (its ETag). REST and GraphQL check
the scope `write`. What needs `admin` (scripts, `write` and `network` of parameters) shows in the definition and is checked here.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, Select, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from control_api.access.actor import Actor
from control_api.access.teams import Conditions, seen_definitions
from control_api.definitions.apply import apply
from control_api.definitions.changes import Edit, as_kind, lock, with_team, write_change
from control_api.definitions.documents import Document
from control_api.definitions.json_value import check_json
from control_api.definitions.plan import ApplyPlan, Planner
from control_api.definitions.secret_parameters import check_kept
from control_api.definitions.spec import Spec, document, read
from control_api.definitions.usernames import stored_usernames, with_usernames
from control_api.definitions.writes import Draft, Write, patched
from control_api.models import DefinitionRow, ReferenceRow
from control_api.page_query import close_cursor, open_cursor
from notifier.database import Database
from notifier.definition import check_name
from notifier.errors import Duplicate, FieldError, InputError, StaleVersion, UnknownName
from notifier.folded import folded
from notifier.outcome import Kind
from notifier.record import JsonObject
from notifier.registry import Registry
from notifier.seal import Seal

MAX_LIMIT = 500
_CHUNK = 500  # names in one statement


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
class DefinitionPage:
    """A page of a list. `next_cursor` leads to the page after it; None at the end."""

    items: Sequence[Stored]
    next_cursor: str | None


class Services:
    """Reads and changes definitions. `changed` is called with the revision after each commit, to wake the relay."""

    def __init__(
        self, database: Database, registry: Registry, seal: Seal, changed: Callable[[int], None] | None = None
    ) -> None:
        self._database = database
        self.registry = registry
        self._seal = seal
        self._changed = changed
        self._reader: Actor | None = None  # none: all is shown

    def seen_by(self, actor: Actor) -> "Services":
        """These services for one actor: definitions that the actor does not see are missing (UnknownName)."""
        if actor.sees_all:
            return self
        seen = copy(self)
        seen._reader = actor
        return seen

    async def require_change(self, actor: Actor, kind: Kind, name: str) -> None:
        """Raises UnknownName where the definition is not shown to the actor, and OtherTeam where it is not theirs to change."""
        async with self._database.read() as session:
            row = await _row(session, kind, name, seen_definitions(actor))
        actor.require_team(row.team, f"the {kind} {row.name!r}")

    async def get(self, kind: Kind, name: str) -> Stored:
        """The definition. Raises UnknownName."""
        async with self._database.read() as session:
            return self._stored(await _row(session, kind, name, seen_definitions(self._reader)))

    async def list(
        self, kind: Kind, limit: int = 100, cursor: str | None = None, q: str | None = None
    ) -> DefinitionPage:
        """Definitions of a kind by name, `limit` (1 to 500) at a time; with `q`, those whose name or title contains it.

        `q` is case-insensitive. Raises InputError for a limit out of range and for a cursor that no list answered.
        """
        if not 1 <= limit <= MAX_LIMIT:
            raise InputError(FieldError("/limit", f"must be between 1 and {MAX_LIMIT}"))
        statement = _select().where(DefinitionRow.kind == kind, *seen_definitions(self._reader))
        if cursor is not None:
            statement = statement.where(DefinitionRow.name > open_cursor(cursor))
        if q:
            check_json(q)
            statement = statement.where(
                or_(
                    DefinitionRow.name_key.contains(folded(q), autoescape=True),
                    func.lower(DefinitionRow.title).contains(q.lower(), autoescape=True),
                )
            )
        async with self._database.read() as session:
            rows = (await session.execute(statement.order_by(DefinitionRow.name).limit(limit + 1))).all()
        items = [self._stored(row) for row in rows[:limit]]
        return DefinitionPage(items=items, next_cursor=close_cursor(items[-1].name) if len(rows) > limit else None)

    async def get_many(self, kind: Kind, names: Iterable[str]) -> dict[str, Stored]:
        """The definitions of a kind by name, read in one snapshot. Unknown names are left out."""
        wanted = sorted(set(names))
        found: dict[str, Stored] = {}
        async with self._database.read() as session:
            for start in range(0, len(wanted), _CHUNK):
                condition = DefinitionRow.name.in_(wanted[start : start + _CHUNK])
                seen = seen_definitions(self._reader)
                rows = await session.execute(_select().where(DefinitionRow.kind == kind, condition, *seen))
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

    async def create(self, actor: Actor, kind: Kind, document: object) -> Stored:
        """Creates a definition from a document with its name. Raises InputError, Forbidden or Duplicate."""
        return await self.save(actor, Write(action="create", kind=kind, document=document))

    async def replace(
        self, actor: Actor, kind: Kind, name: str, document: object, expected: int | None = None
    ) -> Stored:
        """Replaces a definition by a document; secrets that it leaves out are kept. An equal document changes nothing.

        `expected` is the revision that the caller had read. Raises UnknownName, StaleVersion, InputError or Forbidden.
        """
        write = Write(action="replace", kind=kind, name=name, document=document, expected=expected)
        return await self.save(actor, write)

    async def patch(self, actor: Actor, kind: Kind, name: str, patch: object, expected: int | None = None) -> Stored:
        """Changes a definition by a merge patch (RFC 7396); null clears a secret. Raises as `replace` does."""
        return await self.save(actor, Write(action="patch", kind=kind, name=name, document=patch, expected=expected))

    async def save(self, actor: Actor, write: Write) -> Stored:
        """Does the write. Raises as `create`, `replace` or `patch` does; a rollback may also create."""
        name, rest = write.split()
        async with self._database.write() as session:
            await lock(session)
            row, spec = await self._resolve(session, actor, write, name, rest)
            before = row.spec if row is not None else None
            name = name if row is None else row.name
            edit = with_team(actor, Edit(kind=write.kind, name=name, before=before, after=spec))
            if row is not None and edit.after is not None and edit.after.value == before:
                return self._stored(row)
            summary = f"{write.action} {write.kind} {name}"
            revision = await write_change(session, actor, write.action, summary, [edit], self.registry)
            stored = self._stored(await _row(session, write.kind, name))
        self._tell(revision)
        return stored

    async def draft(self, actor: Actor, write: Write) -> Draft:
        """What `save` would store; nothing is stored. Raises as `save` does."""
        name, rest = write.split()
        async with self._database.read() as session:
            row, spec = await self._resolve(session, actor, write, name, rest)
        edit = Edit(kind=write.kind, name=name, before=None if row is None else row.spec, after=spec)
        spec = with_team(actor, edit).after or spec
        if spec.privilege is not None:
            actor.require("admin", spec.privilege)
        if row is None:
            return Draft(name=name, spec=spec, revision=None)
        return Draft(name=row.name, spec=spec, revision=row.revision)

    async def delete(self, actor: Actor, kind: Kind, name: str, expected: int | None = None) -> int:
        """Deletes a definition; answers the revision that did. Raises UnknownName, StaleVersion, StillReferenced or Forbidden."""
        async with self._database.write() as session:
            await lock(session)
            row = await _row(session, kind, name, seen_definitions(actor))
            actor.require_team(row.team, f"the {kind} {row.name!r}")
            _check_version(row, expected)
            edit = Edit(kind=kind, name=row.name, before=row.spec, after=None)
            revision = await write_change(session, actor, "delete", f"delete {kind} {row.name}", [edit], self.registry)
        self._tell(revision)
        return revision

    async def apply(
        self, actor: Actor, documents: Sequence[Document], *, prune: bool = False, dry_run: bool = False
    ) -> ApplyPlan:
        """Makes the definitions what the documents say, as one change; answers what that did, or would do.

        Raises as `control_api.definitions.apply.apply` does.
        """
        planner = Planner(registry=self.registry, seal=self._seal, environment={}, actor=actor)
        plan = await apply(self._database, documents, planner, prune=prune, dry_run=dry_run)
        if plan.revision is not None:
            self._tell(plan.revision)
        return plan

    async def _resolve(
        self, session: AsyncSession, actor: Actor, write: Write, name: str, rest: JsonObject
    ) -> tuple[Row[Any] | None, Spec]:
        """The stored row, None for a new definition, and what it is to become."""
        row: Row[Any] | None = None
        if write.action == "create":
            found = await find_row(session, write.kind, name)
            if found is not None and found.name == name:  # one that only looks the same is named by `write_change`
                raise Duplicate(f"there is a {write.kind} {name!r} already")
        elif write.action == "rollback":
            row = await find_row(session, write.kind, name)
            if row is not None:
                if not actor.sees(row.team):
                    raise UnknownName(write.kind, name)
                _check_version(row, write.expected)
            elif write.expected is not None:
                raise StaleVersion(write.kind, name, write.expected, None)
        else:
            row = await _row(session, write.kind, name, seen_definitions(actor))
            actor.require_team(row.team, f"the {write.kind} {row.name!r}")
            _check_version(row, write.expected)
        before: JsonObject | None = row.spec if row is not None else None
        written = patched(write.kind, before or {}, rest, self.registry) if write.action == "patch" else rest
        spec = read(write.kind, name, written, before=before, registry=self.registry, seal=self._seal)
        if write.action == "rollback" and before is not None:
            check_kept(write.kind, name, before, spec.value, self.registry)  # nobody asked for a secret to be cleared
        named = [reference.name for reference in spec.references if reference.kind == "user"]
        if named:
            spec = with_usernames(spec, await stored_usernames(session, named))
        return row, spec

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
    # Columns and not entities: a session would answer an entity from its identity map after a change.
    return select(
        DefinitionRow.kind,
        DefinitionRow.name,
        DefinitionRow.team,
        DefinitionRow.spec,
        DefinitionRow.revision,
        DefinitionRow.created_at,
        DefinitionRow.updated_at,
        DefinitionRow.changed_by,
    )


async def find_row(session: AsyncSession, kind: Kind, name: str, seen: Conditions = ()) -> Row[Any] | None:
    """The stored definition that the name means, if there is one and it fulfils the conditions."""
    row: Row[Any] | None = None
    query = _select().where(DefinitionRow.kind == kind, *seen)
    # The exact name first: another user may have been stored with a name that only looks different to a computer.
    for condition in (DefinitionRow.name == name, DefinitionRow.name_key == folded(name)):
        row = (await session.execute(query.where(condition))).one_or_none()
        if row is not None or kind != "user":
            break
    return row


async def _row(session: AsyncSession, kind: Kind, name: str, seen: Conditions = ()) -> Row[Any]:
    try:
        check_name(kind, name)  # an impossible name (with NUL, for instance) must not reach the database
    except InputError:
        raise UnknownName(kind, name) from None
    row = await find_row(session, kind, name, seen)
    if row is None:
        raise UnknownName(kind, name)
    return row


def _check_version(row: Row[Any], expected: int | None) -> None:
    if expected is not None and expected != row.revision:
        raise StaleVersion(row.kind, row.name, expected, row.revision)
