"""Consumers: what a worker knows of consumers besides their instances, and of what is sent to them; its partitions share it."""

from collections.abc import Mapping
from datetime import datetime

from notifier.catalog import Catalog
from streams.delivery.changes import Changes
from streams.delivery.fallbacks import Fallbacks
from streams.delivery.holds import Holds
from streams.delivery.ledger import Accepted
from streams.delivery.pacing import Pacing
from streams.delivery.review import Review
from streams.delivery.standing import Standings
from streams.delivery.waits import Waits


class Consumers:
    """Whether consumers can be used, when they were changed, whom they may not call yet, what they got and are to get still."""

    def __init__(
        self, catalog: Catalog, written_at: Mapping[str, datetime], holds: Holds, accepted: Accepted | None = None
    ) -> None:
        self.standings = Standings(catalog, holds.disabled)
        self.changes = Changes(written_at)
        self.waits = Waits()
        self.holds = holds
        self.pacing = Pacing()
        self.review = Review(catalog)
        self.accepted = accepted or Accepted()
        self.fallbacks = Fallbacks(catalog)

    def follow(self, catalog: Catalog) -> tuple[frozenset[str], frozenset[str]]:
        """Takes a new catalog. Returns the consumers that it changes, for which nothing need wait any longer, and the users."""
        self.standings.follow(catalog)
        changed = self.changes.follow(catalog)
        for consumer in changed:
            self.waits.forget(consumer)
            self.holds.forget(consumer)
        self.pacing.follow(catalog, changed)
        users = self.review.follow(catalog)
        self.fallbacks.follow(catalog)
        self.changes.follow_users(users)
        return changed, users
