"""Run: all the work that one tick causes, and how far it is."""

from typing import Literal

import msgspec

from notifier.bounds import Count, Word
from notifier.outcome import Trigger
from notifier.record import Record, Time, always

State = Literal[
    "running",  # a runner holds the lease
    "done",  # every producer succeeded
    "failed",  # at least one producer failed; the others' messages went out all the same
    "refused",  # nothing to do: the configuration is unknown, disabled or without a pull producer
]


class ProducerRun(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one producer did within a run."""

    producer: str  # its name
    state: State = always("running")
    messages: Count = always(0)  # how many it produced, all acknowledged by Kafka
    error: str | None = None  # why it failed
    notice: str | None = None  # what it says of its source, such as that the rows were cut
    started_at: Time | None = None
    ended_at: Time | None = None
    elapsed_s: float | None = None  # how long its script ran; none, as the two below: it runs none
    cpu_s: float | None = None  # processor time of all the processes of its script
    memory_mb: float | None = None  # mebibytes of memory that these had at most, as it was looked at


class Run(Record, frozen=True, kw_only=True):
    """The state of a run, on `runs`, keyed by the tick's id. A runner that finds `lease_until` in the past takes the run over."""

    configuration: Word
    scheduled_at: Time
    trigger: Trigger = always("cron")
    state: State = always("running")
    owner: str | None = None  # the runner that holds the lease
    lease_until: Time | None = None
    producers: tuple[ProducerRun, ...] = always(())
    error: str | None = None  # why the run as a whole was refused
    takeovers: Count = always(0)  # how often it was taken over from a runner whose lease had run out
    started_at: Time | None = None
    ended_at: Time | None = None
