"""Pauses: what is on record of paused consumers, on `status` and in the log, and what follows from it in this worker.

A pause is one pause for all workers. Whoever finds it, or that it is over, writes so; the others hear it by the board
(`streams.delivery.board`). What is to happen once is done by the owner of partition 0 of the consumer's topic, and what it has
done is on the record: it puts there what people want, tells the operators (`streams.delivery.notices`), and disables a consumer
that was paused for too long.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable
from datetime import timedelta

from msgspec.structs import replace

from notifier.record import now, rfc3339
from notifier.seldom import Seldom
from notifier.settings import Settings
from notifier.status import CONSUMER, PAUSE, Status
from notifier.topics import STATUS
from streams.delivery.board import Board
from streams.delivery.consumers import Consumers
from streams.delivery.holds import Held
from streams.delivery.notices import Notices
from streams.writer import Writer

logger = logging.getLogger(__name__)
_seldom = Seldom(logger)

GAP = timedelta(minutes=10)  # between two pauses of one consumer that the operators are told of
OVERDUE = timedelta(minutes=10)  # a try that did not come for so long: there was nothing to send, or no worker
EVERY_S = 0.5
_LEAD_S = 15.0  # for one consumer
_FINISH_S = 5.0
_MAX_DETAIL = 2000  # characters


class Pauses:
    """Reports beside the deliveries, which do not wait for it. `goes_on` is called with a consumer whose lanes may go on."""

    def __init__(
        self, settings: Settings, writer: Writer, board: Board, notices: Notices, goes_on: Callable[[str], None]
    ) -> None:
        self._after = None if (days := settings.disable_paused_after_days) is None else timedelta(days=days)
        self._writer = writer
        self._board = board
        self._notices = notices
        self._goes_on = goes_on
        self._writes: set[asyncio.Task[None]] = set()
        self._lock = asyncio.Lock()  # the reports of a consumer keep their order

    # --- what this worker finds ---

    def begin(self, consumer: str, held: Held) -> None:
        """A consumer is held, or held on."""
        at = now()
        not_before = at + timedelta(seconds=held.wait_s)
        if self._is_paused_by_hand(consumer):
            return  # what a person wants is on record
        before = self._board.said.get(consumer)
        if before is not None and before.state == "disabled":
            return  # the try was under way when it was
        goes_on = before is not None and before.state == "paused" and before.reason != "paused"
        if not goes_on:
            logger.warning(
                "The consumer %s is paused, and its deliveries wait: %s (%s). It is tried again at %s, or once it is changed.",
                consumer,
                why_of(held.reason),
                held.said,
                rfc3339(not_before),
                extra={"action": "pause", "consumer": consumer},
            )
        status = Status(
            kind=CONSUMER,
            name=consumer,
            state="paused",
            reason=held.reason,
            at=at,
            detail=held.said[:_MAX_DETAIL],
            not_before=not_before,
            since=(before.since or at) if before is not None and goes_on else at,
            step=held.step,
            told=before.told if before is not None and goes_on else None,
            told_at=None if before is None else before.told_at,
        )
        self._put(consumer, status)

    def end(self, consumer: str) -> None:
        """A consumer is not held any more."""
        said = self._board.said.get(consumer)
        if said is not None and said.state != "resumed" and not self._is_paused_by_hand(consumer):
            self._put(consumer, replace(said, state="resumed", at=now(), not_before=None, step=0))
        self._let_go_on(consumer)

    # --- what the board says ---

    def hear(self, consumer: str, consumers: Consumers) -> None:
        """Does in this worker what is on record of a consumer."""
        said, holds = self._board.said.get(consumer), consumers.holds
        goes_on = holds.take_by_hand(consumer, paused=self._is_paused_by_hand(consumer))
        if said is not None and said.state == "disabled":
            holds.disabled.add(consumer)
            self._goes_on(consumer)  # to be given up
        elif said is not None and said.state == "paused":
            if said.reason is not None and said.reason != "paused":
                wait_s = 0.0 if said.not_before is None else (said.not_before - now()).total_seconds()
                holds.adopt(consumer, said.reason, said.step, wait_s)
        else:
            goes_on = holds.end(consumer) or goes_on
        if goes_on:
            self._let_go_on(consumer)

    def hear_all(self, consumers: Consumers) -> None:
        """Does what was on record when the board was loaded. A consumer that was changed since is not held."""
        for consumer, said in list(self._board.said.items()):
            if said.state != "resumed" and said.reason != "paused" and consumers.changes.since(consumer, said.at):
                self._put(consumer, replace(said, state="resumed", at=now(), not_before=None))
        for consumer in self._board.said.keys() | self._board.wanted.keys():
            self.hear(consumer, consumers)

    # --- what happens once ---

    async def run(self, consumers: Consumers, led: Callable[[], Iterable[str]]) -> None:
        """Does what is to happen once, until it is cancelled. `led` says of which consumers this worker does it."""
        while True:
            for consumer in self._board.said.keys() | self._board.wanted.keys():
                if consumers.standings.of(consumer) == "deleted":
                    await self._drop(consumer)
            for consumer in list(led()):
                try:
                    async with asyncio.timeout(_LEAD_S):
                        await self._lead(consumer)
                except TimeoutError:  # of another consumer there may be more to do
                    logger.warning(
                        "What is to be said of the paused consumer %s cannot be written now; trying again.",
                        consumer,
                        extra={"action": "pause", "consumer": consumer},
                    )
            await asyncio.sleep(EVERY_S)

    async def _drop(self, consumer: str) -> None:
        if consumer in self._board.said:
            await self._record(consumer, None)
        if self._board.wanted.pop(consumer, None) is not None:
            await self._writer.write(STATUS.name, f"{PAUSE}/{consumer}", None)

    async def _lead(self, consumer: str) -> None:
        said, wanted = self._board.said.get(consumer), self._board.wanted.get(consumer)
        if wanted is not None and wanted.state == "paused":
            asked = _on_record(wanted, said)
            if asked is not said:
                await self._record(consumer, asked)
            said = asked
        elif said is not None and said.state == "paused" and said.reason == "paused":
            said = replace(said, state="resumed", at=now())  # it was written just as somebody had it go on
            await self._record(consumer, said)
        if said is None:
            return
        if consumer in self._board.over:
            await self._record(consumer, said)
        changed = self._disabled(said)
        if changed is not said:
            await self._record(consumer, changed)
        await self._tell(consumer, changed)

    def _disabled(self, said: Status) -> Status:
        """The same status, or that the consumer is disabled, where it was paused for too long.

        One that was not tried of late may be mended: the next try says.
        """
        if self._after is None or said.state != "paused" or said.since is None or now() - said.since < self._after:
            return said
        if said.reason != "paused" and said.not_before is not None and now() - said.not_before > OVERDUE:
            return said
        logger.warning(
            "The consumer %s was paused for %s days and is disabled: its deliveries become dead letters.",
            said.name,
            self._after.days,
            extra={"action": "disable", "consumer": said.name},
        )
        return replace(said, state="disabled", at=now(), not_before=None)

    async def _tell(self, consumer: str, said: Status) -> None:
        """Tells the operators once of a pause, that the consumer is disabled, and that it is back where they knew of it."""
        recently = said.told_at is not None and timedelta() <= now() - said.told_at < GAP
        if said.state == "resumed" and said.told is None:
            if not recently:
                await self._record(consumer, None)
            return
        if said.told == said.state or (said.state == "paused" and (said.told is not None or recently)):
            return
        if not await self._notices.tell(said):
            if said.state == "resumed":  # there is nobody to be told any more
                await self._record(consumer, replace(said, told=None))
            return
        told = None if said.state == "resumed" else said.state
        newest = self._board.said.get(consumer)
        if newest is not None and newest.state == said.state:
            await self._record(consumer, replace(newest, told=told, told_at=now()))

    def _is_paused_by_hand(self, consumer: str) -> bool:
        wanted = self._board.wanted.get(consumer)
        return wanted is not None and wanted.state == "paused"

    # --- writing ---

    async def finish(self) -> None:
        """Waits for what is being written, as long as a broker that is there takes; the next try finds again what is not."""
        if self._writes:
            await asyncio.wait(self._writes, timeout=_FINISH_S)
        for task in list(self._writes):
            task.cancel()

    def _let_go_on(self, consumer: str) -> None:
        extra = {"action": "resume", "consumer": consumer}
        _seldom.log(logging.INFO, "The consumer %s goes on.", consumer, extra=extra)
        self._goes_on(consumer)

    def _put(self, consumer: str, status: Status) -> None:
        """Puts a status on record, in the background."""
        task = asyncio.create_task(self._write(consumer, self._board.put(consumer, status)))
        self._writes.add(task)
        task.add_done_callback(self._writes.discard)

    async def _record(self, consumer: str, status: Status | None) -> None:
        """Puts a status on record; None: that there is none."""
        await self._write(consumer, self._board.put(consumer, status))

    async def _write(self, consumer: str, value: bytes | None) -> None:
        try:
            async with self._lock:
                await self._writer.write(STATUS.name, f"{CONSUMER}/{consumer}", value)
        except BaseException:
            self._board.give_up(consumer, value)
            raise


def _on_record(wanted: Status, said: Status | None) -> Status:
    """The status of a consumer that a person paused; `said` where it says so already."""
    since = wanted.since or wanted.at
    goes_on = said is not None and said.state != "resumed"
    if said is not None and (said.state == "disabled" or (goes_on and (said.reason, said.since) == ("paused", since))):
        return said
    told_at = None if said is None else said.told_at
    told = said.told if said is not None and goes_on else None  # they know that it is paused
    return replace(wanted, kind=CONSUMER, reason="paused", since=since, told=told, told_at=told_at)


def why_of(reason: str | None) -> str:
    """Why a consumer is paused, as part of a sentence."""
    if reason == "unauthorized":
        return "its credential was refused"
    return "it was paused by hand" if reason == "paused" else "its service seems to be down"
