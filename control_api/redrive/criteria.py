"""Criteria: which dead letters a redrive sends again, and which an actor may."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator
from sqlalchemy import ColumnElement, and_, or_, select

from control_api.models import DeadLetterRow, DefinitionRow
from notifier.bounds import BoundedTime
from notifier.outcome import Reason
from notifier.record import JsonObject, rfc3339

PER_SECOND = 100
MOST_IDS = 1000
# What these say does not change by sending the record again, unless the program did.
ASKED_FOR_ONLY: tuple[Reason, ...] = ("invalid", "unsupported_version", "too_large")

_Name = Annotated[str, StringConstraints(min_length=1, max_length=512, pattern=r"^[^\x00]*$")]
_Names = _Name | Annotated[list[_Name], Field(min_length=1, max_length=100)]
_Id = Annotated[str, StringConstraints(min_length=1, max_length=16_384, pattern=r"^[^\x00]*$")]


class RedriveInput(BaseModel):
    """Which dead letters are to be sent again. All conditions must hold; at least one is needed."""

    model_config = ConfigDict(extra="forbid")

    consumer: _Names | None = Field(None, description="A consumer's name, or several.")
    configuration: _Names | None = Field(None, description="A configuration's name, or several.")
    reason: Reason | Annotated[list[Reason], Field(min_length=1, max_length=100)] | None = Field(
        None,
        description="A reason, or several. Letters `invalid`, `unsupported_version` and `too_large` are sent again only where"
        " they are asked for by reason or id.",
    )
    since: BoundedTime | None = Field(None, description="Given up from this moment on.")
    until: BoundedTime | None = Field(None, description="Given up before this moment.")
    ids: Annotated[list[_Id], Field(min_length=1, max_length=MOST_IDS)] | None = Field(
        None, description="Ids of dead letters."
    )
    per_second: int = Field(PER_SECOND, ge=1, le=10_000, description="How many are sent again in a second at most.")
    dry_run: bool = Field(False, description="Count them, and send nothing.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.criteria():
            raise ValueError("needs one of consumer, configuration, reason, since, until and ids")
        if self.since is not None and self.until is not None and self.since >= self.until:
            raise ValueError("`since` must be before `until`")
        return self

    def criteria(self) -> JsonObject:
        """What was given of the conditions, as JSON."""
        given: JsonObject = {}
        for name in ("consumer", "configuration", "reason", "since", "until", "ids"):
            value = getattr(self, name)
            if value is not None:
                given[name] = rfc3339(value) if isinstance(value, datetime) else value
        return given


def conditions(criteria: JsonObject, team: str | None) -> list[ColumnElement[bool]]:
    """What rows of `DeadLetterRow` must fulfil: the criteria, nobody has sent them again, and they are the team's.

    A team's are those of its configurations and of those without team, and what its producers sent that concerns no
    configuration alone.
    """
    column = DeadLetterRow.__table__.c
    wanted: list[ColumnElement[bool]] = [column.redriven_at.is_(None)]
    for name, of in (("consumer", column.consumer), ("configuration", column.configuration), ("reason", column.reason)):
        if name in criteria:
            wanted.append(of.in_(_several(criteria[name])))
    if "ids" in criteria:
        wanted.append(column.letter.in_(criteria["ids"]))
    if "since" in criteria:
        wanted.append(column.at >= datetime.fromisoformat(criteria["since"]))
    if "until" in criteria:
        wanted.append(column.at < datetime.fromisoformat(criteria["until"]))
    if "ids" not in criteria and "reason" not in criteria:
        wanted.append(column.reason.not_in(ASKED_FOR_ONLY))
    if team is not None:
        own = or_(DefinitionRow.team.is_(None), DefinitionRow.team == team)
        configurations = select(DefinitionRow.name).where(DefinitionRow.kind == "configuration", own)
        producers = select(DefinitionRow.name).where(DefinitionRow.kind == "producer", DefinitionRow.team == team)
        by_producer = and_(column.configuration.is_(None), column.producer.in_(producers))
        wanted.append(or_(column.configuration.in_(configurations), by_producer))
    return wanted


def _several(value: str | Sequence[str]) -> Sequence[str]:
    return [value] if isinstance(value, str) else value
