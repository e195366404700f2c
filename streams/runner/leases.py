"""Leases: which runner works on which run, decided by the order of the records on `runs` and by nothing else.

Each state of a run names its writer in the header `owner`. A runner that wants a run it does not hold writes a claim: a record
with the header `claim`, the offset of the state that it replaces (ASCII decimal), empty for a new run. Every reader goes
through the records of a run in order and takes

- a claim, if the state it replaces is the newest one taken, and that is not the end of the run;
- another record, if its writer holds the lease and the run has not ended;

and passes over all others. So of several claims on one lease the first in the log wins, a renewal that came before a claim
defeats it, and a runner that was away for too long can neither renew nor end a run that another has taken over. Clocks decide
only when a runner tries; two clocks that differ cost work done twice, never a run with two owners in the log. A lost claim
stays the newest value of its key until the owner's next renewal; one that came after the end of a run is mended by its
writer, who repeats the end (`Leases.end_of`), so that compaction keeps the truth.

A lease is advice to the runners, not a lock on what they do: a runner that does not know yet that its lease is gone may still
send messages. They carry the same ids as the new owner's, and that makes them harmless.
"""

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from aiokafka import ConsumerRecord

from notifier.run import Run
from notifier.topics import DAY_MS, TICKS

OWNER = "owner"  # header: who wrote the record
CLAIM = "claim"  # header: the offset of the state that a claim replaces; empty: the run is new

# A tick can be read again while it is kept; a run that ended before that can be forgotten.
_REMEMBERED_MS = (TICKS.retention_ms or 0) + DAY_MS
_ENDS_KEPT = 1000  # whole values of the runs that ended last


@dataclass(frozen=True, kw_only=True, slots=True)
class Lease:
    """The state of a run that has not ended."""

    run: Run
    offset: int  # of its record; a claim must name it

    def expired(self, at: datetime) -> bool:
        """Whether any runner may claim the run."""
        return self.run.owner is None or self.run.lease_until is None or self.run.lease_until <= at


@dataclass(frozen=True, kw_only=True, slots=True)
class Transition:
    """What one record on `runs` changes for the lease of a run."""

    id: str  # of the run
    run: Run  # as the record says
    writer: str | None
    claim: bool
    taken: bool  # false: passed over


class Leases:
    """The state of all runs, record by record. Give `apply` the records of each partition in order."""

    def __init__(self) -> None:
        self._working: dict[str, Lease] = {}
        self._refused: dict[str, int] = {}  # offset of the state
        self._ended: dict[str, int] = {}  # time of the record in milliseconds; refused ones too
        self._ends: OrderedDict[str, Run] = OrderedDict()

    def apply(self, record: ConsumerRecord) -> Transition | None:
        """Applies the next record; None for a tombstone. Raises as `Run.decode` does; such a record changes nothing."""
        id_ = (record.key or b"").decode(errors="replace")
        if record.value is None:
            self._forget(id_)
            return None
        run = Run.decode(record.value)
        headers = dict(record.headers)
        owner = headers.get(OWNER)  # any client may write a header without a value
        writer = run.owner if owner is None else owner.decode(errors="replace")
        claim = headers.get(CLAIM)
        if claim is None:
            taken = self._may_continue(id_, writer)
        else:
            replaced = self.replaces(id_)
            # No state to replace is known: the run is over, or new, or that state was deleted by age or compaction.
            taken = id_ not in self._ended if replaced is None else claim == b"%d" % replaced
        if taken:
            self._take(id_, run, record)
        return Transition(id=id_, run=run, writer=writer, claim=claim is not None, taken=taken)

    def _may_continue(self, id_: str, writer: str | None) -> bool:
        lease = self._working.get(id_)
        if lease is None:
            return id_ not in self._ended
        return lease.run.owner == writer

    def _take(self, id_: str, run: Run, record: ConsumerRecord) -> None:
        self._forget(id_)
        if run.state == "running":
            self._working[id_] = Lease(run=run, offset=record.offset)
            return
        self._ended[id_] = record.timestamp
        if run.state == "refused":
            self._refused[id_] = record.offset
        self._ends[id_] = run
        if len(self._ends) > _ENDS_KEPT:
            self._ends.popitem(last=False)

    def _forget(self, id_: str) -> None:
        self._working.pop(id_, None)
        self._refused.pop(id_, None)
        self._ended.pop(id_, None)
        self._ends.pop(id_, None)

    def forget_old(self, at: datetime) -> None:
        """Forgets the runs that ended so long ago that their ticks are no longer kept."""
        oldest = int(at.timestamp() * 1000) - _REMEMBERED_MS
        for id_ in [id_ for id_, timestamp in self._ended.items() if timestamp < oldest]:
            self._forget(id_)

    def get(self, id_: str) -> Lease | None:
        """The lease of a run that has not ended."""
        return self._working.get(id_)

    def working_of(self, configuration: str) -> Iterator[tuple[str, Run]]:
        """The runs of a configuration that have not ended."""
        return ((id_, lease.run) for id_, lease in self._working.items() if lease.run.configuration == configuration)

    def open(self, id_: str) -> bool:
        """Whether a tick may start this run: it is new, or was refused, so no producer was asked."""
        return id_ not in self._working and (id_ not in self._ended or id_ in self._refused)

    def replaces(self, id_: str) -> int | None:
        """The offset of the state that a claim on this run replaces; None where the run is new or over."""
        lease = self._working.get(id_)
        return self._refused.get(id_) if lease is None else lease.offset

    def end_of(self, id_: str) -> Run | None:
        """The last state of a run that has ended, for the last 1000 of them."""
        return self._ends.get(id_)

    def held_by(self, owner: str) -> list[str]:
        """The runs whose lease is held by a runner, expired or not."""
        return [id_ for id_, lease in self._working.items() if lease.run.owner == owner]

    def expired(self, at: datetime) -> Iterator[tuple[str, Lease]]:
        """The runs that any runner may claim, the longest known first."""
        return ((id_, lease) for id_, lease in list(self._working.items()) if lease.expired(at))
