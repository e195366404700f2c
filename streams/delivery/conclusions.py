"""Conclusions: what follows from the results of a call, for one partition.

`streams.delivery.retry` decides, and only this module acts on the decision: a delivery is finished, waits in its lane, is parked,
goes to a fallback or becomes a dead letter. What is recorded of a call's deliveries is written together.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from notifier.plugin import Consumer, Result
from notifier.settings import Settings
from streams.delivery.calling import Calling
from streams.delivery.consumers import Consumers
from streams.delivery.endings import Endings
from streams.delivery.lanes import Lane, Pending
from streams.delivery.recording import Try
from streams.delivery.retry import Decision, decide

LONG_WAIT_S = 24 * 3600.0  # a longer wait is parked: a topic of deliveries keeps nothing for more than a week


@dataclass(frozen=True, kw_only=True, slots=True)
class Called:
    """A call that has ended, of deliveries of one lane."""

    instance: Consumer[Any]
    started_at: datetime
    ended_at: datetime


class Conclusions:
    """Concludes the tries of one partition of a consumer."""

    def __init__(
        self, consumer: str, settings: Settings, endings: Endings, calling: Calling, consumers: Consumers
    ) -> None:
        self._consumer = consumer
        self._settings = settings
        self._endings = endings
        self._calling = calling
        self._changes = consumers.changes
        self._holds = consumers.holds
        self._waits = consumers.waits
        self._pacing = consumers.pacing

    def is_current(self, instance: Consumer[Any], called_at: datetime) -> bool:
        """Whether a consumer is as it was when it was called; its instance stays where only the script that it runs changes."""
        changed = self._changes.seen_since(self._consumer, called_at)
        return not changed and self._calling.is_current(self._consumer, instance)

    def tell(self, pending: Pending, instance: Consumer[Any] | None, until: float) -> None:
        """Remembers a wait that the service asked for."""
        assert pending.delivery is not None
        self._waits.tell(self._consumer, pending.address, until)
        self._pacing.told(instance, pending.delivery, until)

    async def conclude(self, lane: Lane, called: Called, results: Iterable[tuple[Pending, Result]]) -> None:
        """Records the tries of one call and does what follows from each."""
        ended: list[tuple[Pending, Try]] = []
        again: list[tuple[Pending, Try]] = []
        work: list[Awaitable[None]] = []
        alike: dict[tuple[int, int, int], Try] = {}  # most of a batch have one result, and end alike
        for pending, result in results:
            kind = id(result), pending.attempt, pending.spared
            if kind in alike:
                ended.append((pending, alike[kind]))
                continue
            decision = self._decide(pending, called, result)
            tried = Try(
                outcome=decision.outcome,
                reason=decision.reason,
                number=pending.attempt,
                detail=decision.detail,
                started_at=called.started_at,
                ended_at=called.ended_at,
                spared=decision.spared > pending.spared,
            )
            if decision.wait_s is not None:
                tried, parks = self._wait(pending, called, decision, decision.wait_s, tried)
                if parks:
                    work.append(self._park(lane, pending, tried))
                else:
                    again.append((pending, tried))
            elif decision.dead is None:
                ended.append((pending, tried))
                alike[kind] = tried
            else:
                work.append(self._give_up(lane, pending, called, decision, tried))
        if ended:
            work.append(self._end(lane, ended))
        if again:
            work.append(self._endings.record(*again))
        if len(work) == 1:
            await work[0]
        else:
            await asyncio.gather(*work)

    async def record_cut_off(self, cut_off: Sequence[Pending], started_at: datetime) -> None:
        """Records the tries of a call whose end nobody knows."""
        detail = "cut off: its partition went to another worker, or this one stopped"
        tries = [
            Try(outcome="unknown", reason="timeout", number=pending.attempt, detail=detail, started_at=started_at)
            for pending in cut_off
        ]
        await self._endings.record(*zip(cut_off, tries, strict=True))

    def _decide(self, pending: Pending, called: Called, result: Result) -> Decision:
        policy = called.instance.policy
        decision = decide(
            result,
            attempt=pending.attempt,
            spared=pending.spared,
            schedule=self._settings.retry_schedule_s if policy.schedule_s is None else policy.schedule_s,
            chance=random.random(),  # noqa: S311 - spreads retries, keeps no secret
            unknown=policy.unknown or called.instance.unknown,
        )
        assert pending.delivery is not None
        return self._holds.spared(self._consumer, pending.delivery.id, pending.spared, result, decision)

    def _wait(
        self, pending: Pending, called: Called, decision: Decision, wait_s: float, tried: Try
    ) -> tuple[Try, bool]:
        """Has a delivery wait for its next try. Returns what is recorded, and whether it is parked meanwhile."""
        assert pending.began is not None
        waited_s = time.monotonic() - pending.began
        # Who answered may have been replaced meanwhile; its wait is not the new one's.
        wait_s = wait_s if self.is_current(called.instance, called.started_at) else 0.0
        if decision.held:
            wait_s = max(wait_s, self._holds.until(self._consumer) - time.monotonic())
        tried = replace(tried, not_before=called.ended_at + timedelta(seconds=wait_s))
        pending.attempt, pending.spared = pending.attempt + 1, decision.spared
        if decision.told and wait_s > 0:
            self.tell(pending, called.instance, time.monotonic() + wait_s)
        if (
            decision.held
            or (decision.told and wait_s <= LONG_WAIT_S)
            or waited_s + wait_s <= self._settings.lane_wait_s
        ):
            pending.due = 0.0 if decision.held else time.monotonic() + wait_s  # a hold may end at any moment
            pending.began = None if decision.held else pending.began  # nor does the lane wait for it that long
            return tried, False
        return tried, True

    async def _end(self, lane: Lane, ended: Sequence[tuple[Pending, Try]]) -> None:
        await self._endings.end(*ended)
        lane.moved = time.monotonic()

    async def _give_up(self, lane: Lane, pending: Pending, called: Called, decision: Decision, tried: Try) -> None:
        assert decision.dead is not None
        fallback = called.instance.policy.fallback if decision.falls_back else None
        await self._endings.give_up_tried(pending, tried, decision.dead, fallback)
        lane.moved = time.monotonic()

    async def _park(self, lane: Lane, pending: Pending, tried: Try) -> None:
        await self._endings.park(pending, tried, why="held" if tried.outcome == "held" else "retry")
        lane.moved = time.monotonic()
