"""Repository: which one GitHub's JSON is about. Its id stays when it is renamed or moved, its name does not. No I/O."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from notifier.one_line import one_line
from producers.github.payload import text_at

_MAX_NAME = 300  # characters
_NAME_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.")


def is_name(text: str) -> bool:
    """Whether it may be the name of an owner or, without one, of a repository."""
    return bool(text.strip(".")) and _NAME_CHARACTERS.issuperset(text)


def is_repository_name(text: str) -> bool:
    """Whether it is owner/name."""
    parts = text.split("/")
    return len(parts) == 2 and all(map(is_name, parts))


@dataclass(frozen=True, kw_only=True, slots=True)
class Repository:
    """A repository as GitHub names it."""

    id: int | None
    name: str  # owner/name

    def is_same(self, other: "Repository") -> bool:
        """Whether it is the same one, by the ids where both are known, else by the names."""
        if self.id is not None and other.id is not None:
            return self.id == other.id
        return self.name.lower() == other.name.lower()


def repository_of(value: object) -> Repository | None:
    """The repository that a JSON object is; None where it has no name."""
    name = text_at(value, "full_name")
    if name is None or not isinstance(value, dict):
        return None
    id_ = value.get("id")
    return Repository(id=id_ if type(id_) is int else None, name=one_line(name, _MAX_NAME))


def repository_in(payload: Mapping[str, Any]) -> Repository | None:
    """The repository that a webhook is about; None where it names none."""
    return repository_of(payload.get("repository"))


def former_name(payload: Mapping[str, Any]) -> str | None:
    """The full name that a repository had before the event `repository` `renamed` or `transferred`; None for others."""
    name = text_at(payload, "repository", "full_name")
    owner, _, now = (name or "").partition("/")
    changes = payload.get("changes")
    renamed = text_at(changes, "repository", "name", "from")
    moved = text_at(changes, "owner", "from", "user", "login") or text_at(
        changes, "owner", "from", "organization", "login"
    )
    if not now or not (renamed or moved):
        return None
    return f"{moved or owner}/{renamed or now}"
