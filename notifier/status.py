"""Status: how a process of the data plane is, as it reports it itself."""

from typing import Literal

import msgspec

from notifier.bounds import Large
from notifier.record import Record, Time

State = Literal[
    "ready",  # it works
    "stopped",  # it cannot go on; `detail` says why
]

ROLES = ("router", "runner", "ticker", "delivery")  # those that report
ROLE = "role"  # the kind of the records that are about a process of a role


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
    """What one process says about itself, on `status`, keyed `<kind>/<name>`; of several on one host the newest holds.

    It is written at every change and every ten seconds; a process that ends in order leaves a tombstone.
    """

    kind: str  # ROLE
    name: str  # `<role>@<host>`
    state: State
    at: Time
    detail: str | None = None  # why it is stopped, for people
    problems: dict[str, str] = {}  # noqa: RUF012 - msgspec copies it. `<kind>/<name>` of definitions it cannot use → why
    passed_over: tuple[PassedOver, ...] = ()

    @property
    def role(self) -> str:
        """`router` and the like."""
        return self.name.partition("@")[0]
