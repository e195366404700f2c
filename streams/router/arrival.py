"""Arrival: the record that is being routed, read as a message and matched. What the router's steps pass on to each other."""

from datetime import datetime

from notifier.message import Message
from streams.inputs.batch import Batch, Record
from streams.router.plan import Path, ProducerPlan


class Arrival:
    """A message, where it came from, and what the matcher says about it.

    One object serves all messages of a slice, and its fields are set for each: an object for each message costs 0.1 µs more.
    So nobody may keep it.
    """

    __slots__ = ("at", "batch", "message", "message_id", "path", "plan", "record", "value")

    record: Record
    value: bytes  # the record's
    message: Message
    message_id: str  # its own, or the one that its place on the topic gives it
    plan: ProducerPlan
    path: Path

    def __init__(self, batch: Batch, at: datetime) -> None:
        self.batch = batch
        self.at = at  # when the slice is judged
