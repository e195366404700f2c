"""Identity: who is who. Finds the user that a name in some world belongs to."""

from collections.abc import Iterable
from dataclasses import dataclass

from notifier.folded import folded
from notifier.user import User


@dataclass(frozen=True)
class Ambiguous:
    """More than one user has the name."""

    usernames: tuple[str, ...]


class Directory:
    """All users by (world, name), in whatever case and Unicode form (`notifier.folded`).

    Immutable; a world's index is built when it is first asked for.
    """

    def __init__(self, users: Iterable[User]) -> None:
        self.users = {user.username: user for user in users}
        self._worlds: dict[str, dict[str, User | Ambiguous]] = {}

    def world(self, world: str) -> dict[str, User | Ambiguous]:
        """The user of each name in a world, by folded name; Ambiguous for a name of two or more. Must not be changed."""
        names = self._worlds.get(world)
        if names is None:
            found: dict[str, dict[str, User]] = {}
            for user in self.users.values():
                for name in user.names_in(world):
                    found.setdefault(folded(name), {})[user.username] = user
            names = self._worlds[world] = {
                name: next(iter(users.values())) if len(users) == 1 else Ambiguous(tuple(sorted(users)))
                for name, users in found.items()
            }
        return names
