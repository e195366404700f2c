"""Told: which pull requests were told, and as what, so that a run tells those that changed. No I/O.

The cursor is `{"told": {"<repository>": {"<number>": "<mark>"}}}`: the repository by its id in an organization, where its name
may change, and empty where there is one; the mark is a short hash of what people may want to hear of.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from notifier import JsonObject
from producers.github.pull_request import PullRequest
from producers.github.repository import Repository

_MARK_BYTES = 6


class Told:
    """What a run knows of those before, and keeps for the next one.

    `wanted` are the parameters that decide who is told: with others everything is told once more.
    """

    def __init__(self, cursor: Mapping[str, Any] | None, wanted: Sequence[object]) -> None:
        told = cursor.get("told") if cursor is not None else None
        self._before: Mapping[str, Any] = told if isinstance(told, dict) else {}
        self._wanted = repr(wanted)
        self._now: dict[str, dict[str, str]] = {}

    def is_new(self, repository: Repository | None, pull: PullRequest) -> bool:
        """Whether a pull request is to be told; it counts as told from now on."""
        key, number, mark = _key(repository), str(pull.number), self._mark(pull)
        self._now.setdefault(key, {})[number] = mark
        before = self._before.get(key)
        return not isinstance(before, dict) or before.get(number) != mark

    def could_not_read(self, repository: Repository) -> None:
        """The pull requests of a repository are not known now: what was told of them stays told."""
        before = self._before.get(_key(repository))
        if isinstance(before, dict):
            self._now[_key(repository)] = before

    def state(self) -> JsonObject:
        """The cursor for the next run. Pull requests that are not open any more are left out."""
        return {"told": self._now}

    def _mark(self, pull: PullRequest) -> str:
        # Without the link, which has another name once the repository has.
        text = self._wanted + repr(replace(pull, html_url=None, author=None))
        return hashlib.blake2s(text.encode(errors="replace"), digest_size=_MARK_BYTES).hexdigest()


def _key(repository: Repository | None) -> str:
    if repository is None:
        return ""
    return repository.name.lower() if repository.id is None else str(repository.id)
