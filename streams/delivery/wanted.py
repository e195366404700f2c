"""Wanted: whether the head of a lane, and what goes with it, is to be delivered still, by `streams.delivery.review`.

Ends a head that is not, corrects one whose receiver was changed, and lets one wait whose configuration may be on its way. A
configuration that cannot be read stops nobody else: what it routed is parked after as long as a lane waits for its head.
"""

import time
from datetime import timedelta

from notifier.delivery import Delivery
from notifier.record import now
from streams.delivery.endings import Endings
from streams.delivery.lanes import Lane, Lanes, Pending
from streams.delivery.review import SURE_AFTER_S, Ended, Review

BROKEN_WAIT_S = 5.0  # until a delivery of what is broken, a consumer or a configuration, is looked at again
REVIEW_AFTER_S = 3.0  # of a delivery; before that the router may have known newer definitions than are known here
UNKNOWN_WAIT_S = 0.2  # the same, of a consumer or a configuration whose definition may be on its way


class Wanted:
    """Judges the deliveries of one partition."""

    def __init__(self, lanes: Lanes, endings: Endings, review: Review, lane_wait_s: float) -> None:
        self._lanes = lanes
        self._endings = endings
        self._review = review
        self._broken_after_s = max(lane_wait_s, SURE_AFTER_S)

    async def is_wanted(self, lane: Lane, head: Pending) -> bool:
        """Whether a head is to be delivered now. What follows where it is not, is done."""
        assert head.delivery is not None
        found = self._reviewed(head)
        if isinstance(found, Delivery):
            if found.address != head.delivery.address:
                head.due = 0.0  # the wait was the other address's
            head.delivery = found
            return True
        if found is None and self._review.broken_s(head.delivery.configuration) < self._broken_after_s:
            head.looks_at = time.monotonic() + UNKNOWN_WAIT_S
            return False
        with self._lanes.working(lane, [head]):
            if found is None:
                await self._park(head, head.delivery.configuration)
            else:
                await self._endings.stop(head, found)
        return False

    def is_wanted_with(self, head: Pending, pending: Pending) -> bool:
        """Whether a delivery behind a head is to be delivered still, to the same address; corrects it then."""
        found = self._reviewed(pending)
        if not isinstance(found, Delivery) or head.delivery is None or found.address != head.delivery.address:
            return False
        pending.delivery = found
        return True

    def _reviewed(self, pending: Pending) -> Delivery | Ended | None:
        delivery = pending.delivery
        assert delivery is not None
        waited = pending.attempt > 1 or delivery.redriven_at is not None
        waited = waited or (pending.timestamp or 0) < (time.time() - REVIEW_AFTER_S) * 1000
        return self._review.of(delivery, waited=waited, timestamp_ms=pending.timestamp)

    async def _park(self, head: Pending, configuration: str) -> None:
        problem = self._review.problem(configuration)
        detail = f"not tried: the configuration {configuration} cannot be used: {problem}"
        not_before = now() + timedelta(seconds=BROKEN_WAIT_S)
        await self._endings.park_untried(head, not_before, reason="paused", detail=detail)
