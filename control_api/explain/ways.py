"""Ways: the deliveries that a configuration makes of a message which its filters let pass, or why one cannot be made.

The plain form of what the router writes (`streams.router.deliveries`); a property test holds the two together.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import msgspec

from filters.decision import Problem
from notifier.catalog import Catalog, Configuration
from notifier.delivery import Delivery, delivery_id
from notifier.errors import RecordError
from notifier.expiry import expired_text, expiry
from notifier.mapping import Step, applied, mapped
from notifier.message import Message
from notifier.outcome import Reason
from notifier.plugin import Consumer
from notifier.reach import called, lacks_address, lacks_consumer, lacks_people
from notifier.user import User


@dataclass(frozen=True, kw_only=True, slots=True)
class Way:
    """One delivery, or why it is not made."""

    consumer: str
    recipient: User | None = None  # none: everyone in `recipients`
    recipients: tuple[str, ...] | None = None
    address: str | None = None
    lane: str | None = None  # none: it is not made
    reason: Reason = "ok"
    text: str = ""  # why it is not made

    def without(self, usernames: Collection[str]) -> "Way":
        """The same, that does not name these among everyone."""
        if self.recipients is None or not usernames:
            return self
        return replace(self, recipients=tuple([name for name in self.recipients if name not in usernames]))


class Made:
    """The ways of a configuration, in the order of its consumers, looked up by the recipient."""

    def __init__(self, found: Iterable[Way] = ()) -> None:
        self._by_consumer: dict[str, dict[str | None, Way]] = {}
        for way in found:
            username = None if way.recipient is None else way.recipient.username
            self._by_consumer.setdefault(way.consumer, {})[username] = way

    def of(self, username: str | None) -> list[Way]:
        """Those for this user, and those for everyone."""
        found = [ways_.get(username) or ways_.get(None) for ways_ in self._by_consumer.values()]
        return [way for way in found if way is not None]


def ways(
    catalog: Catalog, configuration: Configuration, passed: Sequence[User | None], *, to_all: bool
) -> Iterator[Way]:
    """What is made for those whom a message passed for, in time or not; `to_all`: the message names no receiver."""
    people = [user for user in passed if user is not None]
    for name in configuration.spec.consumers if passed else ():
        consumer = catalog.consumers.get(name)
        if consumer is None:
            for user in [None] if to_all else people:
                yield Way(consumer=name, recipient=user, reason="consumer_deleted", text=lacks_consumer(name))
        elif to_all and (not people or consumer.fixed_address()):
            yield _to_everyone(name, consumer, people)
        else:
            for user in people:
                yield _to_one(name, consumer, user)


def _to_everyone(name: str, consumer: Consumer[Any], people: Sequence[User]) -> Way:
    if not consumer.fixed_address():
        return Way(consumer=name, reason="no_address", text=lacks_people(name))
    return Way(consumer=name, recipients=tuple([user.username for user in people]), lane=name)


def _to_one(name: str, consumer: Consumer[Any], user: User) -> Way:
    if consumer.fixed_address():
        return Way(consumer=name, recipient=user, lane=name)
    address = consumer.address(user)
    if address is None:
        text = lacks_address(user.username, name, consumer.world_of())
        return Way(consumer=name, recipient=user, reason="no_address", text=text)
    return Way(consumer=name, recipient=user, address=address, lane=address)


@dataclass(frozen=True, kw_only=True, slots=True)
class Told:
    """A message as it lies on the topic."""

    message: Message
    value: bytes  # its JSON, unknown fields included
    id: str  # its own, or the one that its place on the topic gives it
    written_at: datetime | None = None  # none: it does not lie on the topic


def as_mapped(catalog: Catalog, told: Told) -> tuple[Told, Sequence[Step], Problem | None]:
    """The message as mappings make it, what each of them set, and why the router takes no such message.

    What the mappings make of a message is not to be mapped again.
    """
    mappings = catalog.mappings_of(told.message.producer)
    _, steps = applied(mappings, told.message)
    if not steps:
        return told, (), None
    try:
        message, value = mapped(mappings, told.message, told.value)
    except RecordError as error:
        return told, (), Problem(reason=error.reason, text=str(error))
    return replace(told, message=message, value=value), steps, None


def in_time(
    found: Iterable[Way], told: Told, catalog: Catalog, configuration: Configuration, at: datetime
) -> Iterator[Way]:
    """The ways, without those that a message would go too late at a moment: of these, why they are not made."""
    for way in found:
        expires_at = None if way.lane is None else expiry_of(told, configuration, catalog.consumers[way.consumer], at)
        if expires_at is not None and expires_at <= at:
            yield replace(way, lane=None, reason="expired", text=expired_text(way.consumer, expires_at))
        else:
            yield way


def expiry_of(told: Told, configuration: Configuration, consumer: Consumer[Any], at: datetime) -> datetime | None:
    """When a delivery by a consumer expires; None: never. `at` is the moment of the decision."""
    written = at if told.written_at is None else min(told.written_at, at)
    return expiry(told.message.expires_at, written, configuration.spec.ttl_s, consumer.policy.ttl_s)


def delivery_of(
    way: Way, told: Told, configuration: Configuration, consumer: Consumer[Any], sender: User | None, at: datetime
) -> Delivery:
    """The delivery as the consumer gets it; `sender` as a user, where it is one; `at` is the moment of the decision."""
    message, user = told.message, way.recipient
    assert way.lane is not None
    return Delivery(
        id=delivery_id(
            message.producer, told.id, configuration.name, way.consumer, None if user is None else user.username
        ),
        configuration=configuration.name,
        configuration_version=configuration.version,
        consumer=way.consumer,
        lane=way.lane,
        message=msgspec.Raw(told.value),
        message_id=told.id,
        recipient=None if user is None else user.username,
        recipients=way.recipients,
        address=way.address,
        sender=(None if sender is None else consumer.name_of(sender)) or message.sender,
        receiver=None if user is None else called(consumer, user),
        not_before=message.not_before,
        expires_at=expiry_of(told, configuration, consumer, at),
    )
