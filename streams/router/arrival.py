"""Arrival: the record that is being routed, read as a message and matched. What the router's steps pass on to each other."""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from notifier.mapping import Mappings, mapped
from notifier.message import Message
from streams.inputs.batch import Batch, Record
from streams.router.person import Person
from streams.router.plan import ProducerPlan
from streams.router.route import Route


class Arrival:
    """A message, where it came from, and what the matcher says about it.

    One object serves all messages of a slice, and its fields are set for each: an object for each message costs 0.1 µs more.
    So nobody may keep it.
    """

    __slots__ = (
        "at", "batch", "in_id", "in_json", "message", "message_id", "moment", "origin", "person", "plan", "record", "remained",
        "routes", "value",
    )  # fmt: skip

    at: datetime  # when it is judged
    moment: bytes
    record: Record
    value: bytes  # the JSON of the message: the record's, or as mappings made it
    message: Message
    message_id: str  # its own, or the one that its place on the topic gives it
    in_id: bytes  # the same as it stands in a delivery's id
    in_json: bytes  # the same within a JSON string
    plan: ProducerPlan
    person: Person | None  # the receiver
    routes: Sequence[Route]  # that may remain: those of the receiver, also of other producers
    remained: int  # how many of them the index did not drop

    def __init__(self, batch: Batch) -> None:
        self.batch = batch
        # The part of an attempt that tells where the record came from.
        topic = msgspec.json.encode(batch.topic)
        self.origin = b'","origin":{"topic":%b,"partition":%d,"offset":' % (topic, batch.partition)

    def apply(self, mappings: Mappings) -> Message:
        """The message as mappings make it, which it is from here on. Raises as `mapped` does."""
        self.message, self.value = mapped(mappings, self.message, self.value)
        return self.message

    def begin(self, at: datetime) -> None:
        """What comes now is judged at this moment."""
        self.at = at
        # The part of an attempt from the reason on.
        self.moment = b'","started_at":%b,"ended_at":%b,"number":1' % (2 * (msgspec.json.encode(at),))
