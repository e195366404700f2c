"""Teams: which rows of the database an actor sees, as conditions of queries. What an actor may change is the actor's to say.

With `NOTIFIER_TEAMS=strict` somebody of a team sees what is of the team or of none. Of the history that is what concerns a
configuration that is seen; and of what concerns none, or several, what the team's own producers sent. A message is seen where its
producer is. A definition is of the team that it has now; one that was deleted, of the team that it had last. What it was under
another team before is not shown.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, and_, case, exists, or_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from control_api.access.actor import Actor
from control_api.history.sight import Sight
from control_api.models import AccountRow, AttemptRow, AuditRow, DefinitionRow, MessageRow, TokenRow
from notifier.outcome import KINDS, Kind

Conditions = tuple[ColumnElement[bool], ...]


@dataclass(frozen=True)
class Hidden:
    """Names of definitions that are not shown to somebody, stored ones and deleted ones."""

    names: Mapping[str, frozenset[str]] = field(default_factory=dict)  # by kind

    def of(self, kind: Kind) -> frozenset[str]:
        """The names of a kind."""
        return self.names.get(kind, frozenset())


def seen_definitions(actor: Actor | None) -> Conditions:
    """What rows of `DefinitionRow` must fulfil to be seen; nothing for who sees all."""
    return () if actor is None else seen_of(actor, DefinitionRow)


def seen_of(actor: Actor, table: Any) -> Conditions:
    """What rows of a table with a `team` must fulfil to be seen; nothing for who sees all."""
    return () if actor.sees_all else (or_(table.team.is_(None), table.team == actor.team),)


def seen_history(actor: Actor, table: Any) -> Conditions:
    """What rows of a table of the history must fulfil to be seen; nothing for who sees all."""
    if actor.sees_all:
        return ()
    configurations = select(DefinitionRow.name).where(DefinitionRow.kind == "configuration", *seen_definitions(actor))
    seen: ColumnElement[bool] = table.__table__.c.configuration.in_(configurations)
    if "producer" in table.__table__.c:
        producers = select(DefinitionRow.name).where(DefinitionRow.kind == "producer", DefinitionRow.team == actor.team)
        columns = table.__table__.c
        seen = or_(seen, and_(columns.configuration.is_(None), columns.producer.in_(producers)))
    return (seen,)


def seen_messages(actor: Actor) -> Conditions:
    """What rows of messages must fulfil to be seen: their producer is."""
    if actor.sees_all:
        return ()
    producers = select(DefinitionRow.name).where(DefinitionRow.kind == "producer", *seen_definitions(actor))
    return (MessageRow.producer.in_(producers),)


def sight_of(actor: Actor) -> Sight:
    """What of messages and attempts the actor sees."""
    return Sight(attempts=seen_history(actor, AttemptRow), messages=seen_messages(actor))


def seen_entries(actor: Actor) -> Conditions:
    """What rows of the audit log must fulfil to be seen: they are of a definition, token or account that is, and were then."""
    if actor.sees_all:
        return ()
    stored = DefinitionRow.kind == AuditRow.kind, DefinitionRow.name == AuditRow.name
    last = aliased(AuditRow)
    team = (
        select(last.before["team"].as_string())
        .where(last.kind == AuditRow.kind, last.name == AuditRow.name, last.revision.is_not(None))
        .order_by(last.id.desc())
        .limit(1)
        .scalar_subquery()
    )
    deleted = and_(~exists().where(*stored), or_(team.is_(None), team == actor.team))
    definitions = and_(AuditRow.kind.in_(KINDS), or_(exists().where(*stored, *seen_definitions(actor)), deleted))
    tokens = and_(AuditRow.kind == "token", exists().where(TokenRow.id == AuditRow.name, *seen_of(actor, TokenRow)))
    accounts = and_(
        AuditRow.kind == "account", exists().where(AccountRow.name == AuditRow.name, *seen_of(actor, AccountRow))
    )
    return (or_(definitions, tokens, accounts), *seen_versions(actor))


def seen_versions(actor: Actor) -> Conditions:
    """What rows of the audit log must fulfil by themselves to be seen: a name may have been another team's before."""
    if actor.sees_all:
        return ()
    team = case(
        (AuditRow.after.is_(None), AuditRow.before["team"].as_string()), else_=AuditRow.after["team"].as_string()
    )
    return (or_(team.is_(None), team == actor.team),)


async def hidden_from(session: AsyncSession, actor: Actor) -> Hidden:
    """The names, by kind, of definitions that the actor does not see. Empty for an actor who sees all."""
    if actor.sees_all:
        return Hidden()
    stored = DefinitionRow.kind == AuditRow.kind, DefinitionRow.name == AuditRow.name
    deleted = (
        select(AuditRow.kind, AuditRow.name, AuditRow.before["team"].as_string())
        .where(AuditRow.kind.in_(KINDS), AuditRow.revision.is_not(None), AuditRow.after.is_(None))
        .where(~exists().where(*stored))
        .order_by(AuditRow.id)
    )
    kept = select(DefinitionRow.kind, DefinitionRow.name, DefinitionRow.team).where(DefinitionRow.team.is_not(None))
    teams = {(kind, name): team for query in (deleted, kept) for kind, name, team in await session.execute(query)}
    names: dict[str, set[str]] = {}
    for (kind, name), team in teams.items():
        if not actor.sees(team):
            names.setdefault(kind, set()).add(name)
    return Hidden({kind: frozenset(found) for kind, found in names.items()})
