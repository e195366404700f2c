"""Apply and export: definitions from files and into files, as `notifier apply` and `notifier export` do.

An apply is one change: one database transaction and one revision; on any error nothing is changed. Each document replaces
the definition of its name. Definitions that the files do not name stay, unless they are pruned. A dry run does the same and
rolls back at the end, so that it finds what an apply would find. What changes is `control_api.definitions.plan`'s to say.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from control_api.definitions.changes import lock, write_change
from control_api.definitions.documents import Document, dump, load
from control_api.definitions.plan import ApplyPlan, Planner, Progress, stored_specs
from control_api.definitions.relay import publish_pending
from control_api.definitions.secret_parameters import without_secrets
from control_api.migrate import upgrade_database
from control_api.models import OutboxRow
from control_api.registry import load_registry
from notifier.database import Database
from notifier.errors import BrokerError
from notifier.outcome import KINDS, Kind
from notifier.record import JsonObject
from notifier.registry import Registry
from notifier.seal import load_seal
from notifier.settings import Settings


@dataclass(frozen=True, kw_only=True)
class Applied:
    """What an apply did, and the lines that say so."""

    plan: ApplyPlan
    published: bool  # whether the revision (if any) is on the topic
    lines: Sequence[str]


class _RollBack(Exception):
    """Ends the transaction of a dry run."""


async def apply(
    database: Database,
    documents: Sequence[Document],
    planner: Planner,
    *,
    prune: bool = False,
    dry_run: bool = False,
) -> ApplyPlan:
    """Makes the definitions what the documents say, as one change. Stored when it returns, not yet published.

    Raises as `Planner.plan` does, and Forbidden, InputError, Duplicate or StillReferenced from the checks against the whole.
    """
    try:
        async with database.write() as session:
            await lock(session)
            plan = await planner.plan(session, documents, prune=prune)
            if plan.edits:
                summary = f"apply: {plan.summary}"
                revision = await write_change(session, planner.actor, "apply", summary, plan.edits, planner.registry)
                plan = replace(plan, revision=revision)
            if dry_run:
                raise _RollBack
    except _RollBack:
        return replace(plan, revision=None)
    return plan


async def export(session: AsyncSession, registry: Registry) -> str:
    """All definitions as YAML, secrets left out; applying it to the same database changes nothing."""
    found: dict[Kind, list[tuple[str, JsonObject]]] = {kind: [] for kind in KINDS}
    for (kind, name), spec in sorted((await stored_specs(session)).items()):
        found[kind].append((name, without_secrets(kind, spec, registry)))
    return dump(found)


async def apply_command(
    settings: Settings,
    path: Path,
    prune: bool = False,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> Applied:
    """`notifier apply`: stores the definitions of a file or folder and publishes them.

    Where no broker answers, the change is stored all the same and the lines say that it will be published later. Raises
    InputError, SecretError, DatabaseError or a Conflict, each one line; nothing is changed then.
    """
    documents = load(path)
    planner = Planner(registry=load_registry(), seal=load_seal(settings), progress=progress)
    database = Database(settings)
    try:
        await upgrade_database(database)
        plan = await apply(database, documents, planner, prune=prune, dry_run=dry_run)
        lines = plan.lines()
        if dry_run:
            return Applied(plan=plan, published=False, lines=[*lines, f"{plan.summary}; dry run: nothing is changed"])
        published, end = await publish(settings, database, plan.revision)
        return Applied(plan=plan, published=published, lines=[*lines, f"{plan.summary}; {end}"])
    finally:
        await database.close()


async def publish(settings: Settings, database: Database, revision: int | None) -> tuple[bool, str]:
    """Publishes all revisions in the outbox; answers whether that is done, and the end of the last line."""
    async with database.read() as session:
        newest = await session.scalar(select(func.max(OutboxRow.revision)))
    said = f"revision {revision}" if revision is not None else "nothing to change"
    if newest is None:
        return True, said if revision is None else f"{said} is published"
    try:
        await publish_pending(settings, database, newest)
    except BrokerError as error:
        stored = f"{said} is stored" if revision is not None else f"{said}, revision {newest} is stored"
        return False, f"{stored} and will be published later: {error}"
    return True, f"{said} is published" if revision is not None else f"{said}; revision {newest} is published"


async def export_command(settings: Settings) -> str:
    """`notifier export`: all definitions as YAML. Raises DatabaseError."""
    database = Database(settings)
    try:
        await upgrade_database(database)
        async with database.read() as session:
            return await export(session, load_registry())
    finally:
        await database.close()
