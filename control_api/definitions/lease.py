"""Lease: which process publishes definitions. One holds it at a time, and another takes it over when it goes silent.

The lease is a row in the database with an owner and an end. It compares the clocks of its takers. Where they differ, two
processes may believe that they hold it; then Kafka's fencing keeps the order (`control_api.definitions.relay`).
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

NAME = "outbox"
LEASE_S = 15.0  # seconds of silence after which another process takes over


class LeaseLost(NotifierError):
    """Another process has the lease now."""


class Lease:
    """The lease as one process sees it."""

    def __init__(self, database: Database, lease_s: float = LEASE_S) -> None:
        self.held = False  # as far as this process knows
        self._database = database
        self._lease_s = lease_s
        self._owner = f"{socket.gethostname()}/{os.getpid()}/{uuid.uuid4().hex[:8]}"
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
                .where(LeaseRow.name == NAME, LeaseRow.owner == self._owner)
                .values(until=now() + timedelta(seconds=self._lease_s))
                .returning(LeaseRow.owner)
            )
            if renewed.one_or_none() is None:
                self.held = False
                raise LeaseLost("another relay publishes the definitions now")
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
                await session.execute(delete(LeaseRow).where(LeaseRow.name == NAME, LeaseRow.owner == self._owner))
        except DatabaseError as error:
            logger.warning("The relay's lease runs out by itself: %s", error, extra={"action": "release_lease"})

    async def _take(self) -> bool:
        async with self._database.read() as session:  # most looks find a holder, and need not write
            lease = (await session.execute(_select())).one_or_none()
        if lease is not None and lease.until > now():
            return False
        async with self._database.write() as session:
            await lock(session)
            lease = (await session.execute(_select())).one_or_none()
            moment = now()
            if lease is not None and lease.until > moment:
                return False
            await session.execute(delete(LeaseRow).where(LeaseRow.name == NAME))
            until = moment + timedelta(seconds=self._lease_s)
            await session.execute(insert(LeaseRow).values(name=NAME, owner=self._owner, until=until))
        self._hold()
        logger.info("This process publishes the definitions from now on.", extra={"action": "take_lease"})
        return True

    def _hold(self) -> None:
        self.held = True
        self._renew_at = time.monotonic() + self._lease_s / 3


def _select() -> Select[str, datetime]:
    return select(LeaseRow.owner, LeaseRow.until).where(LeaseRow.name == NAME)
