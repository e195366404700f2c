"""Changes: when a consumer or a user was changed last. What waits for a consumer that was changed since need not wait any longer.

A wait is earned by what was called: an address with a credential. What follows from a change is done by
`streams.delivery.partition` and `streams.delivery.parking`.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime

from notifier.catalog import Catalog
from notifier.definition import definition_key
from notifier.record import now


class Changes:
    """The changes of all consumers by name. `written_at` maps the key of a definition to when it was published."""

    def __init__(self, written_at: Mapping[str, datetime]) -> None:
        self._catalog: Catalog | None = None
        self._written_at = written_at
        self._began = now()  # when the first catalog was taken
        self._seen: dict[str, datetime] = {}  # consumer → when this process saw it change last
        self._users: dict[str, datetime] = {}  # username → the same

    def follow(self, catalog: Catalog) -> frozenset[str]:
        """Takes a new catalog. Returns the consumers that it changes: their definition, or the script that they run.

        The first one changes nothing.
        """
        before, self._catalog = self._catalog, catalog
        if before is None:
            self._began = now()
            return frozenset()
        if before.consumers is catalog.consumers and before.scripts is catalog.scripts:
            return frozenset()
        names = before.consumers.keys() | catalog.consumers.keys()
        changed = frozenset([name for name in names if not _is_same(name, before, catalog)])
        self._seen.update(dict.fromkeys(changed, now()))
        return changed

    def follow_users(self, names: Iterable[str]) -> None:
        """Takes the names of users that were changed now."""
        self._users.update(dict.fromkeys(names, now()))

    def user_seen_since(self, username: str, at: datetime) -> bool:
        """Whether this process saw a user change after a moment."""
        seen_at = self._users.get(username)
        return seen_at is not None and seen_at > at

    def since(self, consumer: str, at: datetime) -> bool:
        """Whether a consumer was changed after a moment, as far as this process can know."""
        if consumer in self._seen:
            return self.seen_since(consumer, at)
        written_at = self._written_at.get(definition_key("consumer", consumer))
        # The clock of who published it may be ahead: what the first catalog holds was written before that.
        return written_at is not None and min(written_at, self._began) > at

    def seen_since(self, consumer: str, at: datetime) -> bool:
        """Whether this process saw a consumer change after a moment."""
        seen_at = self._seen.get(consumer)
        return seen_at is not None and seen_at > at


def _is_same(name: str, before: Catalog, after: Catalog) -> bool:
    old, new = before.consumers.get(name), after.consumers.get(name)
    if old is not new or new is None:
        return old is new
    script = getattr(new.parameters, "script", None)
    return not isinstance(script, str) or before.scripts.get(script) is after.scripts.get(script)
