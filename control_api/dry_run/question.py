"""Question: what a dry run is asked, checked before it begins: a configuration or a draft of it, and a span of time."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import select

from control_api.access.actor import Actor
from control_api.access.teams import seen_definitions
from control_api.definitions.services import Services
from control_api.definitions.spec import Reference
from control_api.definitions.writes import Write
from control_api.dry_run.reading import Span
from control_api.models import DefinitionRow
from notifier.bounds import FIRST, BoundedTime
from notifier.database import Database
from notifier.errors import Duplicate, FieldError, InputError, UnknownName
from notifier.record import JsonObject

_CHUNK = 500  # names in one statement
USUAL = timedelta(days=1)  # the span where `since` is not given


class DryRunInput(BaseModel):
    """What a dry run is asked."""

    model_config = ConfigDict(extra="forbid")

    draft: JsonObject | None = Field(
        None,
        description="The configuration as it would be, whole, as of PUT; it need not be stored. Null: as it is stored.",
        examples=[{"users": ["alice"], "producers": ["ci"], "filters": ["no-drafts"], "consumers": ["team-chat"]}],
    )
    since: BoundedTime | None = Field(
        None, description="The first moment; by default a day before `until`.", examples=["2026-11-28T00:00:00Z"]
    )
    until: BoundedTime | None = Field(
        None, description="The moment after the last; by default now.", examples=["2026-11-29T00:00:00Z"]
    )

    def span(self, at: datetime) -> Span:
        """The span, asked at a moment. Raises InputError."""
        return span_of(self.since, self.until, at)


def span_of(since: datetime | None, until: datetime | None, at: datetime) -> Span:
    """The span from what was given of it, asked at a moment. Raises InputError."""
    end = min(until or at, at)
    begin = max(end - USUAL, FIRST) if since is None else since
    if begin >= end:
        late = "must be earlier than `until`" if until is not None and until <= at else "must be earlier than now"
        raise InputError(FieldError("/since", late))
    return Span(since=begin, until=end)


async def drafted(database: Database, services: Services, actor: Actor, name: str, draft: JsonObject) -> JsonObject:
    """The draft of a configuration in its stored form; the configuration need not be stored.

    Raises InputError that names the field, below `/draft`; OtherTeam; and UnknownName for one that is not shown to the actor.
    """
    try:
        try:
            found = await services.draft(
                actor, Write(action="replace", kind="configuration", name=name, document=draft)
            )
        except UnknownName:
            document = {**draft, "name": draft.get("name", name)}
            if document["name"] != name:
                raise InputError(FieldError("/name", f"is not {name!r}, which the address says")) from None
            try:
                found = await services.draft(actor, Write(action="create", kind="configuration", document=document))
            except Duplicate:  # it is there, and not shown
                raise UnknownName("configuration", name) from None
        missing = await _missing(database, actor, found.spec.references)
        if missing:
            raise InputError([FieldError(one.pointer, f"there is no {one.kind} {one.name!r}") for one in missing[:20]])
    except InputError as error:
        raise InputError([FieldError(f"/draft{fault.pointer}", fault.detail) for fault in error.errors]) from None
    return found.spec.value


async def _missing(database: Database, actor: Actor, references: Sequence[Reference]) -> list[Reference]:
    """The references to what is not stored, or not shown to the actor."""
    found: set[tuple[str, str]] = set()
    async with database.read() as session:
        for start in range(0, len(references), _CHUNK):
            names = {reference.name for reference in references[start : start + _CHUNK]}
            named = DefinitionRow.name.in_(names), *seen_definitions(actor)
            query = select(DefinitionRow.kind, DefinitionRow.name).where(*named)
            found |= {(kind, name) for kind, name in await session.execute(query)}
    return [reference for reference in references if (reference.kind, reference.name) not in found]
