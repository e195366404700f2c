"""User: a person, with working hours and a name in each world."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from notifier.language import USUAL_LANGUAGE, Language
from notifier.working_time import WorkingTime

DEFAULT_WORLD = "default"  # of `push`, `script` and every plugin type without a world of its own


@dataclass(frozen=True, kw_only=True)
class User:
    """A person. `additional_info` maps a world to an object, or a list of objects, with that world's `username`, `id`, …

    `{"github": {"username": "octocat"}, "telegram": {"username": "alice", "id": 123}}`
    """

    username: str
    on_leave: bool = False
    working_time: WorkingTime | None = None  # none: always working
    language: Language = USUAL_LANGUAGE  # of the words around what a message says
    additional_info: Mapping[str, Any] = field(default_factory=dict, hash=False)
    muted_until: datetime | None = None  # until then nothing is sent to the person's own addresses
    muted: Mapping[str, datetime] = field(
        default_factory=dict, hash=False
    )  # the same of single configurations, by name

    def works_at(self, at: datetime) -> bool:
        """Whether the person works at a moment: not on leave, and within the working time."""
        return not self.on_leave and (self.working_time is None or self.working_time.contains(at))

    def muted_at(self, at: datetime, configuration: str) -> datetime | None:
        """Until when the person wants to hear nothing of a configuration; None where that is not so at the moment `at`."""
        ends = [end for end in (self.muted_until, self.muted.get(configuration)) if end is not None and end > at]
        return max(ends, default=None)

    def identities(self, world: str) -> Iterator[Mapping[str, Any]]:
        """The objects of a world, in the order given."""
        return _identities(self.additional_info, world)

    def names_in(self, world: str) -> list[str]:
        """Every name that a producer of the world may call the person by: usernames and ids, as text."""
        names = names_of(self.additional_info, world)
        if not names and world == DEFAULT_WORLD:
            return [self.username]
        return names

    def name_in(self, world: str) -> str | None:
        """The name by which a consumer of the world reaches the person: the first one there, or None."""
        names = self.names_in(world)
        return names[0] if names else None

    def username_in(self, world: str) -> str | None:
        """The name by which people of the world know the person: the first `username` there, or None. An `id` is none."""
        names = [str(identity["username"]) for identity in self.identities(world) if _is_name(identity.get("username"))]
        if not names and world == DEFAULT_WORLD:
            return self.username
        return names[0] if names else None


def names_of(info: Mapping[str, Any], world: str) -> list[str]:
    """Every name in a world: usernames and ids, as text."""
    return [
        str(identity[part])
        for identity in _identities(info, world)
        for part in ("username", "id")
        if _is_name(identity.get(part))
    ]


def _identities(info: Mapping[str, Any], world: str) -> Iterator[Mapping[str, Any]]:
    found = info.get(world)
    for identity in found if isinstance(found, list) else [found]:
        if isinstance(identity, dict):
            yield identity


def _is_name(value: object) -> bool:
    # True is an int to Python; a list or an object is nobody's name.
    return (isinstance(value, str) and value != "") or (isinstance(value, int) and not isinstance(value, bool))
