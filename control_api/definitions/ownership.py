"""Ownership: whether an actor may make a change as far as teams are concerned, and the team that a definition then has.

What an actor of a team creates is the team's unless it says otherwise, and where such an actor leaves the team out, or writes
null, it stays as it is. A definition goes to another team, or from or to none, by an `admin` without team.
"""

from control_api.access.actor import Actor
from notifier.errors import Forbidden
from notifier.record import JsonObject


def owned(actor: Actor, what: str, before: JsonObject | None, after: JsonObject | None) -> JsonObject | None:
    """The stored form `after` with its team. `before` is None for a new definition, `after` for a deleted one.

    `what` names the definition: "the filter 'loud'". Raises OtherTeam, and Forbidden where it would go to another team.
    """
    old = None if before is None else before.get("team")
    actor.require_team(old, what)
    if after is None:
        return None
    new = after.get("team")
    if new is None and actor.team is not None:
        new = actor.team if before is None else old
        return after if new is None else {**after, "team": new}
    if before is None:
        actor.require_team(new, what)
    elif new != old and actor.team is not None:
        raise Forbidden("admin", f"moving {what} from {_named(old)} to {_named(new)} is for who has no team, and it")
    elif new != old:
        actor.require("admin", f"moving {what} from {_named(old)} to {_named(new)}")
    return after


def _named(team: str | None) -> str:
    return "no team" if team is None else f"the team {team!r}"
