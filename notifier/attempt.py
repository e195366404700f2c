"""Attempt: one try at a delivery, or the record of why there was none. Counters: suppressed messages, counted by the second."""

import msgspec

from notifier.bounds import Count, DeliveryId, Large, Number, Word
from notifier.outcome import Outcome, Reason
from notifier.record import Record, Time, always


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """The place of a record on Kafka."""

    topic: str
    partition: Count
    offset: Large


class Attempt(Record, frozen=True, kw_only=True):
    """What happened to a delivery, on `attempts`, keyed by `delivery`.

    A message without any delivery has one attempt too, `suppressed` with the reason. Its `delivery` is then the beginning of
    an id: `<producer>/<message id>`, with the configuration where the reason concerns one.
    """

    delivery: DeliveryId
    producer: Word
    message: Word  # the message's id
    outcome: Outcome
    reason: Reason
    started_at: Time
    ended_at: Time
    number: Number = always(1)  # 1 for the first try
    configuration: Word | None = None
    configuration_version: Large | None = None
    consumer: Word | None = None
    recipient: Word | None = None
    detail: str | None = None  # for people; never holds a secret
    origin: Origin | None = None
    not_before: Time | None = None  # time of the next try, where `outcome` is deferred or held
    fallback_of: DeliveryId | None = None  # the delivery in whose place this one is


class Counter(msgspec.Struct, frozen=True, kw_only=True, gc=False):  # up to ten thousand a second
    """How many messages one configuration has suppressed for one reason since the last record."""

    configuration: Word
    reason: Reason
    count: Large


class Counters(Record, frozen=True, kw_only=True):
    """Written once a second by each worker, on `attempts`, keyed by worker. Only Counters have the field `counters`."""

    worker: str
    at: Time
    counters: tuple[Counter, ...]
