"""Status: what the data plane reports on the compacted topic `status`.

How its processes are, which consumers are paused, and which chats have another number.
"""

from typing import Literal

import msgspec

from notifier.bounds import Count, Large
from notifier.outcome import Reason
from notifier.record import Record, Time

State = Literal[
    "ready",  # a process works
    "stopped",  # a process cannot go on; `detail` says why
    "paused",  # a consumer is held, and its deliveries wait; nothing is read of a producer's source
    "disabled",  # a consumer was paused for too long, and its deliveries become dead letters
    "resumed",  # a consumer or producer goes on
    "moved",  # a chat has another number, `became`
    "failing",  # a producer's source did not answer as it should the last time; `detail` says how
    "silent",  # nothing came of a producer for longer than was expected
]

ROLES = ("router", "runner", "ticker", "delivery")  # those that report
ROLE = "role"  # the kind of the records that are about a process of a role
CONSUMER = "consumer"  # of those that delivery writes about a consumer
PRODUCER = "producer"  # of those about a producer's source: `ready`, `failing`, `silent` or `paused`
CHAT = "chat"  # of those that delivery writes about a chat of a consumer
PAUSE = "pause"  # of those that say what people want of a consumer: that it is `paused`, or `resumed`
PRODUCER_PAUSE = "producer_pause"  # the same of a producer
WISHES = {CONSUMER: PAUSE, PRODUCER: PRODUCER_PAUSE}  # what may be paused → the kind of what people want of it


class PassedOver(msgspec.Struct, frozen=True, kw_only=True):
    """The records of a topic that could not be used, since the process began."""

    topic: str  # with the prefix
    count: Large = 0
    last: str | None = None  # the place of the last one, `<topic>/<partition>/<offset>`
    error: str | None = None  # what is wrong with it

    def and_one(self, place: str, error: str) -> "PassedOver":
        """With one record more."""
        return PassedOver(topic=self.topic, count=self.count + 1, last=place, error=error)


class Status(Record, frozen=True, kw_only=True):
    """What one process says about itself, or what holds for a consumer or a chat; keyed `<kind>/<name>`.

    A process writes how it is at every change and every ten seconds; of several on one host the newest record holds. One that
    ends in order leaves a tombstone, as the end of a pause does in the end. What people want of a consumer holds from its place
    on the topic on: what delivery wrote of that consumer before a `resumed` is over.
    """

    kind: str  # ROLE, CONSUMER, PRODUCER, CHAT, PAUSE or PRODUCER_PAUSE
    name: str  # `<role>@<host>`, the name of the definition, or `<consumer>/<chat id>`
    state: State
    at: Time
    detail: str | None = None  # why it is stopped or paused, for people; never holds a secret
    reason: Reason | None = None  # of a pause
    not_before: Time | None = None  # of a paused consumer's next try
    since: Time | None = None  # when the pause began
    by: str | None = None  # who paused it, or had it go on, where a person did
    became: str | None = None  # what a chat that moved is called now
    step: Count = 0  # how often it was tried in vain, at most as often as the waits grow
    told: State | None = None  # what the operators know of this pause
    told_at: Time | None = None  # when they were last told of the consumer
    problems: dict[str, str] = {}  # noqa: RUF012 - msgspec copies it. `<kind>/<name>` of definitions it cannot use → why
    passed_over: tuple[PassedOver, ...] = ()

    @property
    def role(self) -> str | None:
        """`router` and the like; None where it is about a definition."""
        return self.name.partition("@")[0] if self.kind == ROLE else None
