"""Recording: what delivery writes down about deliveries, on `attempts`, `dead_letters` and `parked`.

Attempts are by far the most. Those of all lanes go out together, in record batches (`streams.outputs`).

When which of them is written is decided in `streams.delivery.partition` and `conclusions`. `streams.delivery.releasing` writes
its own records in transactions.
"""

import asyncio
import logging
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import NamedTuple
from urllib.parse import unquote

from notifier.attempt import Attempt, Origin
from notifier.dead_letter import DeadLetter, Source
from notifier.delivery import Delivery
from notifier.grapheme import shortened
from notifier.outcome import Outcome, Reason
from notifier.record import now
from notifier.seldom import Seldom
from notifier.topics import ATTEMPTS, DEAD_LETTERS, DELIVERIES, PARKED
from streams.delivery.ledger import SETTLED, SPARED
from streams.outputs.outputs import Outputs
from streams.outputs.records import Headers
from streams.writer import Writer

logger = logging.getLogger(__name__)
_seldom = Seldom(logger)

MAX_DETAIL = 2000  # characters of an attempt's detail
_FLUSH_S = 5.0  # that `finish` waits


@dataclass(frozen=True, kw_only=True, slots=True)
class Try:
    """One try at a delivery, or why there was none: what an Attempt says beyond the delivery itself."""

    outcome: Outcome
    reason: Reason
    number: int  # 1 for the first; of the next try where there was none
    detail: str | None = None  # for people
    started_at: datetime | None = None  # none: this moment
    ended_at: datetime | None = None  # none: this moment
    not_before: datetime | None = None  # of the next try
    spared: bool = False  # it did not spend the retry schedule


class Note(NamedTuple):
    """What is written down of one try."""

    delivery: Delivery
    tried: Try
    origin: Origin | None  # the delivery's record; none: it has none
    settled: bool = False  # nothing is left to do for the record at `origin`, should it be read again


def attempt_of(delivery: Delivery, tried: Try, origin: Origin | None) -> Attempt:
    """The Attempt that a try is recorded as."""
    moment = now()
    return Attempt(
        delivery=delivery.id,
        producer=unquote(delivery.id.partition("/")[0]),  # the message itself may be unreadable
        message=delivery.message_id,
        outcome=tried.outcome,
        reason=tried.reason,
        started_at=tried.started_at or moment,
        ended_at=tried.ended_at or moment,
        number=tried.number,
        configuration=delivery.configuration,
        configuration_version=delivery.configuration_version,
        consumer=delivery.consumer,
        recipient=delivery.recipient,
        detail=None if tried.detail is None else shortened(tried.detail, MAX_DETAIL),
        origin=origin,
        not_before=tried.not_before,
        fallback_of=delivery.fallback_of,
    )


class Recording:
    """Writes records of delivery. Each call returns when every in-sync replica has the record."""

    def __init__(self, writer: Writer, outputs: Outputs) -> None:
        self._writer = writer
        self._outputs = outputs
        self._late: set[asyncio.Task[None]] = set()
        self._unacknowledged: set[asyncio.Future[None]] = set()  # of each call of `attempts`

    async def attempts(self, notes: Sequence[Note]) -> None:
        """Writes an Attempt of each, however long the broker is away. Of one delivery there is one at a time."""
        by_headers: dict[Headers, tuple[list[bytes], list[bytes]]] = {}
        for note in notes:
            keys, values = by_headers.setdefault(_headers(note), ([], []))
            keys.append(note.delivery.id.encode())
            values.append(attempt_of(note.delivery, note.tried, note.origin).encode())
        for headers, (keys, values) in by_headers.items():
            self._outputs.outlet(ATTEMPTS.name, headers).put_all(keys, values)
        acknowledged: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._unacknowledged.add(acknowledged)
        acknowledged.add_done_callback(self._unacknowledged.discard)
        self._outputs.seal(partial(acknowledged.set_result, None))
        await asyncio.shield(acknowledged)  # they are written, also where who waits is cancelled

    async def dead_letter(
        self, source: Source, *, reason: Reason, error: str, delivery: Delivery | None, attempts: int
    ) -> None:
        """Writes a dead letter of a record of a deliveries topic; `delivery` is None where it could not be read."""
        letter = DeadLetter.of_record(
            source,
            stage="deliver",
            reason=reason,
            error=error,
            delivery=None if delivery is None else delivery.id,
            attempts=attempts,
        )
        await self._writer.write(DEAD_LETTERS.name, letter.id, letter.encode())
        _seldom.log(
            logging.WARNING,
            "The delivery %s is a dead letter: %s: %s",
            letter.id,
            reason,
            error,
            extra={"action": "dead_letter", "delivery": letter.id, "reason": reason},
        )

    async def park(self, delivery: Delivery) -> None:
        """Writes a delivery to `parked`. Raises RecordTooLarge."""
        await self._writer.write(PARKED.name, delivery.id, delivery.encode())

    async def deliver(self, delivery: Delivery) -> None:
        """Writes a delivery to its consumer's topic. Raises RecordTooLarge."""
        await self._writer.write(DELIVERIES + delivery.consumer, delivery.lane, delivery.encode())

    def start(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        """Records something in a task of its own, for a caller that is being cancelled or goes on."""
        task = asyncio.create_task(work)
        self._late.add(task)
        task.add_done_callback(self._late.discard)
        return task

    async def finish(self) -> None:
        """Waits for what was started and for attempts whose callers were cancelled, as long as a broker that is there takes.

        After that nobody knows of a try that was cut off: it is made again in any case.
        """
        if left := [*self._late, *self._unacknowledged]:
            await asyncio.wait(left, timeout=_FLUSH_S)
        for task in list(self._late):
            task.cancel()


def _headers(note: Note) -> Headers:
    spared = (SPARED, b"1" if note.tried.spared else b"0")
    return ((SETTLED, b"1"), spared) if note.settled else (spared,)
