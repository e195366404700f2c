"""Changes: definitions written or deleted as one revision, in the database transaction of the caller.

A change writes the definitions, their references, the audit log and the outbox that the relay publishes. Every writer calls
`lock` first. So writers follow one another, revisions grow in the order of commits, and a check still holds when the write
that it allowed is done.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from sqlalchemy import Executable, and_, bindparam, delete, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from control_api.access.actor import Actor
from control_api.access.teams import seen_definitions
from control_api.definitions.fallbacks import leading_back
from control_api.definitions.inclusions import faults_of
from control_api.definitions.ownership import owned
from control_api.definitions.pause import Pause
from control_api.definitions.place import located
from control_api.definitions.secret_parameters import mask
from control_api.definitions.spec import Reference, Spec
from control_api.models import AuditRow, ChangeRow, DefinitionRow, OutboxRow, ReferenceRow
from notifier.definition import Definition, definition_key
from notifier.errors import Duplicate, FieldError, InputError, StillReferenced, UnknownReference
from notifier.folded import folded
from notifier.outcome import KINDS, Kind
from notifier.record import JsonObject, now
from notifier.registry import Registry
from notifier.topics import deliveries

MAX_RECORD_BYTES = 900_000  # of a definition on its topic: the broker takes 1 MiB with the envelope
RESEAL = "reseal"  # the action that gives secrets another key and changes none
_LOCK = 7_306_874_210_002  # PostgreSQL's advisory lock of writers of definitions
_CHUNK = 500  # names in one statement
_ROWS = 100  # that one statement writes at most
_ROWS_BYTES = 128 * 1024  # in one statement, and the row that goes beyond
Key = tuple[Kind, str]


@dataclass(frozen=True, kw_only=True)
class Edit:
    """One definition written (`after`) or deleted (None). `before` is the spec as it is stored; None: not there yet."""

    kind: Kind
    name: str
    before: JsonObject | None
    after: Spec | None
    place: str = ""  # for errors: see `control_api.definitions.place`

    @property
    def key(self) -> Key:
        """(kind, name)."""
        return self.kind, self.name


async def lock(session: AsyncSession) -> None:
    """Makes this transaction the only one that changes definitions. SQLite has one writer at a time anyway."""
    if session.get_bind().dialect.name == "postgresql":
        await session.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})


async def write_change(
    session: AsyncSession, actor: Actor, action: str, summary: str, edits: Sequence[Edit], registry: Registry
) -> int:
    """Checks the edits against all stored definitions and writes them; answers the revision. Needs `lock`, and an edit.

    Raises Forbidden (OtherTeam too), InputError (a reference to nothing, too large), Duplicate or StillReferenced; nothing is
    written then.
    """
    pause = Pause()
    edits = [with_team(actor, edit) async for edit in pause.each(edits)]
    written = sorted((edit for edit in edits if edit.after is not None), key=lambda edit: KINDS.index(edit.kind))
    deleted = sorted((edit for edit in edits if edit.after is None), key=lambda edit: -KINDS.index(edit.kind))
    for edit in written:
        assert edit.after is not None
        if edit.after.privilege is not None:
            actor.require("admin", edit.after.privilege)
    if any(edit.kind == "script" for edit in deleted):
        actor.require("admin", "deleting a script")
    await _check_names(session, [edit for edit in written if edit.before is None], {edit.key for edit in deleted})
    await _check_references(session, actor, written, {edit.key for edit in deleted})
    await _check_unused(session, actor, deleted, {edit.key for edit in edits})
    await _check_fallbacks(session, [edit for edit in written if edit.kind == "consumer"])
    await _check_inclusions(session, [edit for edit in written if edit.kind == "template"])
    await _check_mappings(session, actor, [edit for edit in written if edit.kind == "mapping"])

    edits = [*written, *deleted]
    at = now()
    change = ChangeRow(at=at, actor=actor.name, summary=summary)
    session.add(change)
    await session.flush()
    revision = change.revision
    outbox = [_record(edit, revision) async for edit in pause.each(edits)]
    sizes = {edit.key: len(record["value"] or "") for edit, record in zip(edits, outbox, strict=True)}
    columns = {"revision": revision, "updated_at": at, "changed_by": actor.name}
    await _write_definitions(session, written, deleted, columns, sizes)
    records = ((0, {**record, "revision": revision, "position": place}) for place, record in enumerate(outbox))
    await _in_parts(session, insert(OutboxRow), records)
    said = {"at": at, "actor": actor.name, "action": action, "revision": revision}
    entries = (
        (
            sizes[edit.key],
            {**said, "kind": edit.kind, "name": edit.name, **_seen(edit, registry, changed=action != RESEAL)},
        )
        for edit in edits
    )
    await _in_parts(session, insert(AuditRow), entries)
    return revision


async def _in_parts(
    connection: AsyncSession | AsyncConnection, statement: Executable, rows: Iterable[tuple[int, JsonObject]]
) -> None:
    """Executes a statement for all rows, given with their bytes, in parts: each is packed in one piece, which others wait for."""
    part: list[JsonObject] = []
    size = 0
    for bytes_, row in rows:
        part.append(row)
        size += bytes_
        if len(part) == _ROWS or size > _ROWS_BYTES:
            await connection.execute(statement, part)
            part, size = [], 0
    if part:
        await connection.execute(statement, part)


def with_team(actor: Actor, edit: Edit) -> Edit:
    """The edit with the team that its definition gets. Raises OtherTeam and Forbidden."""
    after = None if edit.after is None else edit.after.value
    value = owned(actor, f"the {edit.kind} {edit.name!r}", edit.before, after)
    if edit.after is None or value is None or value == after:
        return edit
    return replace(edit, after=replace(edit.after, value=value))


def _seen(edit: Edit, registry: Registry, *, changed: bool) -> JsonObject:
    """`before` and `after` for the audit log. With `changed`, a secret that did says so: `{"set": true, "changed": true}`."""
    old = edit.before
    new = edit.after.value if edit.after is not None else None
    before = None if old is None else mask(edit.kind, old, registry)
    after = None if new is None else mask(edit.kind, new, registry)
    if changed and old and new and after and after is not new:
        for field, value in after["parameters"].items():
            sealed = new["parameters"][field]
            if value != sealed and sealed != old.get("parameters", {}).get(field):
                value["changed"] = True
    return {"before": before, "after": after}


def _record(edit: Edit, revision: int) -> JsonObject:
    value = None
    topic = None
    if edit.after is not None:
        definition = Definition(kind=edit.kind, name=edit.name, revision=revision, spec=edit.after.value)
        value = definition.encode().decode()
        if len(value.encode()) > MAX_RECORD_BYTES:
            raise InputError(
                FieldError(_at(edit, ""), f"is too large: {len(value.encode())} bytes of at most {MAX_RECORD_BYTES}")
            )
        if edit.after.partitions is not None:
            topic = deliveries(edit.name).name
    return {
        "key": definition_key(edit.kind, edit.name),
        "value": value,
        "topic": topic,
        "partitions": edit.after.partitions if edit.after is not None else None,
    }


async def _write_definitions(
    session: AsyncSession,
    written: Sequence[Edit],
    deleted: Sequence[Edit],
    columns: JsonObject,
    sizes: Mapping[Key, int],
) -> None:
    replaced = [edit for edit in written if edit.before is not None]
    created = [edit for edit in written if edit.before is None]
    for kind, names in _by_kind(edit.key for edit in [*replaced, *deleted]):
        await session.execute(delete(ReferenceRow).where(ReferenceRow.kind == kind, ReferenceRow.name.in_(names)))
    for kind, names in _by_kind(edit.key for edit in deleted):
        await session.execute(delete(DefinitionRow).where(DefinitionRow.kind == kind, DefinitionRow.name.in_(names)))
    if created:
        rows = (
            (
                sizes[edit.key],
                {
                    "kind": edit.kind,
                    "name": edit.name,
                    "name_key": folded(edit.name),
                    "created_at": columns["updated_at"],
                    **columns,
                    **_columns(edit),
                },
            )
            for edit in created
        )
        await _in_parts(session, insert(DefinitionRow), rows)
    if replaced:
        table = DefinitionRow.__table__
        statement = update(DefinitionRow).where(table.c.kind == bindparam("_kind"), table.c.name == bindparam("_name"))
        connection = await session.connection()  # many rows in one statement; the ORM's own way wants primary keys only
        rows = (
            (sizes[edit.key], {"_kind": edit.kind, "_name": edit.name, **columns, **_columns(edit)})
            for edit in replaced
        )
        await _in_parts(connection, statement, rows)
    references = (
        (0, {"kind": edit.kind, "name": edit.name, "to_kind": to_kind, "to_name": to_name})
        for edit in written
        for to_kind, to_name in {(reference.kind, reference.name) for reference in _spec(edit).references}
    )
    await _in_parts(session, insert(ReferenceRow), references)


def _columns(edit: Edit) -> JsonObject:
    spec = _spec(edit)
    return {
        "title": spec.title,
        "team": spec.value.get("team"),
        "spec": spec.value,
        "partitions": spec.partitions,
    }


def _spec(edit: Edit) -> Spec:
    assert edit.after is not None
    return edit.after


async def _check_names(session: AsyncSession, created: Sequence[Edit], deleted: Collection[Key]) -> None:
    """Refuses names that are taken, in whatever case and Unicode form."""
    keys: dict[Key, str] = {}
    for edit in created:
        key = edit.kind, folded(edit.name)
        if key in keys:
            raise Duplicate(_taken(edit, keys[key]))
        keys[key] = edit.name
    for kind, name_keys in _by_kind(keys):
        rows = await session.execute(
            select(DefinitionRow.name, DefinitionRow.name_key).where(
                DefinitionRow.kind == kind, DefinitionRow.name_key.in_(name_keys)
            )
        )
        for name, name_key in rows:
            if (kind, name) not in deleted:
                edit = next(edit for edit in created if edit.key == (kind, keys[kind, name_key]))
                raise Duplicate(_taken(edit, name))


def _taken(edit: Edit, other: str) -> str:
    place = f"{edit.place}: " if edit.place else ""
    if other == edit.name:
        return f"{place}there is a {edit.kind} {edit.name!r} already"
    return (
        f"{place}the {edit.kind} {edit.name!r} would differ from {other!r} in upper and lower case or Unicode form only,"
        " which names must not"
    )


async def _check_references(
    session: AsyncSession, actor: Actor, written: Sequence[Edit], deleted: Collection[Key]
) -> None:
    here = {edit.key for edit in written}
    wanted: dict[Key, list[tuple[Edit, Reference]]] = {}
    for edit in written:
        for reference in _spec(edit).references:
            key = reference.kind, reference.name
            if key not in here:
                wanted.setdefault(key, []).append((edit, reference))
    found: set[Key] = set()
    for kind, names in _by_kind(wanted):
        rows = await session.scalars(
            select(DefinitionRow.name).where(
                DefinitionRow.kind == kind, DefinitionRow.name.in_(names), *seen_definitions(actor)
            )
        )
        found |= {(kind, name) for name in rows}
    missing = [use for key, uses in wanted.items() if key not in found or key in deleted for use in uses]
    if missing:
        raise UnknownReference(
            [
                FieldError(_at(edit, reference.pointer), f"there is no {reference.kind} {reference.name!r}")
                for edit, reference in missing[:20]
            ],
            sorted({definition_key(reference.kind, reference.name) for _, reference in missing}),
        )


def _at(edit: Edit, pointer: str) -> str:
    return located(edit.place, edit.kind, edit.name, pointer)


async def _check_unused(session: AsyncSession, actor: Actor, deleted: Sequence[Edit], edited: Collection[Key]) -> None:
    """Refuses to delete what others refer to. References of definitions in the same change count as they become."""
    by: dict[Key, set[str]] = {}
    for kind, names in _by_kind(edit.key for edit in deleted):
        rows = await session.execute(
            select(ReferenceRow.kind, ReferenceRow.name, ReferenceRow.to_name, DefinitionRow.team)
            .join(DefinitionRow, and_(DefinitionRow.kind == ReferenceRow.kind, DefinitionRow.name == ReferenceRow.name))
            .where(ReferenceRow.to_kind == kind, ReferenceRow.to_name.in_(names))
        )
        for from_kind, from_name, name, team in rows:
            if (from_kind, from_name) not in edited:
                key = definition_key(as_kind(from_kind), from_name) if actor.sees(team) else "another team"
                by.setdefault((kind, name), set()).add(key)
    for (kind, name), users in sorted(by.items()):
        raise StillReferenced(kind, name, sorted(users))


async def _check_fallbacks(session: AsyncSession, consumers: Sequence[Edit]) -> None:
    """Refuses circles. Names no consumer but the one that is written: the others may be another team's."""
    found = {edit.name: next(iter(_spec(edit).names("consumer")), None) for edit in consumers}
    wrong = set(await leading_back(session, found))
    if wrong:
        text = "leads back to this consumer; the last one of a chain has no fallback"
        raise InputError([FieldError(_at(edit, "/fallback"), text) for edit in consumers if edit.name in wrong])


async def _check_inclusions(session: AsyncSession, templates: Sequence[Edit]) -> None:
    """Refuses templates that include themselves, or make too many within one another. Names no other, as above."""
    faults = await faults_of(session, {edit.name: _spec(edit).names("template") for edit in templates})
    if faults:
        raise InputError(
            [FieldError(_at(edit, "/content"), faults[edit.name]) for edit in templates if edit.name in faults]
        )


async def _check_mappings(session: AsyncSession, actor: Actor, mappings: Sequence[Edit]) -> None:
    """Refuses mappings that would change messages of producers which are not the actor's to change. Raises OtherTeam."""
    if actor.team is None or not mappings:
        return
    names = {edit.key: _spec(edit).names("producer") for edit in mappings}
    everyone = [edit for edit in mappings if not names[edit.key]]
    if everyone:
        text = "is required: a mapping of all producers' messages is for who has no team"
        raise InputError([FieldError(_at(edit, "/producers"), text) for edit in everyone])
    for _, some in _by_kind(
        ("producer", name) for name in sorted({name for found in names.values() for name in found})
    ):
        rows = await session.execute(
            select(DefinitionRow.name, DefinitionRow.team).where(
                DefinitionRow.kind == "producer", DefinitionRow.name.in_(some)
            )
        )
        for name, team in rows:
            actor.require_team(team, f"the messages of the producer {name!r}")


def _by_kind(keys: Iterable[Key]) -> Iterator[tuple[Kind, list[str]]]:
    """The names of each kind, at most `_CHUNK` at a time."""
    names: dict[Kind, list[str]] = {}
    for kind, name in keys:
        names.setdefault(kind, []).append(name)
    for kind, all_names in names.items():
        remaining = iter(all_names)
        while chunk := list(islice(remaining, _CHUNK)):
            yield kind, chunk


def as_kind(stored: str) -> Kind:
    """A stored text as a `Kind`."""
    assert stored in KINDS
    return stored
