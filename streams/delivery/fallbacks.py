"""Fallbacks: what a consumer's fallback is to get in its place, by the newest definitions.

A delivery to a fallback has an id of its own, which is always the same: who is to get it for a second time, after a crash or
since the configuration names that consumer too, does not get it twice. In a chain the last one's failure is the dead letter,
which names the others. Pure, without I/O; `streams.delivery.endings` writes the deliveries.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import msgspec

from notifier.catalog import Catalog
from notifier.definition import definition_key
from notifier.delivery import Delivery, delivery_id
from notifier.errors import RecordError
from notifier.folded import folded
from notifier.plugin import Consumer
from notifier.reach import called, lacks_address, lacks_people
from notifier.user import User


@dataclass(frozen=True, kw_only=True, slots=True)
class Unreached:
    """A delivery that the fallback cannot make."""

    delivery: Delivery
    text: str  # why, for people


@dataclass(frozen=True, kw_only=True, slots=True)
class Handover:
    """What the fallback gets; nothing where `made` is empty."""

    consumer: str  # the fallback
    made: Sequence[Delivery] = ()
    unreached: Sequence[Unreached] = ()
    text: str = ""  # why it gets nothing, for people


class Fallbacks:
    """Makes the deliveries to fallbacks by the newest catalog; `follow` takes each new one."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def follow(self, catalog: Catalog) -> None:
        """Takes a new catalog."""
        self._catalog = catalog

    def can_take(self, name: str) -> bool:
        """Whether a consumer is defined and can be used."""
        return name in self._catalog.consumers

    def handover(self, delivery: Delivery, name: str) -> Handover:
        """What the consumer of that name gets in the place of the one that did not take a delivery. Does not raise."""
        consumer = self._catalog.consumers.get(name)
        given_up_by = (*delivery.given_up_by, delivery.consumer)
        if name in given_up_by:  # it was its fallback before the definitions changed
            return Handover(consumer=name, text=f"{name} did not take it before")
        if consumer is None:
            problem = self._catalog.problems.get(definition_key("consumer", name), "it is not defined")
            return Handover(consumer=name, text=f"it cannot be used: {problem}")
        try:
            base = msgspec.structs.replace(
                delivery,
                consumer=name,
                sender=self._sender(delivery, consumer),
                attempt=1,
                spared=0,
                not_before=None,
                why=None,
                fallback_of=delivery.id,
                given_up_by=given_up_by,
            )
            found = list(self._deliveries(base, consumer))
        except Exception as error:  # a plugin's fault
            return Handover(
                consumer=name, text=f"its plugin failed: {consumer.mask(str(error)) or type(error).__name__}"
            )
        made = [one for one in found if isinstance(one, Delivery)]
        unreached = [one for one in found if isinstance(one, Unreached)]
        return Handover(
            consumer=name, made=made, unreached=unreached, text="; ".join(one.text for one in unreached[:5])
        )

    def _deliveries(self, base: Delivery, consumer: Consumer[Any]) -> Iterable[Delivery | Unreached]:
        if base.recipient is not None:
            yield self._to_one(base, consumer, base.recipient)
        elif consumer.fixed_address():
            yield _addressed(base, None, lane=base.consumer, address=None, receiver=None)
        elif not base.recipients:
            yield Unreached(delivery=base, text=lacks_people(base.consumer))
        else:
            for username in base.recipients:
                yield self._to_one(base, consumer, username)

    def _to_one(self, base: Delivery, consumer: Consumer[Any], username: str) -> Delivery | Unreached:
        name = base.consumer
        user = self._catalog.users.get(username)
        if consumer.fixed_address():
            receiver = username if user is None else called(consumer, user)
            return _addressed(base, username, lane=name, address=None, receiver=receiver)
        address = None if user is None else consumer.address(user)
        if user is None or address is None:
            text = lacks_address(username, name, consumer.world_of())
            return Unreached(delivery=_addressed(base, username, lane=name, address=None, receiver=None), text=text)
        return _addressed(base, username, lane=address, address=address, receiver=called(consumer, user))

    def _sender(self, delivery: Delivery, consumer: Consumer[Any]) -> str | None:
        """What a consumer calls who sent it; the name that the producer gave where that is nobody's."""
        try:
            message = delivery.read_message()
        except RecordError:  # the consumer says so
            return delivery.sender
        producer = self._catalog.producers.get(message.producer)
        if producer is None or message.sender is None:
            return message.sender
        known = self._catalog.directory.world(producer.world_of()).get(folded(message.sender))
        return (consumer.name_of(known) if isinstance(known, User) else None) or message.sender


def _addressed(
    base: Delivery, username: str | None, *, lane: str, address: str | None, receiver: str | None
) -> Delivery:
    producer = unquote(base.id.partition("/")[0])  # the message itself may be unreadable
    return msgspec.structs.replace(
        base,
        id=delivery_id(producer, base.message_id, base.configuration, base.consumer, username),
        lane=lane,
        recipient=username,
        recipients=base.recipients if username is None else None,
        address=address,
        receiver=receiver,
    )


def repeat_text(delivery: Delivery) -> str | None:
    """Why a fallback does not get what it has already, for people; None of any other delivery."""
    if not delivery.given_up_by:
        return None
    return f"{delivery.consumer} has accepted it already; it came again as the fallback of {delivery.given_up_by[-1]}"
