"""Identity: who is who. Finds the user, or the group of users, that a name in some world belongs to."""

from collections.abc import Iterable
from dataclasses import dataclass

from notifier.folded import folded
from notifier.group import Group
from notifier.user import User


@dataclass(frozen=True)
class Ambiguous:
    """More than one user or group has the name."""

    usernames: tuple[str, ...]  # of a group: what refers to it


class Directory:
    """All users and groups by (world, name), in whatever case and Unicode form (`notifier.folded`).

    Immutable; a world's index is built when it is first asked for.
    """

    def __init__(self, users: Iterable[User], groups: Iterable[Group] = ()) -> None:
        self.users = {user.username: user for user in users}
        self.groups = tuple(groups)
        self._worlds: dict[str, dict[str, User | Group | Ambiguous]] = {}

    def world(self, world: str) -> dict[str, User | Group | Ambiguous]:
        """Who has each name in a world, by folded name; Ambiguous for a name of two or more. Must not be changed."""
        names = self._worlds.get(world)
        if names is None:
            found: dict[str, dict[str, User | Group]] = {}
            for user in self.users.values():
                for name in user.names_in(world):
                    found.setdefault(folded(name), {})[user.username] = user
            for group in self.groups:
                for name in group.names_in(world):
                    found.setdefault(folded(name), {})[group.reference] = group
            names = self._worlds[world] = {
                name: next(iter(those.values())) if len(those) == 1 else Ambiguous(tuple(sorted(those)))
                for name, those in found.items()
            }
        return names
