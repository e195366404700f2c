"""Versions: what a definition was, change by change, and how to go back to one. A version is a revision that wrote it.

All is read from the audit log, which is never changed; so a definition that was deleted still has its history. A secret is
never in there: going back keeps the secrets that are stored now.
"""

from dataclasses import dataclass

from sqlalchemy import ColumnElement, select
from sqlalchemy.ext.asyncio import AsyncSession

from control_api.access.actor import COMMAND_LINE, Actor
from control_api.access.teams import seen_versions
from control_api.definitions.apply import publish
from control_api.definitions.audit import AuditQuery, audit, changes_of, newest
from control_api.definitions.secret_parameters import MOVED, secrets_of, without_secrets
from control_api.definitions.services import Services, Stored, find_row
from control_api.definitions.writes import Write
from control_api.migrate import upgraded
from control_api.models import AuditRow
from control_api.page_query import PageQuery
from control_api.registry import load_registry
from notifier.database import Database
from notifier.definition import check_name
from notifier.errors import Conflict, FieldError, InputError, UnknownName, UnknownReference
from notifier.outcome import Kind
from notifier.pointer import pointer
from notifier.record import JsonObject, rfc3339
from notifier.registry import Registry
from notifier.seal import load_seal
from notifier.settings import Settings

MAX_VERSION = 2**63 - 1
_NAMED = 5  # versions that an error names


@dataclass(frozen=True, kw_only=True)
class Rollback:
    """That a definition is to be as it was in a version."""

    kind: Kind
    name: str
    version: int
    expected: int | None = None  # revision that the caller has read; none: any


async def history(
    session: AsyncSession, actor: Actor, kind: Kind, name: str, page: PageQuery, registry: Registry
) -> tuple[list[JsonObject], str | None]:
    """Versions of a definition as JSON, the newest first, and the cursor of the next page if there is one.

    Raises UnknownName where there never was one of that name that the actor sees, and InputError for a cursor that is none.
    """
    known, _ = await _known(session, actor, kind, name)
    return await newest(session, _versions_of(kind, known, actor), page, lambda row: _version(row, registry))


async def rollback(database: Database, services: Services, actor: Actor, wanted: Rollback) -> Stored:
    """Writes the spec of a version as a new version, also where the definition was deleted since.

    Raises UnknownName, StaleVersion, Forbidden and OtherTeam; Conflict where the version refers to what is gone, or has another
    address for a secret that is stored; InputError for a version that is none, and for one that does not fit any more (a
    required secret that is stored nowhere, for instance).
    """
    kind = wanted.kind
    async with database.read() as session:
        name, team = await _known(session, actor, kind, wanted.name)
        actor.require_team(team, f"the {kind} {name!r}")  # also of one that was deleted
        row = await _find_version(session, actor, wanted, name)
    assert row.after is not None
    written = without_secrets(kind, row.after, services.registry)
    write = Write(action="rollback", kind=kind, name=row.name, document=written, expected=wanted.expected)
    try:
        return await services.save(actor, write)
    except UnknownReference as error:
        gone = ", ".join(error.missing)
        raise Conflict(
            f"version {wanted.version} of the {kind} {row.name!r} refers to what is not there any more: {gone};"
            " bring that back first, by a rollback of its own"
        ) from None
    except InputError as error:
        raise InputError(_with_secrets_named(error, row, kind, services.registry)) from None


# --- for the command line, without an API ---


async def rollback_command(settings: Settings, wanted: Rollback) -> str:
    """`notifier rollback`: goes back, publishes, and says so. Raises as `rollback` does, DatabaseError and SecretError."""
    made: list[int] = []
    async with upgraded(settings) as database:
        services = Services(database, load_registry(), load_seal(settings), changed=made.append)
        stored = await rollback(database, services, COMMAND_LINE, wanted)
        _, end = await publish(settings, database, stored.revision if made else None)
    did = "is as it was in" if made else "is already as in"
    return f"the {stored.kind} {stored.name} {did} version {wanted.version}; {end}"


async def history_command(
    settings: Settings, kind: Kind, name: str, page: PageQuery
) -> tuple[list[JsonObject], str | None]:
    """`notifier history`. Raises as `history` does, and DatabaseError."""
    async with upgraded(settings) as database, database.read() as session:
        return await history(session, COMMAND_LINE, kind, name, page, load_registry())


async def audit_command(settings: Settings, query: AuditQuery) -> tuple[list[JsonObject], str | None]:
    """`notifier audit`. Raises as `audit` does, and DatabaseError."""
    async with upgraded(settings) as database, database.read() as session:
        return await audit(session, COMMAND_LINE, query, load_registry())


async def _known(session: AsyncSession, actor: Actor, kind: Kind, name: str) -> tuple[str, str | None]:
    """The name as it is stored, or was, and the team that has it, or had it last. Raises UnknownName."""
    try:
        known = check_name(kind, name)  # an impossible name must not reach the database
    except InputError:
        raise UnknownName(kind, name) from None
    stored = await find_row(session, kind, known)
    team: str | None = None
    if stored is not None:
        known, team = str(stored.name), stored.team
    else:
        query = select(AuditRow.before["team"].as_string()).where(*_versions_of(kind, known, COMMAND_LINE))
        last = (await session.execute(query.order_by(AuditRow.id.desc()).limit(1))).one_or_none()
        if last is None:
            raise UnknownName(kind, name)
        team = last[0]
    if not actor.sees(team):
        raise UnknownName(kind, name)
    return known, team


def _versions_of(kind: Kind, name: str, actor: Actor) -> list[ColumnElement[bool]]:
    """Conditions of the rows that wrote a definition and that the actor sees."""
    return [AuditRow.kind == kind, AuditRow.name == name, AuditRow.revision.is_not(None), *seen_versions(actor)]


async def _find_version(session: AsyncSession, actor: Actor, wanted: Rollback, name: str) -> AuditRow:
    """The row that wrote the version. Raises InputError for a version that is none or a deletion."""
    of_it = _versions_of(wanted.kind, name, actor)
    row = await session.scalar(select(AuditRow).where(*of_it, AuditRow.revision == wanted.version))
    if row is not None and row.after is not None:
        return row
    query = select(AuditRow.revision).where(*of_it, AuditRow.after.is_not(None)).order_by(AuditRow.id.desc())
    last = ", ".join(map(str, await session.scalars(query.limit(_NAMED))))
    what = "is none of its versions" if row is None else "is the one that deleted it"
    raise InputError(FieldError("/version", f"{wanted.version} {what}; the last to go back to are {last}"))


def _with_secrets_named(error: InputError, row: AuditRow, kind: Kind, registry: Registry) -> list[FieldError]:
    assert row.after is not None
    secrets = {pointer(["parameters", field]) for field in secrets_of(kind, row.after, registry)}
    text = f"the secret of version {row.revision} is stored nowhere any more; write the {kind} with it instead"
    return [
        FieldError(fault.pointer, text) if fault.pointer in secrets and not fault.detail.startswith(MOVED) else fault
        for fault in error.errors
    ]


def _version(row: AuditRow, registry: Registry) -> JsonObject:
    return {
        "version": row.revision,
        "at": rfc3339(row.at),
        "actor": row.actor,
        "action": row.action,
        "changes": changes_of(row, registry),
    }
