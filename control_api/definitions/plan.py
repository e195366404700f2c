"""ApplyPlan: what an apply does to each definition, found by comparing documents with what is stored.

Nothing is written here; `control_api.definitions.apply` does that.
"""

import asyncio
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, Literal

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from control_api.access.actor import COMMAND_LINE, Actor
from control_api.access.teams import Conditions, seen_definitions
from control_api.definitions.changes import Edit, Key, as_kind, with_team
from control_api.definitions.documents import Document, first_of, named
from control_api.definitions.includes import with_secrets
from control_api.definitions.secret_parameters import secrets_of
from control_api.definitions.spec import read
from control_api.definitions.usernames import Usernames, with_usernames
from control_api.models import DefinitionRow
from notifier.errors import FieldError, InputError, SecretError
from notifier.grapheme import shortened
from notifier.plugin import secret_fields
from notifier.record import JsonObject
from notifier.registry import Registry
from notifier.seal import Seal

Sign = Literal["+", "~", "-", "="]  # created, changed, deleted, unchanged
Progress = Callable[
    [int, int], None
]  # called, in whatever thread, with the number of documents checked, and of all documents
_SHOWN = 60  # characters of a value in a plan
_MOST_SHOWN = 200  # differences of one definition; the others are counted
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
class PlannedChange:
    """What happens to one definition."""

    sign: Sign
    edit: Edit
    differences: tuple[Difference, ...] = ()  # the first ones
    more: int = 0  # differences that are not among them

    def __str__(self) -> str:
        named = f"{self.sign} {self.edit.kind} {self.edit.name}"
        return f"{named}: {', '.join(map(str, self.differences))}{self.rest}" if self.differences else named

    @property
    def rest(self) -> str:
        """The end of a line that shows the differences."""
        return f" … and {self.more} more" if self.more else ""


@dataclass(frozen=True, kw_only=True)
class ApplyPlan:
    """What an apply does. `revision` is the change that did it; None: nothing to do, or a dry run."""

    changes: Sequence[PlannedChange]  # unchanged definitions too
    revision: int | None = None

    @property
    def edits(self) -> list[Edit]:
        """What has to be written."""
        return [change.edit for change in self.changes if change.sign != "="]

    def count(self, sign: Sign) -> int:
        """How many definitions have that sign."""
        return sum(change.sign == sign for change in self.changes)

    @property
    def summary(self) -> str:
        """`3 created, 1 changed, 0 deleted, 12 unchanged`."""
        words: tuple[tuple[Sign, str], ...] = (("+", "created"), ("~", "changed"), ("-", "deleted"), ("=", "unchanged"))
        return ", ".join(f"{self.count(sign)} {word}" for sign, word in words)

    def lines(self) -> list[str]:
        """A line for each definition that changes."""
        return [str(change) for change in self.changes if change.sign != "="]


@dataclass(frozen=True, kw_only=True)
class Planner:
    """Makes plans. Secrets are read from the environment and from files at that moment."""

    registry: Registry
    seal: Seal
    actor: Actor = COMMAND_LINE  # whose change it is to be
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ, repr=False)
    progress: Progress | None = None

    async def plan(self, session: AsyncSession, documents: Sequence[Document], *, prune: bool) -> ApplyPlan:
        """Compares documents with what is stored; with `prune`, deletes what the documents do not name.

        For an actor of a team that is of what the team has. Raises InputError that names file, line and field of everything that
        does not fit, SecretError, and OtherTeam.
        """
        if prune and not documents:
            raise InputError(
                FieldError("", "nothing is defined here, and pruning would delete everything; is it the right file?")
            )
        stored = await stored_specs(session, seen_definitions(self.actor))
        known = [name for kind, name in stored if kind == "user"]
        documents = _under_stored_names(documents, Usernames(known))
        named = [document.name for document in documents if document.kind == "user"]
        # One document alone may take a second, in which an API has other requests to answer.
        changes = await asyncio.to_thread(self._compare, documents, stored, Usernames([*named, *known]))
        if prune:
            changes += _deletions(documents, self._pruned(stored))
        self._tell(len(documents), len(documents))
        return ApplyPlan(changes=changes)

    def _compare(
        self, documents: Sequence[Document], stored: Mapping[Key, JsonObject], users: Usernames
    ) -> list[PlannedChange]:
        changes: list[PlannedChange] = []
        wrong: list[FieldError] = []
        for position, document in enumerate(documents):
            self._tell(position, len(documents))
            try:
                changes.append(self._change(document, stored.get((document.kind, document.name)), users))
            except InputError as error:
                wrong += named(document, error)
            except SecretError as error:
                raise SecretError(f"{document.place}: {error}") from None
        if wrong:
            raise InputError(first_of(wrong))
        return changes

    def _change(self, document: Document, before: JsonObject | None, users: Usernames) -> PlannedChange:
        kind, name = document.kind, document.name
        written = document.value
        if document.folder is not None:
            written = with_secrets(written, document.folder, self._secret_fields(document), self.environment)
        after = read(kind, name, written, before=before, registry=self.registry, seal=self.seal)
        if any(reference.kind == "user" for reference in after.references):
            after = with_usernames(after, users)
        edit = Edit(kind=kind, name=name, before=before, after=after, place=document.place)
        if before != after.value:  # what stays as it is may be another team's
            edit = with_team(self.actor, edit)
            after = edit.after or after
        if before is None:
            return PlannedChange(sign="+", edit=edit)
        if before == after.value:
            return PlannedChange(sign="=", edit=edit)
        secrets = secrets_of(kind, before, self.registry) | secrets_of(kind, after.value, self.registry)
        found = _differences(before, after.value, secrets)
        shown = tuple(_shown(*one) for one in islice(found, _MOST_SHOWN))
        return PlannedChange(sign="~", edit=edit, differences=shown, more=sum(1 for _ in found))

    def _pruned(self, stored: Mapping[Key, JsonObject]) -> Mapping[Key, JsonObject]:
        """What pruning may delete."""
        team = self.actor.team
        return {key: spec for key, spec in stored.items() if team in (None, spec.get("team"))}

    def _secret_fields(self, document: Document) -> frozenset[str]:
        type_ = document.value.get("type")
        if document.kind not in ("producer", "filter", "consumer") or not isinstance(type_, str):
            return frozenset()
        try:
            return secret_fields(self.registry.get(document.kind, type_).Parameters)
        except InputError:
            return frozenset()  # an unknown type, which `read` refuses

    def _tell(self, done: int, of: int) -> None:
        if self.progress is not None:
            self.progress(done, of)


async def stored_specs(session: AsyncSession, seen: Conditions = ()) -> dict[Key, JsonObject]:
    """All stored specs that fulfil the conditions, secrets sealed."""
    rows = await session.execute(select(DefinitionRow.kind, DefinitionRow.name, DefinitionRow.spec).where(*seen))
    return {(as_kind(kind), name): spec for kind, name, spec in rows}


def _under_stored_names(documents: Iterable[Document], known: Usernames) -> list[Document]:
    """The documents, those of users under the names that are stored."""
    return [
        replace(document, name=known.find(document.name)) if document.kind == "user" else document
        for document in documents
    ]


def _deletions(documents: Iterable[Document], stored: Mapping[Key, JsonObject]) -> list[PlannedChange]:
    named = {(document.kind, document.name) for document in documents}
    return [
        PlannedChange(sign="-", edit=Edit(kind=kind, name=name, before=before, after=None))
        for (kind, name), before in stored.items()
        if (kind, name) not in named
    ]


def _differences(
    before: Any, after: Any, secrets: frozenset[str], path: str = ""
) -> Iterator[tuple[str, Any, Any, bool]]:
    """Of each field that changes: its path, both values, and whether they are secret."""
    if path == "parameters":
        # Where one side has none, the other's are still told one by one: secrets may be among them.
        before, after = ({} if side is _ABSENT else side for side in (before, after))
    hidden = _is_secret(path, secrets)
    if isinstance(before, dict) and isinstance(after, dict) and not hidden:
        for key in [*after, *(key for key in before if key not in after)]:
            below = f"{path}.{key}" if path else str(key)
            yield from _differences(before.get(key, _ABSENT), after.get(key, _ABSENT), secrets, below)
    elif before != after:
        yield path, before, after, hidden


def _shown(path: str, before: Any, after: Any, hidden: bool) -> Difference:
    return Difference(path=path, before=_show(before, hidden), after=_show(after, hidden, changed=True))


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
    return shortened(text, _SHOWN)
