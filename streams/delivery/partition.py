"""Partition: the work of one partition of a deliveries topic, from a record read to its recorded end.

A step takes the head of a lane: it ends it (read before, accepted before, consumer deleted), parks it (not due, consumer
broken), lets it wait or has it tried. What follows from a try is left to `streams.delivery.conclusions`; of a batch that is
accepted the lane does not wait for it (`streams.delivery.leaving`).

What was changed since a delivery was routed counts (`streams.delivery.wanted`). The records are left to
`streams.delivery.endings`, the call itself to `streams.delivery.calling`, reading, the group and the commit to
`streams.delivery.worker`.
"""

import asyncio
import math
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from itertools import islice
from typing import Any

import msgspec
from aiokafka import ConsumerRecord, TopicPartition

from notifier.delivery import Delivery
from notifier.outcome import Reason
from notifier.plugin import Consumer
from notifier.record import kafka_time, now
from notifier.settings import Settings
from notifier.topics import DELIVERIES
from streams.delivery.breaker import Tried
from streams.delivery.calling import Calling, all_accepted, batch_of
from streams.delivery.conclusions import LONG_WAIT_S, Called, Conclusions
from streams.delivery.consumers import Consumers
from streams.delivery.endings import Endings
from streams.delivery.fallbacks import repeat_text
from streams.delivery.lanes import Lane, Lanes, Pending
from streams.delivery.leaving import Leaving
from streams.delivery.ledger import Ledger, PastTries
from streams.delivery.pacing import Permit
from streams.delivery.reading import is_critical, is_delayed, pending_of
from streams.delivery.recording import Recording, Try
from streams.delivery.standing import Standing
from streams.delivery.tickets import ticketing
from streams.delivery.wanted import BROKEN_WAIT_S, UNKNOWN_WAIT_S, Wanted

FULL_S = (
    1.0  # for which a partition is full before it is read on past what waits: a quick consumer makes room by itself
)
_ENDED_AT_ONCE = 200  # deliveries that need no call


class Partition:
    """The lanes and the ledger of a partition that this worker owns. `failed` is called with what makes going on impossible."""

    def __init__(
        self,
        topic_partition: TopicPartition,
        settings: Settings,
        recording: Recording,
        calling: Calling,
        consumers: Consumers,
        failed: Callable[[BaseException], None],
    ) -> None:
        self.topic_partition = topic_partition
        self.consumer: str = topic_partition.topic.removeprefix(settings.topic_prefix + DELIVERIES)
        self.lanes = Lanes(self._step, failed)
        self.ledger = Ledger(consumers.accepted)
        self.committed = -1  # offset, since the assignment
        self._endings = Endings(topic_partition, self.lanes, self.ledger, recording, consumers.fallbacks)
        self._conclusions = Conclusions(self.consumer, settings, self._endings, calling, consumers)
        self._leaving = Leaving(self.lanes, recording, failed)
        self._full_since = math.inf  # `time.monotonic()`
        self._settings = settings
        self._recording = recording
        self._calling = calling
        self._standings = consumers.standings
        self._changes = consumers.changes
        self._waits = consumers.waits
        self._holds = consumers.holds
        self._pacing = consumers.pacing
        self._wanted = Wanted(self.lanes, self._endings, consumers.review, settings.lane_wait_s)

    def take_in(self, records: Iterable[ConsumerRecord]) -> None:
        """Puts records into their lanes. Raises UnsupportedVersion."""
        self._full_since = math.inf
        overtakes = self._calling.overtakes(self.consumer)
        for record in records:
            pending = pending_of(record, self.consumer)
            lane = f"\0{record.offset}"  # of its own: what cannot be read delays nobody, what is delayed has no order
            if pending.delivery is not None and not is_delayed(pending.delivery):
                lane = pending.delivery.lane
                pending.critical = overtakes and is_critical(pending.delivery)
            # What is read on past what waits may have ended by the hundred thousand; not to be brought back one by one.
            past = self._past_tries(pending) if self.lanes.opened else None
            self.lanes.add(pending, lane, over=past is not None and past.settled)

    def take_back(self, record: ConsumerRecord, lane: str) -> None:
        """Puts a record that was read again into its lane."""
        self.lanes.bring(pending_of(record, self.consumer), lane)

    def resume(self) -> None:
        """Begins again, closed, after a rebalance that brought the partition back."""
        self.committed = -1
        self.lanes.revive()

    def follow(self, changed: frozenset[str]) -> None:
        """Has the lanes look at what a new catalog means for them. Who waits for a consumer that it changes waits no longer."""
        if self.consumer in changed:
            self.lanes.forget_waits()
        else:
            self.lanes.wake()

    def to_commit(self) -> int | None:
        """The offset to commit; None where that is committed already."""
        offset = self.lanes.committable
        return offset if offset is not None and offset > self.committed else None

    def commit_succeeded(self, offset: int) -> None:
        """Forgets what lies below a committed offset."""
        self.committed = offset
        self.lanes.committed(offset)
        self.ledger.committed(offset)

    def relieve(self) -> None:
        """Makes room in a full partition for those that can go on.

        Drops what waits at a service's pace, to be read again later. Parks what waits behind the head of lanes that stand still.
        """
        self._full_since = min(self._full_since, time.monotonic())
        if not self.lanes.opened or self.lanes.halted or self._holds.until(self.consumer):
            return
        has_lanes = self._calling.has_lanes(self.consumer)
        patient = has_lanes and (self._calling.credential(self.consumer) is not None or self.lanes.any_is_patient)
        if (patient or self._calling.overtakes(self.consumer)) and self._full_since < time.monotonic() - FULL_S:
            self.lanes.shed()
        if not has_lanes or not self.lanes.full:
            return
        if self._holds.went_on_s(self.consumer) < self._settings.lane_wait_s:
            return  # all of them stood still
        for lane in self.lanes.stalled(self._settings.lane_wait_s):
            waiting = self.lanes.take_behind_head(lane)
            self.lanes.begin(waiting)
            self.lanes.run(self._overtake(waiting))

    async def _overtake(self, waiting: Sequence[Pending]) -> None:
        held_s = self._holds.until(self.consumer) - time.monotonic()
        wait = timedelta(seconds=max(self._settings.lane_wait_s, BROKEN_WAIT_S, held_s))
        detail = "not tried: its lane stands still, and it may be overtaken"
        try:
            for pending in waiting:
                await self._endings.park_untried(pending, now() + wait, reason="timeout", detail=detail)
        finally:
            self.lanes.end(waiting)

    # --- one step of a lane ---

    async def _step(self, lane: Lane) -> None:
        head = lane.pending[0]
        if self._is_settled(head):
            self.lanes.finish(head)
            lane.pending.popleft()
            return
        if head.delivery is not None and self._leaving.has(lane, head.delivery.id):
            await self._leaving.wait(lane)  # then it is known whether it was accepted
            return
        if head.delivery is None or self._ends_untried(head.delivery):
            with self.lanes.working(lane, [head]):
                await self._end_untried(head)
            return
        standing = self._standings.of(self.consumer)
        if standing == "unknown":
            head.looks_at = time.monotonic() + UNKNOWN_WAIT_S
        elif standing == "usable" and await self._wanted.is_wanted(lane, head) and not await self._waits_on(lane, head):
            permit = await self._pacing.permit(lane, head, self._calling.instance(self.consumer))
            if permit is None:
                return
            async with permit, self._calling.turn(self.consumer, head.critical) as instance:
                # Since the wait for the turn the consumer, the partition or the head may be gone, or the head unwanted.
                if instance is None or self.lanes.halted or not lane.pending or lane.pending[0] is not head:
                    return
                if await self._wanted.is_wanted(lane, head) and self._holds.begin(self.consumer):
                    await self._try(lane, instance, permit)
        elif standing != "usable":
            front = self._front(lane, _ENDED_AT_ONCE, to_be_sent=False)
            with self.lanes.working(lane, front):
                await asyncio.gather(*(self._end_without_consumer(pending, standing) for pending in front))

    async def _waits_on(self, lane: Lane, head: Pending) -> bool:
        """Whether a head is not due yet: it is to be tried again later, was told to wait, or its consumer is held.

        Parks one that waits for days.
        """
        told, held = self._waits.until(self.consumer, head.address), self._holds.until(self.consumer)
        head.looks_at = max(head.due, told, held)
        lane.is_patient(max(told, held) > time.monotonic())
        wait_s = head.looks_at - time.monotonic()
        age_s = time.time() - (head.timestamp or 0) / 1000
        if wait_s > LONG_WAIT_S or (held and wait_s > 0 and age_s > LONG_WAIT_S):
            reason: Reason = self._holds.reason(self.consumer) if held else "rate_limited"
            why = "the consumer is paused" if held else "the service asked not to be called earlier"
            not_before = now() + timedelta(seconds=wait_s)
            with self.lanes.working(lane, [head]):
                await self._endings.park_untried(head, not_before, reason=reason, detail=f"not tried: {why}")
        return wait_s > 0

    def _is_settled(self, pending: Pending) -> bool:
        """Compares a record with the ledger, once: True where nothing is left to do, else its retries go on from there."""
        if not pending.fresh:
            return False
        past = self._past_tries(pending)
        pending.fresh = False
        if past is None:
            return False
        if past.settled:
            return True
        pending.attempt = max(pending.attempt, past.number + 1)
        pending.spared += past.spared
        if past.not_before is not None and not self._changes.since(self.consumer, past.at):
            pending.due = time.monotonic() + max(0.0, (past.not_before - now()).total_seconds())
            if past.told:
                self._conclusions.tell(pending, self._calling.instance(self.consumer), pending.due)
        return False

    def _past_tries(self, pending: Pending) -> PastTries | None:
        if pending.delivery is None or not self.ledger.knows_tries:
            return None
        return self.ledger.tries(pending.delivery.id, pending.offset, kafka_time(pending.timestamp) or now())

    def _ends_untried(self, delivery: Delivery) -> bool:
        """Whether a delivery ends without a look at its consumer: it was accepted before, or is delayed."""
        return delivery.id in self.ledger or is_delayed(delivery)

    async def _end_untried(self, pending: Pending) -> None:
        delivery = pending.delivery
        if delivery is None:
            await self._endings.end_unreadable(pending)
        elif delivery.id in self.ledger:
            repeat = Try(outcome="suppressed", reason="duplicate", number=pending.attempt, detail=repeat_text(delivery))
            await self._endings.end((pending, repeat))
        else:
            assert delivery.not_before is not None
            detail = "delayed: it is not to be delivered earlier"
            why = delivery.why or "delayed"
            await self._endings.park_untried(pending, delivery.not_before, reason="ok", detail=detail, why=why)

    async def _end_without_consumer(self, pending: Pending, standing: Standing) -> None:
        """Parks a delivery whose consumer is broken; gives one up whose consumer is disabled or deleted."""
        if standing == "broken":
            problem = self._standings.problem(self.consumer)
            detail = f"not tried: the consumer {self.consumer} cannot be used: {problem}"
            not_before = now() + timedelta(seconds=BROKEN_WAIT_S)
            await self._endings.park_untried(pending, not_before, reason="paused", detail=detail)
        elif standing == "disabled":
            await self._endings.give_up(pending, "disabled", f"the consumer {self.consumer} was paused for too long")
        else:
            await self._endings.give_up(pending, "consumer_deleted", f"the consumer {self.consumer} was deleted")

    def _front(self, lane: Lane, limit: int, *, to_be_sent: bool = True) -> list[Pending]:
        """The head and what may go together with it: due, each id once, none that ends untried or is not wanted.

        Not `to_be_sent`: whether it is wanted is not asked, as the head of a consumer that is gone is not.
        """
        head = lane.pending[0]
        if head.alone:
            limit = 1
        near = list(islice(lane.pending, limit))
        accepted = self.ledger.among([one.delivery.id for one in near[1:] if one.delivery is not None])
        at = time.monotonic()
        found: list[Pending] = []
        ids: set[str] = set()
        for pending in near:
            delivery = pending.delivery
            if pending is not head and (
                delivery is None
                or pending.alone
                or delivery.id in ids
                or (pending.fresh and self._past_tries(pending))
                or pending.due > at
                or delivery.id in accepted
                or self._leaving.has(lane, delivery.id)
                or is_delayed(delivery)
                or (to_be_sent and not self._wanted.is_wanted_with(head, pending))
            ):
                break
            assert delivery is not None
            pending.fresh = False
            ids.add(delivery.id)
            found.append(pending)
        return found

    # --- a try and what follows ---

    async def _try(self, lane: Lane, instance: Consumer[Any], permit: Permit) -> None:
        front = self._front(lane, self._holds.most(self.consumer, batch_of(instance)))
        deliveries = [
            delivery
            if delivery.attempt == pending.attempt
            else msgspec.structs.replace(delivery, attempt=pending.attempt)
            for pending in front
            if (delivery := pending.delivery) is not None
        ]
        with self.lanes.working(lane, front):
            started_at, began = now(), time.monotonic()
            for pending in front:
                pending.began = pending.began or began
            try:
                answer = await self._calling.call(instance, deliveries, permit, ticketing(self.topic_partition, front))
            except asyncio.CancelledError:
                self._holds.give_back(self.consumer)
                self._recording.start(self._conclusions.record_cut_off(front, started_at))
                raise
            called = Called(instance=instance, started_at=started_at, ended_at=now())
            if self._conclusions.is_current(instance, started_at):
                # What failed together was one try, perhaps of one odd delivery.
                asked = front[:1] if answer.failed_together else front
                self._holds.learn(self.consumer, began, self._tried(asked), answer.results)
            if answer.failed_together:
                for pending in front:
                    pending.alone = len(front) > 1
            ending = self._conclusions.conclude(lane, called, zip(front, answer.results, strict=True))
            if len(front) > 1 and all_accepted(answer.results):
                await self._leaving.let_go(lane, front, ending)
            else:
                await ending

    def _tried(self, pending: Sequence[Pending]) -> list[Tried]:
        fixed = not self._calling.has_lanes(self.consumer)
        return [Tried(one.delivery.id, None if fixed else one.address) for one in pending if one.delivery is not None]
