"""Report: what a dry run has found so far, and the samples that show it."""

import msgspec

from notifier.record import Time

MOST_SAMPLES = 100  # of each kind


class Sample(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A delivery that only one of the two versions makes."""

    producer: str
    message: str  # its id
    at: Time  # when it was written, which is its clock
    text: str  # its title, or the beginning of its content
    consumer: str
    recipient: str | None = None  # username; none: everyone at once
    why: str  # in words: what the other version says


class Samples(msgspec.Struct, kw_only=True):
    """The first deliveries that are added and that are dropped."""

    added: list[Sample] = msgspec.field(default_factory=list)
    dropped: list[Sample] = msgspec.field(default_factory=list)

    def count(self) -> int:
        """How many there are."""
        return len(self.added) + len(self.dropped)


class Report(msgspec.Struct, kw_only=True):
    """What was found. Without a draft `would_deliver` is what the stored version delivers, and nothing is added or dropped."""

    progress: float = 0.0  # part of the records that were read, 0 to 1
    messages: int = 0  # records that lie in the span
    considered: int = 0  # messages that one of the versions takes
    unreadable: int = 0  # records that are no messages, or that a plugin raised for; they make no delivery
    failed: int = 0  # messages that a filter of the draft cannot judge: a router makes dead letters of them
    would_deliver: int = 0  # deliveries by the draft
    delivers_now: int = 0  # deliveries by the stored version
    added: int = 0  # deliveries by the draft alone
    dropped: int = 0  # deliveries by the stored version alone
