"""Attempt: one try at a delivery, or the record of why there was none. Counters: what was filtered, by the second."""

import msgspec

from notifier.outcome import Outcome, Reason
from notifier.record import Record, Time


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """Where on Kafka the record lies that something was done with."""

    topic: str
    partition: int
    offset: int


class Attempt(Record, frozen=True, kw_only=True):
    """What happened to a delivery, on `attempts`, keyed by `delivery`.

    A message that made no delivery has one attempt too, `suppressed` with the reason; its `delivery` is then as much of
    the id as there is (`<producer>/<message id>`, with the configuration where one is to be named).
    """

    delivery: str  # the delivery's id
    producer: str
    message: str  # the message's id
    outcome: Outcome
    reason: Reason
    started_at: Time
    ended_at: Time
    number: int = msgspec.field(
        default_factory=lambda: 1
    )  # 1 for the first try; written always, for whoever reads along
    configuration: str | None = None
    configuration_version: int | None = None
    consumer: str | None = None
    recipient: str | None = None
    detail: str | None = None  # for people; never holds a secret
    origin: Origin | None = None
    not_before: Time | None = None  # when it is tried again, where `outcome` is deferred or held


class Counter(msgspec.Struct, frozen=True, kw_only=True, gc=False):  # there may be ten thousand a second
    """How many messages a configuration did not let pass, for one reason, since the record before."""

    configuration: str
    reason: Reason
    count: int


class Counters(Record, frozen=True, kw_only=True):
    """Once a second and worker, on `attempts`, keyed by worker. Told from an Attempt by its field `counters`."""

    worker: str
    at: Time
    counters: tuple[Counter, ...]
