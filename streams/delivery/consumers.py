"""Consumers: what a worker knows of each consumer besides its instance, by name, shared by all its partitions."""

from collections.abc import Mapping
from datetime import datetime

from notifier.catalog import Catalog
from streams.delivery.changes import Changes
from streams.delivery.standing import Standings
from streams.delivery.waits import Waits


class Consumers:
    """Whether consumers can be used, when they were changed, and whom they may not call yet."""

    def __init__(self, catalog: Catalog, written_at: Mapping[str, datetime]) -> None:
        self.standings = Standings(catalog)
        self.changes = Changes(written_at)
        self.waits = Waits()

    def follow(self, catalog: Catalog) -> frozenset[str]:
        """Takes a new catalog. Returns the consumers that it changes; what waits for them need wait no longer."""
        self.standings.follow(catalog)
        changed = self.changes.follow(catalog)
        for consumer in changed:
            self.waits.forget(consumer)
        return changed
