"""Endings: how a delivery leaves its lane, recorded first.

At least once: a delivery is finished here, and so committable, only when its last Attempt, and where there is one its dead
letter or its parked record, is acknowledged. Which ending it is, is decided in `streams.delivery.partition` and `conclusions`.
"""

import asyncio
from dataclasses import replace
from datetime import datetime

import msgspec
from aiokafka import TopicPartition

from notifier.attempt import Origin
from notifier.dead_letter import Source
from notifier.delivery import SEND_TEST, Delivery, Why
from notifier.errors import RecordTooLarge
from notifier.outcome import Reason
from notifier.record import kafka_time, now
from streams.delivery.fallbacks import Fallbacks, Unreached
from streams.delivery.lanes import Lanes, Pending
from streams.delivery.ledger import Ledger
from streams.delivery.recording import Note, Recording, Try
from streams.delivery.review import Ended

_LOOK_S = 10.0  # until it is asked again whether a consumer that is written to is defined still


class Endings:
    """The endings of deliveries of one partition."""

    def __init__(
        self,
        topic_partition: TopicPartition,
        lanes: Lanes,
        ledger: Ledger,
        recording: Recording,
        fallbacks: Fallbacks,
    ) -> None:
        self._topic_partition = topic_partition
        self._lanes = lanes
        self._ledger = ledger
        self._recording = recording
        self._fallbacks = fallbacks

    async def end(self, *ended: tuple[Pending, Try]) -> None:
        """Records the last attempt of each delivery, all together, and finishes them."""
        await self.record(*ended, settled=True)
        for pending, tried in ended:
            if tried.outcome == "accepted" and pending.delivery is not None:
                self._ledger.accept(pending.delivery.id)
            self._lanes.finish(pending)

    async def end_unreadable(self, pending: Pending) -> None:
        """Makes a dead letter of a record that holds no delivery, and finishes it."""
        await self.bury(pending, reason="invalid", error=pending.error, attempts=0)
        self._lanes.finish(pending)

    async def give_up(self, pending: Pending, reason: Reason, error: str) -> None:
        """Makes a dead letter of a delivery that was not tried, and finishes it."""
        if not _is_a_test(pending):
            await self.bury(pending, reason=reason, error=error, attempts=pending.attempt - 1)
        await self.end((pending, Try(outcome="refused", reason=reason, number=pending.attempt, detail=error)))

    async def stop(self, pending: Pending, ended: Ended) -> None:
        """Finishes a delivery that is not wanted any more."""
        if ended.dead:
            await self.give_up(pending, ended.reason, ended.detail)
        else:
            number = pending.attempt
            await self.end(
                (pending, Try(outcome="suppressed", reason=ended.reason, number=number, detail=ended.detail))
            )

    async def give_up_tried(self, pending: Pending, tried: Try, dead: Reason, fallback: str | None) -> None:
        """Finishes a delivery after its last try: the fallback gets it, or else it becomes a dead letter.

        Nobody else gets the test of a consumer, and nobody is to send one again.
        """
        delivery = pending.delivery
        assert delivery is not None
        if _is_a_test(pending):
            await self.end((pending, tried))
            return
        error = tried.detail or tried.reason
        if fallback is not None:
            why = await self._hand_over(pending, tried, fallback)
            if why is None:
                return
            error = f"{error}; its fallback {fallback} does not get it: {why}"
        if delivery.given_up_by:
            error = f"{error}; before that it was given up by {', '.join(delivery.given_up_by)}"
        await self.bury(pending, reason=dead, error=error, attempts=pending.attempt)
        await self.end((pending, replace(tried, detail=tried.detail if error == tried.reason else error)))

    async def _hand_over(self, pending: Pending, tried: Try, fallback: str) -> str | None:
        """Gives a delivery to a fallback, and only then finishes it here. Answers why that is not possible.

        After a crash in between the same is written again, under the same ids.
        """
        assert pending.delivery is not None
        routed_at = pending.delivery.routed_at or kafka_time(pending.timestamp)
        delivery = msgspec.structs.replace(pending.delivery, routed_at=routed_at)
        if delivery.expires_at is not None and delivery.expires_at <= now():
            return "it has expired"
        handover = self._fallbacks.handover(delivery, fallback)
        unreached = list(handover.unreached)
        for one in handover.made:
            text = await self._deliver(one)
            if text is not None:
                unreached.append(Unreached(delivery=one, text=text))
        if len(unreached) == len(handover.made) + len(handover.unreached):
            return handover.text or "; ".join([one.text for one in unreached])
        for lacking in unreached:
            suppressed = Try(outcome="suppressed", reason="no_address", number=1, detail=lacking.text)
            await self._recording.attempts(
                [Note(lacking.delivery, suppressed, None)]
            )  # the record is another delivery's
        detail = "; ".join(filter(None, [tried.detail, f"{fallback} gets it, as the fallback"]))
        await self.end((pending, replace(tried, detail=detail)))
        return None

    async def _deliver(self, delivery: Delivery) -> str | None:
        """Writes a delivery, however long that takes, to a consumer that may be deleted. Answers why it is not written."""
        while self._fallbacks.can_take(delivery.consumer):
            try:
                async with asyncio.timeout(_LOOK_S):
                    await self._recording.deliver(delivery)
                return None
            except RecordTooLarge as error:
                return str(error)
            except TimeoutError:
                continue
        return f"the consumer {delivery.consumer} was deleted"

    async def park(self, pending: Pending, tried: Try, *, why: Why = "retry") -> None:
        """Parks a delivery until `tried.not_before` and records it; from then on it may be overtaken."""
        assert pending.delivery is not None
        parked = msgspec.structs.replace(
            pending.delivery,
            attempt=pending.attempt,
            spared=pending.spared,
            not_before=tried.not_before,
            why=why,
            routed_at=pending.delivery.routed_at or kafka_time(pending.timestamp),
        )
        try:
            await self._recording.park(parked)
        except RecordTooLarge as error:
            await self.bury(pending, reason="too_large", error=str(error), attempts=pending.attempt - 1)
            tried = replace(tried, outcome="refused", not_before=None)
        await self.record((pending, tried), settled=True)
        self._lanes.finish(pending)

    async def park_untried(
        self, pending: Pending, not_before: datetime, *, reason: Reason, detail: str, why: Why = "retry"
    ) -> None:
        """Parks a delivery that was not tried."""
        tried = Try(outcome="deferred", reason=reason, number=pending.attempt, detail=detail, not_before=not_before)
        await self.park(pending, tried, why=why)

    async def record(self, *attempts: tuple[Pending, Try], settled: bool = False) -> None:
        """Records attempts, all together. `settled`: nothing is left to do for their records, should they be read again."""
        topic, number = self._topic_partition
        notes = [
            Note(pending.delivery, tried, Origin(topic=topic, partition=number, offset=pending.offset), settled)
            for pending, tried in attempts
            if pending.delivery is not None
        ]
        await self._recording.attempts(notes)

    async def bury(self, pending: Pending, *, reason: Reason, error: str, attempts: int) -> None:
        """Makes a dead letter."""
        topic, number = self._topic_partition
        source = Source(topic, number, pending.offset, pending.timestamp, pending.key, pending.value)
        await self._recording.dead_letter(
            source, reason=reason, error=error, delivery=pending.delivery, attempts=attempts
        )


def _is_a_test(pending: Pending) -> bool:
    return pending.delivery is not None and pending.delivery.configuration == SEND_TEST
