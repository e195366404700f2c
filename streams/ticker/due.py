"""Due times: what is due of each schedule, where its cursor goes next, and how cursors follow the definitions.

Pure: no clock, no database. Cursors are kept by `streams.ticker.claims`; when to look is `streams.ticker.ticker`'s.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from typing import Literal, TypeAlias

from notifier.catalog import Configuration
from notifier.definition import ScheduleSpec
from notifier.schedule import Schedule

LATE_S = 5.0  # a due time that no ticker looked at for so long was missed
MISSED_LIMIT = 1000  # due times of one configuration that are made up for at once

Missed: TypeAlias = Literal["none", "last", "all"]  # which missed due times are made up for


@dataclass(frozen=True, kw_only=True)
class Cursor:
    """Where a configuration stands: everything before `next_due_at` is claimed or passed over."""

    configuration: str
    revision: int  # the configuration's version
    cron: str
    timezone: str
    last_due_at: datetime | None
    next_due_at: datetime


@dataclass(frozen=True, kw_only=True)
class Move:
    """A cursor moved on. It happens only if the row is still at `old`; `due` is claimed with it."""

    old: Cursor
    new: Cursor
    due: Sequence[datetime] = ()
    missed: Missed | None = None  # the rule that chose `due`, where due times were missed
    cut: bool = False  # whether more than MISSED_LIMIT were missed, so that `due` lacks the oldest


@dataclass(frozen=True, kw_only=True)
class Reconciliation:
    """What brings the cursors to the definitions."""

    added: list[Cursor]
    moves: list[Move]
    dropped: list[Cursor]


def begin(configuration: Configuration, spec: ScheduleSpec, defined_at: datetime) -> Cursor:
    """The first cursor of a schedule, which counts from the moment when it was defined."""
    return Cursor(
        configuration=configuration.name,
        revision=configuration.version,
        cron=spec.cron,
        timezone=spec.timezone,
        last_due_at=None,
        next_due_at=_schedule(spec.cron, spec.timezone).next_due(defined_at),
    )


def advance(cursor: Cursor, missed: Missed, until: datetime, looked_at: datetime) -> Move:
    """Moves a cursor, due by `until`, past `until`.

    Its due times were missed if the first of them is older than LATE_S at `looked_at`. That is when the ticker read the
    cursors: where thousands are due at once, the last of them were not missed.
    """
    schedule = _schedule(cursor.cron, cursor.timezone)
    first = cursor.next_due_at
    late = (looked_at - first).total_seconds() > LATE_S
    cut = False
    if not late:
        due = [first, *schedule.between(first, until)]
    elif missed == "none":
        due = []
    elif missed == "last":
        due = schedule.latest(first, until, 1) or [first]
    else:
        due = [first, *schedule.latest(first, until, MISSED_LIMIT)]
        cut = len(due) > MISSED_LIMIT
        due = due[-MISSED_LIMIT:]
    last = max([first, *due])
    new = replace(cursor, last_due_at=last, next_due_at=schedule.next_due(max(until, last)))
    return Move(old=cursor, new=new, due=due, missed=missed if late else None, cut=cut)


def redefine(
    old: Cursor, configuration: Configuration, spec: ScheduleSpec, defined_at: datetime, looked_at: datetime
) -> Move:
    """Moves a cursor to a newer version of its configuration.

    The due times of an unchanged schedule stay. A changed one counts from `defined_at`; what was due before is still due.
    """
    if (old.cron, old.timezone) == (spec.cron, spec.timezone):
        return Move(old=old, new=replace(old, revision=configuration.version))
    new = begin(configuration, spec, defined_at)
    if old.next_due_at > defined_at:
        return Move(old=old, new=replace(new, last_due_at=old.last_due_at))
    before = advance(old, spec.missed, defined_at, looked_at)
    return replace(before, new=replace(new, last_due_at=before.new.last_due_at))


def reconcile(
    cursors: Mapping[str, Cursor],
    configurations: Mapping[str, Configuration],
    defined_at: Callable[[Configuration], datetime],
    looked_at: datetime,
) -> Reconciliation:
    """Compares cursors with configurations, both by name. A cursor of a newer version than the configuration's stays.

    So do cursors without a configuration: the definitions may be ahead of what this ticker has read.
    """
    found = Reconciliation(added=[], moves=[], dropped=[])
    for name, configuration in configurations.items():
        spec = configuration.spec.schedule if configuration.spec.enabled else None
        old = cursors.get(name)
        if old is None:
            if spec is not None:
                found.added.append(begin(configuration, spec, defined_at(configuration)))
        elif spec is None:
            if old.revision <= configuration.version:
                found.dropped.append(old)
        elif old.revision < configuration.version:
            found.moves.append(redefine(old, configuration, spec, defined_at(configuration), looked_at))
    return found


@lru_cache(maxsize=20_000)  # parsing costs more than a due time
def _schedule(cron: str, timezone: str) -> Schedule:
    return Schedule(cron, timezone)
