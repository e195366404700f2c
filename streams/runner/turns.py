"""Turns: the runs of one configuration ask a producer one after another, the earliest begun first.

The order is that of the runs' `started_at`, which every runner reads on `runs`, and a run that was left behind keeps its place:
it goes on with what it had not told. Runs that two runners begin within the same moment may not see each other, and clocks that
differ by more than a run takes may change the order; both ask then with one cursor, and may tell something twice.
"""

from datetime import timedelta

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
        if self._is_free(id_, run, producer):
            return
        self._waiting[id_] = self._waiting.get(id_, 0) + 1
        try:
            while not self._is_free(id_, run, producer):
                await self._run_log.moved()
        finally:
            self._waiting[id_] -= 1
            if not self._waiting[id_]:
                del self._waiting[id_]

    def _is_free(self, id_: str, run: Run, producer: str) -> bool:
        longest = now() + _LONGEST_LEASE
        return not any(
            _place(other_id, other) < _place(id_, run)
            and _has_to_ask(other, producer)
            and (other.lease_until is None or other.lease_until < longest)
            for other_id, other in self._leases.working_of(run.configuration)
        )


def _place(id_: str, run: Run) -> tuple[object, str]:
    return run.started_at or run.scheduled_at, id_


def _has_to_ask(run: Run, producer: str) -> bool:
    """Whether a run has not finished with a producer. Before its first save, nobody knows which ones it asks."""
    states = {part.producer: part.state for part in run.producers}
    return not states or states.get(producer) == "running"
