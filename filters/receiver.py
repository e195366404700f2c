"""Receiver: drop messages for people outside the configuration, or outside their working time."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from notifier.outcome import Reason
from notifier.plugin import Candidate, Filter, FilterParameters, Lookup
from notifier.user import User

_ALWAYS = datetime.max.replace(tzinfo=UTC)
_EVERYONE = "the message is for everyone, not for one person"


class ReceiverExistsParameters(FilterParameters):
    """Parameters of `receiver_exists`: none of its own."""


class ReceiverExists(Filter[ReceiverExistsParameters]):
    """Drops a message for a receiver who is not among the configuration's users; one for everyone passes."""

    type = "receiver_exists"
    Parameters = ReceiverExistsParameters

    def accepts(self, candidate: Candidate) -> bool:
        return candidate.receiver is None or candidate.receiver.username in candidate.users

    def lookup(self, users: frozenset[str]) -> Lookup:
        return Lookup(field="receiver", values=users | {None})

    def clause(self) -> str:
        return "the receiver is among the configuration's users"

    def finding(self, candidate: Candidate) -> str:
        if candidate.receiver is None:
            return _EVERYONE
        verb = "is" if candidate.receiver.username in candidate.users else "is not"
        return f"{candidate.receiver.username} {verb} among the configuration's users"


def _check_outside(value: Any) -> Any:
    if value == "hold":
        raise ValueError("holding a message back is not possible yet; write drop")
    return value


class ReceiverWorkingParameters(FilterParameters):
    """Parameters of `receiver_working`."""

    outside: Annotated[Literal["drop"], BeforeValidator(_check_outside)] = Field(
        "drop",
        description="What becomes of a message outside the receiver's working time: `drop`, it is not delivered."
        " Holding it back until the next working time is not possible yet.",
    )


class ReceiverWorking(Filter[ReceiverWorkingParameters]):
    """Drops a message whose receiver is on leave or outside the working time; one for everyone passes.

    Judged at the moment of the decision, on the clock of the receiver's zone.
    """

    type = "receiver_working"
    Parameters = ReceiverWorkingParameters

    def accepts(self, candidate: Candidate) -> bool:
        return candidate.receiver is None or candidate.receiver.works_at(candidate.at)

    def holds_until(self, candidate: Candidate) -> datetime:
        receiver = candidate.receiver
        if receiver is None or receiver.on_leave or receiver.working_time is None:
            return _ALWAYS
        return receiver.working_time.holds_until(candidate.at)

    def reason_for(self, candidate: Candidate) -> Reason:
        """`on_leave` or `outside_hours`; `filtered` where the filter is negated and the receiver works."""
        if self.accepts(candidate):
            return "filtered"
        assert candidate.receiver is not None
        return "on_leave" if candidate.receiver.on_leave else "outside_hours"

    def clause(self) -> str:
        return "the receiver is working"

    def finding(self, candidate: Candidate) -> str:
        receiver = candidate.receiver
        if receiver is None:
            return _EVERYONE
        if receiver.on_leave:
            return f"{receiver.username} is on leave"
        if receiver.working_time is None:
            return f"{receiver.username} is always working"
        verb = "is working" if self.accepts(candidate) else "is not working"
        return f"{receiver.username} {verb} at {_clock(receiver, candidate)}"


def _clock(receiver: User, candidate: Candidate) -> str:
    working_time = receiver.working_time
    assert working_time is not None
    return f"{working_time.local(candidate.at):%a %H:%M}; the working time is {working_time}"
