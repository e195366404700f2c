"""Endings: how a delivery leaves its lane, recorded first.

At least once: a delivery is finished here, and so committable, only when its last Attempt, and where there is one its dead
letter or its parked record, is acknowledged. Which ending it is, is decided in `streams.delivery.partition`.
"""

from dataclasses import replace
from datetime import datetime

import msgspec
from aiokafka import TopicPartition

from notifier.attempt import Origin
from notifier.dead_letter import Source
from notifier.delivery import Why
from notifier.errors import RecordTooLarge
from notifier.outcome import Reason
from streams.delivery.lanes import Lanes, Pending
from streams.delivery.ledger import Ledger
from streams.delivery.recording import Recording, Try
from streams.delivery.review import Ended


class Endings:
    """The endings of deliveries of one partition."""

    def __init__(self, topic_partition: TopicPartition, lanes: Lanes, ledger: Ledger, recording: Recording) -> None:
        self._topic_partition = topic_partition
        self._lanes = lanes
        self._ledger = ledger
        self._recording = recording

    async def end(self, pending: Pending, tried: Try) -> None:
        """Records the last attempt of a delivery, and finishes it."""
        assert pending.delivery is not None
        await self.record(pending, tried, settled=True)
        if tried.outcome == "accepted":
            self._ledger.accept(pending.delivery.id)
        self._lanes.finish(pending)

    async def end_unreadable(self, pending: Pending) -> None:
        """Makes a dead letter of a record that holds no delivery, and finishes it."""
        await self.bury(pending, reason="invalid", error=pending.error, attempts=0)
        self._lanes.finish(pending)

    async def give_up(self, pending: Pending, reason: Reason, error: str) -> None:
        """Makes a dead letter of a delivery that was not tried, and finishes it."""
        await self.bury(pending, reason=reason, error=error, attempts=pending.attempt - 1)
        await self.end(pending, Try(outcome="refused", reason=reason, number=pending.attempt, detail=error))

    async def stop(self, pending: Pending, ended: Ended) -> None:
        """Finishes a delivery that is not wanted any more."""
        if ended.dead:
            await self.give_up(pending, ended.reason, ended.detail)
        else:
            number = pending.attempt
            await self.end(pending, Try(outcome="suppressed", reason=ended.reason, number=number, detail=ended.detail))

    async def park(self, pending: Pending, tried: Try, *, why: Why = "retry") -> None:
        """Parks a delivery until `tried.not_before` and records it; from then on it may be overtaken."""
        assert pending.delivery is not None
        parked = msgspec.structs.replace(
            pending.delivery, attempt=pending.attempt, spared=pending.spared, not_before=tried.not_before, why=why
        )
        try:
            await self._recording.park(parked)
        except RecordTooLarge as error:
            await self.bury(pending, reason="too_large", error=str(error), attempts=pending.attempt - 1)
            tried = replace(tried, outcome="refused", not_before=None)
        await self.record(pending, tried, settled=True)
        self._lanes.finish(pending)

    async def park_untried(
        self, pending: Pending, not_before: datetime, *, reason: Reason, detail: str, why: Why = "retry"
    ) -> None:
        """Parks a delivery that was not tried."""
        tried = Try(outcome="deferred", reason=reason, number=pending.attempt, detail=detail, not_before=not_before)
        await self.park(pending, tried, why=why)

    async def record(self, pending: Pending, tried: Try, *, settled: bool = False) -> None:
        """Records an attempt. `settled`: nothing is left to do for its record, should it be read again."""
        assert pending.delivery is not None
        topic, number = self._topic_partition
        origin = Origin(topic=topic, partition=number, offset=pending.offset)
        await self._recording.attempt(pending.delivery, tried, origin, settled=settled)

    async def bury(self, pending: Pending, *, reason: Reason, error: str, attempts: int) -> None:
        """Makes a dead letter."""
        topic, number = self._topic_partition
        source = Source(topic, number, pending.offset, pending.timestamp, pending.key, pending.value)
        await self._recording.dead_letter(
            source, reason=reason, error=error, delivery=pending.delivery, attempts=attempts
        )
