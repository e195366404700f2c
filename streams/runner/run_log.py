"""The run log: `runs` as one runner writes and follows it. What a record changes for a lease is `streams.runner.leases`'."""

from datetime import datetime, timedelta

from notifier.record import now
from notifier.run import Run
from notifier.settings import Settings
from notifier.topics import RUNS
from streams.runner.leases import OWNER
from streams.runner.topic_log import TopicLog
from streams.writer import Writer


class RunLog(TopicLog):
    """The log of all runs; what is written is written in the name of `owner`."""

    def __init__(self, settings: Settings, writer: Writer, *, owner: str, lease_s: float) -> None:
        super().__init__(settings, RUNS)
        self.owner = owner
        self.lease_s = lease_s  # how long a lease is valid after it was written
        self._writer = writer

    def lease_until(self) -> datetime:
        """When a lease that is written now ends."""
        return now() + timedelta(seconds=self.lease_s)

    async def write(self, id_: str, run: Run, *headers: tuple[str, bytes]) -> None:
        """Writes a state of a run; returns when Kafka has it."""
        await self._writer.write(RUNS.name, id_, run.encode(), ((OWNER, self.owner.encode()), *headers))
