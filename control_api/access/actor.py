"""Actor: the caller of the control API, and the scopes and roles that say what a caller may do."""

from dataclasses import dataclass
from typing import Literal, get_args

from notifier.errors import Forbidden

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


@dataclass(frozen=True)
class Actor:
    """A token, an account or the command line. `scopes` are as given; `admin` among them stands for all."""

    name: str  # for the audit log, for instance `token deploy`
    scopes: frozenset[Scope]

    def may(self, scope: Scope) -> bool:
        """Whether the scope is the actor's."""
        return scope in self.scopes or "admin" in self.scopes

    def require(self, scope: Scope, what: str) -> None:
        """Raises Forbidden unless the scope is the actor's. `what` begins the sentence: "creating a script"."""
        if not self.may(scope):
            raise Forbidden(scope, what)


COMMAND_LINE = Actor("cli", frozenset(SCOPES))  # a person who can run `notifier` here can read the database anyway
