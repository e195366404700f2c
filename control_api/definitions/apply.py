"""Definitions from files and into files: what `notifier apply` and `notifier export` do.

An apply is one change: one database transaction, one revision, all of it or on any error nothing. Each document replaces
the definition of its name; what the files do not name stays, unless they are to prune. A dry run goes the same way and
takes everything back at the end, so that it finds what an apply would find.
"""

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from control_api.access.actor import COMMAND_LINE, Actor
from control_api.definitions.changes import Edit, Key, as_kind, lock, write
from control_api.definitions.documents import Document, dump, first_of, load, with_secrets
from control_api.definitions.relay import publish_pending
from control_api.definitions.spec import read, secrets_of, without_secrets
from control_api.migrate import upgrade_database
from control_api.models import DefinitionRow, OutboxRow
from control_api.registry import load_registry
from notifier.database import Database
from notifier.errors import BrokerError, FieldError, InputError, SecretError
from notifier.outcome import KINDS, Kind
from notifier.plugin import secret_fields
from notifier.record import JsonObject
from notifier.registry import Registry
from notifier.seal import Seal, load_seal
from notifier.settings import Settings

Sign = Literal["+", "~", "-", "="]  # created, changed, deleted, unchanged
Progress = Callable[[int, int], None]  # called with how many documents are checked, of how many
_SHOWN = 60  # characters of a value in a plan
_ABSENT: Any = object()


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One field that changes. `path` is dotted; the texts are short, and show nothing of a secret."""

    path: str
    before: str
    after: str

    def __str__(self) -> str:
        return f"{self.path} {self.before} → {self.after}"


@dataclass(frozen=True, kw_only=True)
class Step:
    """What happens to one definition."""

    sign: Sign
    edit: Edit
    differences: tuple[Difference, ...] = ()

    def __str__(self) -> str:
        named = f"{self.sign} {self.edit.kind} {self.edit.name}"
        return f"{named}: {', '.join(map(str, self.differences))}" if self.differences else named


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What an apply does. `revision` is the change that did it; None: nothing to do, or a dry run."""

    steps: Sequence[Step]
    revision: int | None = None

    @property
    def edits(self) -> list[Edit]:
        """What has to be written."""
        return [step.edit for step in self.steps if step.sign != "="]

    def count(self, sign: Sign) -> int:
        """How many definitions that happens to."""
        return sum(step.sign == sign for step in self.steps)

    @property
    def summary(self) -> str:
        """`3 created, 1 changed, 0 deleted, 12 unchanged`."""
        words: tuple[tuple[Sign, str], ...] = (("+", "created"), ("~", "changed"), ("-", "deleted"), ("=", "unchanged"))
        return ", ".join(f"{self.count(sign)} {word}" for sign, word in words)

    def lines(self) -> list[str]:
        """A line for each definition that changes."""
        return [str(step) for step in self.steps if step.sign != "="]


@dataclass(frozen=True, kw_only=True)
class Applied:
    """What an apply did, and the lines that say so."""

    plan: Plan
    published: bool  # whether the revision (if any) is on the topic
    lines: Sequence[str]


class _TakeBack(Exception):
    """Ends the transaction of a dry run."""


async def plan(
    session: AsyncSession,
    documents: Sequence[Document],
    *,
    prune: bool,
    registry: Registry,
    seal: Seal,
    environment: Mapping[str, str] | None = None,
    progress: Progress | None = None,
) -> Plan:
    """Compares documents with what is stored; secrets are read from the environment and files now.

    Raises InputError that names file, line and field of everything that does not fit, and SecretError.
    """
    if prune and not documents:
        raise InputError(
            FieldError("", "the files define nothing, and pruning would delete everything; is it the right path?")
        )
    environment = os.environ if environment is None else environment
    stored = await _stored(session)
    steps: list[Step] = []
    wrong: list[FieldError] = []
    for position, document in enumerate(documents):
        if progress is not None:
            progress(position, len(documents))
        before = stored.get((document.kind, document.name))
        try:
            steps.append(_step(document, before, registry, seal, environment))
        except InputError as error:
            wrong += [
                FieldError(f"{document.place} {document.kind} {document.name} {fault.pointer}".rstrip(), fault.detail)
                for fault in error.errors
            ]
        except SecretError as error:
            raise SecretError(f"{document.place}: {error}") from None
    if wrong:
        raise InputError(first_of(wrong))
    if prune:
        named = {(document.kind, document.name) for document in documents}
        steps += [
            Step(sign="-", edit=Edit(kind=kind, name=name, before=before, after=None))
            for (kind, name), before in stored.items()
            if (kind, name) not in named
        ]
    if progress is not None:
        progress(len(documents), len(documents))
    return Plan(steps=steps)


async def _stored(session: AsyncSession) -> dict[Key, JsonObject]:
    rows = await session.execute(select(DefinitionRow.kind, DefinitionRow.name, DefinitionRow.spec))
    return {(as_kind(kind), name): spec for kind, name, spec in rows}


def _step(
    document: Document, before: JsonObject | None, registry: Registry, seal: Seal, environment: Mapping[str, str]
) -> Step:
    kind, name = document.kind, document.name
    written = with_secrets(document, _secret_fields(document, registry), environment)
    after = read(kind, name, written, before=before, registry=registry, seal=seal)
    edit = Edit(kind=kind, name=name, before=before, after=after, place=document.place)
    if before is None:
        return Step(sign="+", edit=edit)
    if before == after.value:
        return Step(sign="=", edit=edit)
    secrets = secrets_of(kind, before, registry) | secrets_of(kind, after.value, registry)
    return Step(sign="~", edit=edit, differences=tuple(_differences(before, after.value, secrets)))


def _secret_fields(document: Document, registry: Registry) -> frozenset[str]:
    type_ = document.value.get("type")
    if document.kind not in ("producer", "filter", "consumer") or not isinstance(type_, str):
        return frozenset()
    try:
        return secret_fields(registry.get(document.kind, type_).Parameters)
    except InputError:
        return frozenset()  # an unknown type; `read` says so


def _differences(before: Any, after: Any, secrets: frozenset[str], path: str = "") -> Iterator[Difference]:
    if (
        path == "parameters"
    ):  # where one side has none, the other's are still told one by one: secrets may be among them
        before, after = ({} if side is _ABSENT else side for side in (before, after))
    hidden = _is_secret(path, secrets)
    if isinstance(before, dict) and isinstance(after, dict) and not hidden:
        for key in [*after, *(key for key in before if key not in after)]:
            below = f"{path}.{key}" if path else str(key)
            yield from _differences(before.get(key, _ABSENT), after.get(key, _ABSENT), secrets, below)
    elif before != after:
        yield Difference(path=path, before=_show(before, hidden), after=_show(after, hidden, changed=True))


def _is_secret(path: str, secrets: frozenset[str]) -> bool:
    return path.startswith("parameters.") and path.removeprefix("parameters.") in secrets


def _show(value: Any, hidden: bool, changed: bool = False) -> str:
    if value is _ABSENT:
        return "(none)"
    if hidden:
        return "(new secret)" if changed else "(secret)"
    if isinstance(value, str) and "\n" in value:
        return f"({value.count(chr(10)) + 1} lines)"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


async def apply(
    database: Database,
    documents: Sequence[Document],
    *,
    registry: Registry,
    seal: Seal,
    prune: bool = False,
    dry_run: bool = False,
    actor: Actor = COMMAND_LINE,
    environment: Mapping[str, str] | None = None,
    progress: Progress | None = None,
) -> Plan:
    """Makes the definitions what the documents say, as one change. Stored when it returns, not yet published.

    Raises as `plan` does, and Forbidden, InputError, Duplicate or StillReferenced from the checks against the whole.
    """
    try:
        async with database.write() as session:
            await lock(session)
            found = await plan(
                session,
                documents,
                prune=prune,
                registry=registry,
                seal=seal,
                environment=environment,
                progress=progress,
            )
            if found.edits:
                summary = f"apply: {found.summary}"
                revision = await write(session, actor, "apply", summary, found.edits, registry)
                found = replace(found, revision=revision)
            if dry_run:
                raise _TakeBack
    except _TakeBack:
        return replace(found, revision=None)
    return found


async def export(session: AsyncSession, registry: Registry) -> str:
    """All definitions as YAML, secrets left out; applying it changes nothing where it came from."""
    found: dict[Kind, list[tuple[str, JsonObject]]] = {kind: [] for kind in KINDS}
    for (kind, name), spec in sorted((await _stored(session)).items()):
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
    registry, seal = load_registry(), load_seal(settings)
    database = Database(settings)
    try:
        await upgrade_database(database)
        found = await apply(
            database, documents, registry=registry, seal=seal, prune=prune, dry_run=dry_run, progress=progress
        )
        lines = found.lines()
        if dry_run:
            return Applied(plan=found, published=False, lines=[*lines, f"{found.summary}; dry run: nothing is changed"])
        published, end = await _publish(settings, database, found.revision)
        return Applied(plan=found, published=published, lines=[*lines, f"{found.summary}; {end}"])
    finally:
        await database.close()


async def _publish(settings: Settings, database: Database, revision: int | None) -> tuple[bool, str]:
    """Publishes the change and whatever waited before it; answers whether that is done, and the end of the last line."""
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
