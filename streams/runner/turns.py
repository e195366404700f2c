"""Turns: the runs of one configuration ask a producer one after another, the earliest begun first.

The order is that of the runs' `started_at`, which every runner reads on `runs`, and a run that was left behind keeps its place:
it goes on with what it had not told. Runs that two runners begin within the same moment may not see each other, and clocks that
differ by more than a run takes may change the order; both ask then with one cursor, and may tell something twice.
"""

from datetime import datetime, timedelta

from notifier.record import now
from notifier.run import Run
from streams.runner.leases import Leases
from streams.runner.run_log import RunLog

# A lease that ends later than this was written by no runner, and is not waited for.
_LONGEST_LEASE = timedelta(hours=1)


class Turns:
    """The turns of one runner's runs among those of all runners."""

    def __init__(self, leases: Leases, run_log: RunLog) -> None:
        self._leases = leases
        self._run_log = run_log
        self._waiting: dict[str, int] = {}  # by run: how many of its producers wait for their turn

    @property
    def waiting(self) -> int:
        """The number of runs that wait for their turn at a producer, whatever else they do."""
        return len(self._waiting)

    async def take(self, id_: str, run: Run, producer: str) -> None:
        """Waits until no run that began before this one has this producer still to ask."""
        await self._run_log.catch_up()
        before = self._last_before(id_, run, producer)
        if before is None:
            return
        self._waiting[id_] = self._waiting.get(id_, 0) + 1
        try:
            while before is not None:
                # Only the next one in the row looks at all the others again.
                while self._is_waited_for(before, producer):
                    await self._run_log.moved()
                before = self._last_before(id_, run, producer)
        finally:
            self._waiting[id_] -= 1
            if not self._waiting[id_]:
                del self._waiting[id_]

    def _last_before(self, id_: str, run: Run, producer: str) -> str | None:
        """The last of the runs before this one that have the producer still to ask."""
        place = _place(id_, run)
        found = [
            other_place
            for other_id, other in self._leases.working_of(run.configuration)
            if (other_place := _place(other_id, other)) < place and self._is_waited_for(other_id, producer)
        ]
        return max(found)[1] if found else None

    def _is_waited_for(self, id_: str, producer: str) -> bool:
        lease = self._leases.get(id_)
        if lease is None or not _has_to_ask(lease.run, producer):
            return False
        return lease.run.lease_until is None or lease.run.lease_until < now() + _LONGEST_LEASE


def _place(id_: str, run: Run) -> tuple[datetime, str]:
    return run.started_at or run.scheduled_at, id_


def _has_to_ask(run: Run, producer: str) -> bool:
    """Whether a run has not finished with a producer. Before its first save, nobody knows which ones it asks."""
    states = {part.producer: part.state for part in run.producers}
    return not states or states.get(producer) == "running"
