"""Deliveries: what a router writes of a message that the filters let pass: to its receiver, or to everyone in a configuration."""

from collections.abc import Iterator, Sequence
from datetime import datetime

import msgspec

from notifier.catalog import Catalog
from notifier.delivery import Delivery
from notifier.expiry import expiry, written_at
from notifier.user import User
from streams.outputs.outputs import MAX_RECORD_BYTES, Outputs
from streams.router.arrival import Arrival
from streams.router.exits import Contact, Exits, Leg, no_address, sender_text
from streams.router.matcher import Matcher
from streams.router.person import Person
from streams.router.route import Route
from streams.router.undelivered import Undelivered

SLICE_BYTES = 2 * 1024 * 1024  # that are written before other tasks get a turn: some 5,000 deliveries, which take 15 ms
MANY = 32  # configurations, or recipients, of one message between two looks at whether others should have a turn
_SENDERS = 20_000  # names whose texts are remembered


class Deliveries:
    """Puts deliveries into the outlets of their topics. Waits for nothing."""

    def __init__(self, catalog: Catalog, outputs: Outputs, matcher: Matcher, undelivered: Undelivered) -> None:
        self._exits = Exits(catalog, outputs.outlet)
        self._touched = outputs.touched
        self._matcher = matcher
        self._undelivered = undelivered
        self._senders: dict[str, bytes] = {}  # the part of a delivery about a sender who is no user, by name
        self.made = 0  # bytes, since the router has set it to 0

    def change(self, catalog: Catalog) -> None:
        """Takes another catalog from now on."""
        self._exits.change(catalog)

    def to_one(self, arrival: Arrival, route: Route, person: Person) -> bool:
        """Delivers a message that a configuration lets pass for its receiver; says whether anything was written."""
        legs = self._legs_of(route) if route.legs is None else route.legs
        for leg in legs:
            exit_ = leg.exit
            contact = person.contact if person.addresses is exit_.addresses else exit_.to(person)
            if isinstance(contact, Contact):
                self._write(arrival, leg, contact)
            else:
                self._undelivered.refuse(arrival, [no_address(route.configuration, exit_, person.user, contact)])
        if route.lacking:
            self._undelivered.refuse(arrival, self._exits.refusals(route.configuration, person.user))
            return True
        return bool(legs)

    def _legs_of(self, route: Route) -> tuple[Leg, ...]:
        legs: tuple[Leg, ...] | None = route.legs
        if legs is None:
            legs = route.legs = self._exits.legs(route.configuration)
            route.lacking = len(legs) < len(route.configuration.spec.consumers)
        return legs

    def to_all(self, arrival: Arrival, route: Route, passed: Sequence[User | None]) -> Iterator[None]:
        """Delivers a message that names no receiver to those for whom it passed; None for a configuration without users.

        Gives nothing for every `MANY` that it has written, and at the end, so that the caller may do something else meanwhile.
        """
        people = [user for user in passed if user is not None]
        for leg in self._legs_of(route):
            exit_ = leg.exit
            if exit_.fixed or not people:
                self._deliver(arrival, route, leg, None, exit_.to_everyone(tuple([user.username for user in people])))
                continue
            for count, user in enumerate(people, start=1):
                person = self._matcher.person_of(user)
                contact = person.contact if person.addresses is exit_.addresses else exit_.to(person)
                self._deliver(arrival, route, leg, user, contact)
                if count % MANY == 0 or self.made >= SLICE_BYTES:
                    yield
        if route.lacking:
            self._undelivered.refuse(arrival, self._exits.refusals(route.configuration, None))
        yield

    def _deliver(self, arrival: Arrival, route: Route, leg: Leg, user: User | None, contact: Contact | str) -> None:
        if isinstance(contact, Contact):
            self._write(arrival, leg, contact)
        else:
            self._undelivered.refuse(arrival, [no_address(route.configuration, leg.exit, user, contact)])

    def _write(self, arrival: Arrival, leg: Leg, contact: Contact) -> None:
        """Splices a delivery and puts it into its queue; see `streams.router.exits` for the parts."""
        message, plan, exit_ = arrival.message, arrival.plan, leg.exit
        said, name, ending = b"", message.sender, b"}"
        if name is not None:
            sender = plan.people.get(name) or self._matcher.person(plan, name)
            if sender.names is exit_.names:
                said = sender.said
            elif sender.user is not None:
                said = exit_.names.said(sender)
            said = said or self._unknown(name)
        if message.not_before is not None or message.expires_at is not None or leg.ttl_s is not None:
            expires_at, ending = _times(arrival, leg)
            if expires_at is not None and expires_at <= arrival.at:
                self._undelivered.expire(arrival, _without_message(arrival, leg, contact), expires_at)
                return
        delivery = b"".join(
            (
                plan.source, arrival.in_id, leg.before, contact.recipient, leg.title, contact.lane, arrival.value,
                b',"message_id":"', arrival.in_json, contact.who, said, contact.heard, ending,
            )
        )  # fmt: skip
        if len(delivery) > MAX_RECORD_BYTES:
            error = f"its delivery has {len(delivery)} bytes, and a record at most {MAX_RECORD_BYTES}"
            self._undelivered.bury_delivery(arrival, msgspec.json.decode(delivery)["id"], error)
            return
        self.made += len(delivery)
        lane = exit_ if exit_.fixed else contact
        # As `Outlet.put`, without the call, and with a hash that is known.
        queues = exit_.outlet.queues
        queue = queues[lane.hashed % len(queues)]
        queue.keys.append(lane.key)
        queue.values.append(delivery)
        self._touched.add(queue)

    def sender(self, arrival: Arrival) -> Person | None:
        """Who sent a message, or nobody under that name; None where the message does not say."""
        name, plan = arrival.message.sender, arrival.plan
        return None if name is None else plan.people.get(name) or self._matcher.person(plan, name)

    def _unknown(self, name: str) -> bytes:
        text = self._senders.get(name)
        if text is None:
            if len(self._senders) >= _SENDERS:
                self._senders.clear()
            text = self._senders[name] = sender_text(name)
        return text


def _times(arrival: Arrival, leg: Leg) -> tuple[datetime | None, bytes]:
    """When a delivery expires, and its end with the times that it has."""
    message, ending = arrival.message, b""
    expires_at = expiry(message.expires_at, written_at(arrival.record.timestamp, arrival.at), leg.ttl_s)
    if message.not_before is not None:
        ending = b',"not_before":' + msgspec.json.encode(message.not_before)
    if expires_at is not None:
        ending += b',"expires_at":' + msgspec.json.encode(expires_at)
    return expires_at, ending + b"}"


def _without_message(arrival: Arrival, leg: Leg, contact: Contact) -> Delivery:
    """What a delivery would say besides its message."""
    return Delivery.decode(
        b"".join(
            (
                arrival.plan.source, arrival.in_id, leg.before, contact.recipient, leg.title,
                contact.lane, b"{}",
                b',"message_id":"', arrival.in_json, contact.who, b"}",
            )
        )
    )  # fmt: skip
