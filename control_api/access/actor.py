"""Actor: the caller of the control API, and the scopes and roles that say what a caller may do."""

from dataclasses import dataclass
from typing import Literal, get_args

from notifier.definition import check_name
from notifier.errors import FieldError, Forbidden, InputError, OtherProducer, OtherTeam

Scope = Literal[
    "read",  # see definitions, the history and schemas
    "write",  # change definitions
    "run",  # run configurations, redrive, backfill, dry runs
    "push",  # hand over messages
    "admin",  # scripts, tokens, accounts, the audit log, and everything above
]
SCOPES: tuple[Scope, ...] = get_args(Scope)

Role = Literal["viewer", "editor", "admin"]
ROLES: dict[Role, frozenset[Scope]] = {
    "viewer": frozenset({"read"}),
    "editor": frozenset({"read", "write", "run"}),
    "admin": frozenset(SCOPES),
}
MAX_ACTOR = 200  # characters of an actor's name: tables have room for no more


@dataclass(frozen=True)
class Actor:
    """A token, an account or the command line. `scopes` are as given; `admin` among them stands for all."""

    name: str  # for the audit log, for instance `token deploy`
    scopes: frozenset[Scope]
    team: str | None = None  # none: every team's definitions are the actor's to change
    strict: bool = False  # whether other teams' definitions are hidden from who has a team (`NOTIFIER_TEAMS=strict`)
    producer: str | None = None  # whose messages alone the actor hands over; none: those of every producer

    @property
    def sees_all(self) -> bool:
        """Whether nothing is hidden from the actor."""
        return not self.strict or self.team is None

    def sees(self, team: str | None) -> bool:
        """Whether what is of that team, or of none, is shown to the actor; the database's form is `access.teams`."""
        return self.sees_all or team in (None, self.team)

    def may_change(self, team: str | None) -> bool:
        """Whether a definition of that team, or of none, is the actor's to change, as far as teams are concerned."""
        return self.team is None or team in (None, self.team)

    def require_team(self, team: str | None, what: str) -> None:
        """Raises OtherTeam unless `may_change`. `what` begins the sentence: "the filter 'loud'"."""
        if self.team is not None and not self.may_change(team):
            raise OtherTeam(what, team, self.team)

    def require_own(self, team: str | None, what: str) -> None:
        """Raises OtherTeam unless a token or account of that team is the actor's to make or change.

        One of no team may do more than the actor, so it is not.
        """
        if self.team is not None and self.team != team:
            raise OtherTeam(what, team, self.team)

    def may(self, scope: Scope) -> bool:
        """Whether the scope is the actor's."""
        return scope in self.scopes or "admin" in self.scopes

    def require_producer(self, producer: str) -> None:
        """Raises OtherProducer unless messages of that producer are the actor's to hand over. Scopes are asked apart."""
        if self.producer not in (None, producer):
            assert self.producer is not None
            raise OtherProducer(producer, self.producer)

    def require(self, scope: Scope, what: str) -> None:
        """Raises Forbidden unless the scope is the actor's. `what` begins the sentence: "creating a script"."""
        if not self.may(scope):
            raise Forbidden(scope, what)


def check_team(actor: Actor, what: str, team: str | None) -> str | None:
    """The team of a token or account that an actor makes: the one given, or the actor's. Raises InputError and OtherTeam."""
    if team is None:
        return actor.team
    try:
        check_name("group", team)  # of the same form
    except InputError as error:
        raise InputError(FieldError("/team", error.errors[0].detail)) from None
    actor.require_own(team, what)
    return team


COMMAND_LINE = Actor("cli", frozenset(SCOPES))  # a person who can run `notifier` here can read the database anyway
