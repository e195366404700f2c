"""Intake: writes what the API accepted to Kafka, each request whole or not at all.

one record       `singles`: one record is whole or not at all by itself, so it needs no transaction
more than one    `transactions`: a `read_committed` reader sees all of a request or nothing

Either way requests at the same moment are written together, and `write` returns once every record is acknowledged by all in-sync
replicas, and committed. When the broker does not answer, the caller is told within seconds that nothing was written, or, where
that cannot be known from here, that it is unknown. Then the caller repeats under the same ids or Idempotency-Key, which makes
the repeat recognisable.
"""

import asyncio
from collections.abc import Sequence

from control_api.intake.outgoing import Outgoing
from control_api.intake.singles import Singles
from control_api.intake.transactions import Transactions
from notifier.settings import Settings


class Intake:
    """Writes for one API process."""

    def __init__(self, settings: Settings, instance: str | None = None) -> None:
        """`instance`: as of `Transactions`."""
        self._singles = Singles(settings)
        self._transactions = Transactions(settings, instance)

    @property
    def connected(self) -> bool:
        """Whether the broker answered the last time."""
        return self._singles.connected and self._transactions.connected

    async def start(self) -> None:
        """Begins to work; returns at once, whether the broker is there or not."""
        await self._transactions.start()
        await self._singles.start()

    async def stop(self) -> None:
        """Ends. What is still waiting is refused."""
        await asyncio.gather(self._singles.stop(), self._transactions.stop())

    async def write(self, records: Sequence[Outgoing]) -> None:
        """Writes the records, all or none, and returns when Kafka has acknowledged all of it.

        Raises BrokerError: nothing was written, or, where the text says so, it is unknown whether all of it was. Raises
        RecordTooLarge for a record that the topic does not take.
        """
        if records:
            await (self._singles if len(records) == 1 else self._transactions).write(records)
