"""Teams: which rows of the database an actor sees, as conditions of queries. What an actor may change is the actor's to say.

With `NOTIFIER_TEAMS=strict` somebody of a team sees what is of the team or of none. Of the history that is what concerns a
configuration that is seen; and of what concerns none, or several, what the team's own producers sent.
"""

from typing import Any

from sqlalchemy import ColumnElement, and_, or_, select

from control_api.access.actor import Actor
from control_api.models import DefinitionRow

Conditions = tuple[ColumnElement[bool], ...]


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
