"""Redriving: works on the redrives, one process at a time, batch by batch; each letter is sent again once.

    database  note the batch on the redrive's row      only while this process has the lease
    Kafka     one transaction: records, and the batch's id as the metadata of an offset
    database  mark its letters, clear the note

A process that dies in between leaves a note. The next one takes the lease, fences its predecessor on Kafka and asks which batch
was committed last: that one is marked and not sent, any other is chosen anew. A process that lost its lease without noticing
writes neither to the database, where each step asks for the lease, nor to Kafka, where it is fenced.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

import msgspec
from aiokafka.errors import KafkaError, MessageSizeTooLargeError, RecordListTooLargeError
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from control_api.definitions.lease import LEASE_S, Lease, LeaseLost
from control_api.models import DeadLetterRow, LeaseRow, RedriveRow
from control_api.redrive.batch import GONE, Batch, next_batch, report_of
from control_api.redrive.kafka import NAME, RedriveKafka
from notifier.database import Database
from notifier.ending import end
from notifier.errors import BrokerError, DatabaseError
from notifier.one_line import one_line
from notifier.record import now
from notifier.settings import Settings

logger = logging.getLogger(__name__)

POLL_S = 1.0  # between two looks for work
BATCH = 200  # letters in one transaction
_MARKED_AT_ONCE = 500  # rows in one statement
_KNOWN_FOR = timedelta(days=6)  # how long Kafka knows which batch was committed last: a day less than by default
_TOO_LARGE = (MessageSizeTooLargeError, RecordListTooLargeError)
_UNKNOWN = (
    "no API process was at work for days, so it is not known whether its last batch was sent;"
    " look at the attempts of its deliveries, and begin another redrive"
)


class Redriving:
    """Works in the background from `start` to `stop`; `work` does one step, for a command without an API."""

    def __init__(self, settings: Settings, database: Database, *, lease_s: float = LEASE_S) -> None:
        self._settings = settings
        self._database = database
        self._lease = Lease(database, lease_s, name=NAME, work="sends dead letters again")
        self._kafka = RedriveKafka(settings)
        self._due: dict[str, float] = {}  # redrive → when its next batch may go, `time.monotonic()`
        self._singly: dict[str, int] = {}  # redrive → letters that go one by one, since one of them is refused
        self._woken = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._quiet = False  # whether an outage was logged already

    def wake(self) -> None:
        """Has it look for work at once."""
        self._woken.set()

    async def start(self) -> None:
        """Begins to work; returns at once, whether the broker is there or not."""
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="redrive")

    async def stop(self) -> None:
        """Ends after the exchange at hand, and gives the lease back; another process goes on."""
        task, self._task = self._task, None
        if task is not None:
            await end(task)
        await self.close()

    async def close(self) -> None:
        """Gives back the connections and the lease."""
        await self._kafka.close()
        await self._lease.release()

    async def _run(self) -> None:
        while True:
            self._woken.clear()
            wait_s = await self.work()
            try:
                async with asyncio.timeout(wait_s):
                    await self._woken.wait()
            except TimeoutError:
                pass  # time for the next step

    async def work(self) -> float:
        """Sends the next batch, if there is one and no other process works; answers after how many seconds to call again."""
        try:
            wait_s = await self._step()
        except LeaseLost:
            await self._kafka.close()
            return POLL_S
        except (KafkaError, BrokerError, DatabaseError, OSError, TimeoutError) as error:
            await self._pause(one_line(error) or type(error).__name__)
            return POLL_S
        except Exception as error:  # the supervisor of this loop: what fails must be seen, and not end it
            logger.exception("A redrive failed and is tried again.", extra={"action": "redrive"})
            await self._pause(f"{type(error).__name__}: {one_line(error)}")
            return POLL_S
        self._quiet = False
        return wait_s

    async def _pause(self, why: str) -> None:
        """Says on the rows why they do not go on now."""
        self._lease.doubt()
        await self._kafka.close()
        if not self._quiet:
            logger.warning("Dead letters cannot be sent again now: %s", why, extra={"action": "redrive"})
        self._quiet = True
        try:
            async with self._mine() as session:
                running = update(RedriveRow).where(RedriveRow.state == "running")
                await session.execute(running.values(error=f"it waits: {why}"))
        except (DatabaseError, LeaseLost):
            pass

    async def _step(self) -> float:
        async with self._database.read() as session:
            query = select(RedriveRow.id).where((RedriveRow.state == "running") | RedriveRow.batch.is_not(None))
            ids = list(await session.scalars(query.order_by(RedriveRow.id)))
        self._due = {id_: due for id_, due in self._due.items() if id_ in ids}
        if not ids:
            await self.close()  # a command may want the lease
            return POLL_S
        if not await self._lease.acquire():
            return POLL_S
        if not self._kafka.is_open:
            await self._kafka.open()
            await self._settle()
        id_ = min(ids, key=lambda one: self._due.get(one, 0.0))
        wait_s = self._due.get(id_, 0.0) - time.monotonic()
        if wait_s <= 0:
            await self._send(id_)
            wait_s = 0.0
        return min(wait_s, POLL_S)

    async def _settle(self) -> None:
        """Finds out about batches that may have been sent: those that were are marked, the others forgotten."""
        async with self._database.read() as session:
            found = await session.execute(select(RedriveRow.id, RedriveRow.batch).where(RedriveRow.batch.is_not(None)))
            noted = {id_: batch for id_, batch in found if batch is not None}
        if not noted:
            return
        committed = await self._kafka.committed()
        for id_, batch in noted.items():
            async with self._mine() as session:
                if batch["id"] == committed:
                    await _mark(session, id_, batch)
                elif datetime.fromisoformat(batch["at"]) < now() - _KNOWN_FOR:
                    values = {"state": "failed", "error": _UNKNOWN, "ended_at": now(), "batch": None}
                    await session.execute(update(RedriveRow).where(RedriveRow.id == id_).values(values))
                else:
                    await session.execute(update(RedriveRow).where(RedriveRow.id == id_).values(batch=None))

    async def _send(self, id_: str) -> None:
        began = time.monotonic()
        async with self._mine() as session:
            row = await session.get(RedriveRow, id_, with_for_update=True)
            if row is None or row.state != "running":
                self._due[id_] = began + POLL_S
                return
            singly = self._singly.get(id_, 0)
            size = 1 if singly else min(BATCH, row.per_second)
            batch = await next_batch(session, row, size, self._settings.topic_prefix)
            row.started_at, row.error = row.started_at or batch.at, None
            pace_s = len(batch.records) / row.per_second
            if batch.records:
                row.batch = batch.noted()
            else:
                await _conclude(session, row, batch)
        if singly:
            self._singly[id_] = singly - 1
        if batch.records:
            await self._commit(id_, batch)
        self._due[id_] = began + pace_s

    async def _commit(self, id_: str, batch: Batch) -> None:
        try:
            await self._kafka.send(batch.id, batch.records, batch.topics)
        except _TOO_LARGE as error:
            await self._kafka.close()  # the transaction is aborted by the next
            await self._refused(id_, batch, one_line(error))
            return
        async with self._mine() as session:
            await _mark(session, id_, batch.noted())

    async def _refused(self, id_: str, batch: Batch, why: str) -> None:
        """Kafka does not take a letter of a batch. Who is to blame shows when each is alone."""
        async with self._mine() as session:
            row = await session.get(RedriveRow, id_, with_for_update=True)
            if row is None or row.batch is None or row.batch["id"] != batch.id:
                return
            row.batch = None
            if batch.looked_at > 1:
                self._singly[id_] = batch.looked_at
                return
            report = report_of(row)
            letter = await session.get(DeadLetterRow, batch.letters[0])
            report.skip("" if letter is None else letter.letter, f"Kafka does not take it: {why}", failed=True)
            row.report, row.reached = msgspec.to_builtins(report), batch.reached

    @asynccontextmanager
    async def _mine(self) -> AsyncIterator[AsyncSession]:
        """A database transaction that holds only while this process has the lease. Raises LeaseLost."""
        async with self._database.write() as session:
            held = LeaseRow.name == NAME, LeaseRow.owner == self._lease.owner
            if await session.scalar(select(LeaseRow.owner).where(*held).with_for_update()) is None:
                self._lease.held = False
                raise LeaseLost("another process sends dead letters again now")
            yield session


async def _mark(session: AsyncSession, id_: str, batch: dict[str, object]) -> None:
    """Marks the letters of a batch that was committed, and counts them."""
    row = await session.get(RedriveRow, id_, with_for_update=True, populate_existing=True)
    if row is None or row.batch is None or row.batch["id"] != batch["id"]:
        return
    await _write_redriven(session, row.batch["letters"], datetime.fromisoformat(row.batch["at"]))
    row.report, row.reached, row.batch = row.batch["report"], row.batch["reached"], None


async def _write_redriven(session: AsyncSession, letters: Sequence[int], at: datetime) -> None:
    for start in range(0, len(letters), _MARKED_AT_ONCE):
        some = letters[start : start + _MARKED_AT_ONCE]
        change = update(DeadLetterRow).where(DeadLetterRow.id.in_(some))
        await session.execute(change.values({DeadLetterRow.__table__.c.redriven_at: at}))


async def _conclude(session: AsyncSession, row: RedriveRow, batch: Batch) -> None:
    """A batch without a record: what was looked at is counted, and where it was the last the redrive is done."""
    await _write_redriven(session, batch.letters, batch.at)
    report = batch.report
    if batch.is_last and batch.reached == row.reached:
        row.state, row.ended_at = "done", now()
        missing = row.matched - report.redriven - report.skipped - report.failed
        if missing > 0:
            report.skipped += missing
            report.count(GONE, missing)
    row.report, row.reached = msgspec.to_builtins(report), batch.reached
