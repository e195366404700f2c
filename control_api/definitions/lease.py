"""Lease: which process does work that one does at a time. Another takes it over when the holder goes silent.

A lease is a row in the database with an owner and an end. It compares the clocks of its takers. Where they differ, two
processes may believe that they hold it; then Kafka's fencing keeps the order (`control_api.definitions.relay`,
`control_api.redrive.redriving`).
"""

import logging
import os
import socket
import time
import uuid
from datetime import datetime, timedelta

from sqlalchemy import Select, delete, insert, select, update

from control_api.definitions.changes import lock
from control_api.models import LeaseRow
from notifier.database import Database
from notifier.errors import DatabaseError, NotifierError
from notifier.record import now

logger = logging.getLogger(__name__)

NAME = "outbox"  # of the relay's
LEASE_S = 15.0  # seconds of silence after which another process takes over


class LeaseLost(NotifierError):
    """Another process has the lease now."""


class Lease:
    """The lease as one process sees it."""

    def __init__(
        self,
        database: Database,
        lease_s: float = LEASE_S,
        *,
        name: str = NAME,
        work: str = "publishes the definitions",  # for the log: what its holder does
    ) -> None:
        self.held = False  # as far as this process knows
        self.name = name
        self.owner = f"{socket.gethostname()}/{os.getpid()}/{uuid.uuid4().hex[:8]}"
        self._work = work
        self._database = database
        self._lease_s = lease_s
        self._renew_at = 0.0  # by the monotonic clock

    async def acquire(self) -> bool:
        """Takes or keeps the lease; False when another process has it. Raises LeaseLost where it has passed to another."""
        if self.held:
            await self.renew()
            return True
        return await self._take()

    async def renew(self) -> None:
        """Extends the lease, at most once in a third of its length. Raises LeaseLost."""
        if time.monotonic() < self._renew_at:
            return
        async with self._database.write() as session:
            renewed = await session.execute(
                update(LeaseRow)
                .where(LeaseRow.name == self.name, LeaseRow.owner == self.owner)
                .values(until=now() + timedelta(seconds=self._lease_s))
                .returning(LeaseRow.owner)
            )
            if renewed.one_or_none() is None:
                self.held = False
                raise LeaseLost(f"another process {self._work} now")
        self._hold()

    def doubt(self) -> None:
        """Has the next `acquire` or `renew` ask the database."""
        self._renew_at = 0.0

    async def release(self) -> None:
        """Gives the lease back. Where the database is away, it runs out by itself."""
        if not self.held:
            return
        self.held = False
        try:
            async with self._database.write() as session:
                await session.execute(delete(LeaseRow).where(LeaseRow.name == self.name, LeaseRow.owner == self.owner))
        except DatabaseError as error:
            logger.warning("The lease %s runs out by itself: %s", self.name, error, extra={"action": "release_lease"})

    async def _take(self) -> bool:
        async with self._database.read() as session:  # most looks find a holder, and need not write
            lease = (await session.execute(self._select())).one_or_none()
        if lease is not None and lease.until > now():
            return False
        async with self._database.write() as session:
            await lock(session)
            lease = (await session.execute(self._select())).one_or_none()
            moment = now()
            if lease is not None and lease.until > moment:
                return False
            await session.execute(delete(LeaseRow).where(LeaseRow.name == self.name))
            until = moment + timedelta(seconds=self._lease_s)
            await session.execute(insert(LeaseRow).values(name=self.name, owner=self.owner, until=until))
        self._hold()
        logger.info("This process %s from now on.", self._work, extra={"action": "take_lease"})
        return True

    def _hold(self) -> None:
        self.held = True
        self._renew_at = time.monotonic() + self._lease_s / 3

    def _select(self) -> Select[str, datetime]:
        return select(LeaseRow.owner, LeaseRow.until).where(LeaseRow.name == self.name)
