"""Group: users who are told together, with a name in each world; how a group is named where a user may be, too."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from notifier.user import names_of

PREFIX = "group:"  # in front of a group's name where users are named; no username has a colon


@dataclass(frozen=True, kw_only=True)
class Group:
    """Users who are told together. `additional_info` names the group in each world, as that of a `User` names the person.

    `{"github": {"username": "my-org/ops-team"}}`: whom GitHub tells as that team is the group.
    """

    name: str
    members: tuple[str, ...] = ()  # usernames
    additional_info: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @property
    def reference(self) -> str:
        """What stands for the group where users are named."""
        return PREFIX + self.name

    def names_in(self, world: str) -> list[str]:
        """Every name that a producer of the world may call the group by."""
        return [self.reference, *names_of(self.additional_info, world)]


def group_named(text: str) -> str | None:
    """The name of the group that a text refers to; None: it refers to none."""
    return text.removeprefix(PREFIX) if text.startswith(PREFIX) else None
