"""Exits: how deliveries are written, prepared once for each configuration, consumer and recipient.

A delivery is spliced from prepared bytes and the message's own, and not encoded again, which takes ten times as long. It is byte
for byte what `Delivery.encode` would give:

    {"id":"<producer>/<id> BEFORE <recipient> TITLE LANE <message>,"message_id":"<id> WHO ,"sender":… HEARD }

BEFORE and TITLE are a leg's: of a configuration and one of its consumers, with the lane where that is the consumer itself. A
contact has the recipient, LANE (where that is the recipient's address), WHO (recipient and address) and HEARD (receiver).
Splicing is left to `streams.router.router`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import msgspec

from notifier.catalog import Catalog, Configuration
from notifier.expiry import shortest
from notifier.outcome import Reason
from notifier.plugin import Consumer
from notifier.reach import called, lacks_address, lacks_consumer, lacks_people
from notifier.topics import DELIVERIES
from notifier.user import User
from streams.outputs.outlet import Outlet
from streams.outputs.partitioner import hashed
from streams.router.person import Person

_json = msgspec.json.encode
_MESSAGE = b',"message":'
_ATTEMPT = b',"attempt":1'
# Characters that need neither percent-encoding in an id (see `urllib.parse.quote`) nor escaping in JSON.
PLAIN = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-~"


def id_parts(message_id: str) -> tuple[bytes, bytes]:
    """A message's id as it stands in a delivery's id, and within a JSON string."""
    text = message_id.encode()
    if not text.translate(None, PLAIN):
        return text, text
    return quote(message_id, safe="").encode(), _json(message_id)[1:-1]


def sender_text(name: str) -> bytes:
    """A sender's part of a delivery."""
    return b',"sender":' + _json(name)


class Contact(msgspec.Struct, gc=False, eq=False):  # there may be many, and none is in a circle
    """One recipient's, or everyone's, parts of a delivery."""

    recipient: bytes  # as it stands in the delivery's id
    who: bytes = b'"'
    heard: bytes = _ATTEMPT
    lane: bytes = b""  # empty where the consumer itself is the lane
    key: bytes = b""  # the record's key: the lane
    hashed: int = 0  # of the key


def _contact(user: User, *, address: str | None, receiver: str) -> Contact:
    contact = Contact(
        recipient=quote(user.username, safe="").encode(),
        who=b'","recipient":' + _json(user.username),
        heard=b',"receiver":' + _json(receiver) + _ATTEMPT,
    )
    if address is not None:
        contact.who += b',"address":' + _json(address)
        contact.lane = _json(address) + _MESSAGE
        contact.key = _same(address.encode(), contact.recipient)
        contact.hashed = hashed(contact.key)
    return contact


@dataclass(frozen=True, kw_only=True, slots=True)
class Refusal:
    """A delivery that cannot be made, though the filters let the message pass."""

    configuration: Configuration
    consumer: str
    recipient: str | None  # username
    reason: Reason
    detail: str


def _same(text: bytes, other: bytes) -> bytes:
    """Equal texts as one object, which the processor's cache holds once."""
    return other if text == other else text


class Names:
    """How the consumers of a world call people."""

    def __init__(self, plugin: Consumer[Any]) -> None:
        self._plugin = plugin  # one of the consumers
        self._said: dict[str, bytes] = {}  # by username

    def said(self, person: Person) -> bytes:
        """A sender's part of a delivery; empty where the user has no such name."""
        assert person.user is not None
        text = self._said.get(person.username)
        if text is None:
            name = self._plugin.name_of(person.user)
            text = self._said[person.username] = b"" if name is None else sender_text(name)
        person.said, person.names = text, self
        return text


class Addresses:
    """How some consumers reach people: all that reach them at the same addresses under the same names."""

    def __init__(self, plugin: Consumer[Any], *, fixed: bool) -> None:
        self._plugin = plugin  # one of the consumers
        self.fixed = fixed
        self._contacts: dict[str, Contact | None] = {}  # by username

    @property
    def world(self) -> str:
        """The world of the addresses."""
        return self._plugin.world_of()

    def to(self, user: User) -> Contact | None:
        """How to write to a user; None where the user has no address."""
        if user.username not in self._contacts:
            self._contacts[user.username] = self._find(user)
        return self._contacts[user.username]

    def _find(self, user: User) -> Contact | None:
        address = None if self.fixed else self._plugin.address(user)
        if address is None and not self.fixed:
            return None
        return _contact(user, address=address, receiver=called(self._plugin, user))


class Exit:
    """A consumer: its outlet, and how it reaches people."""

    __slots__ = ("_everyone", "addresses", "consumer", "fixed", "hashed", "key", "names", "outlet")

    def __init__(self, consumer: str, outlet: Outlet, addresses: Addresses, names: Names) -> None:
        self.consumer = consumer
        self.outlet = outlet
        self.addresses = addresses
        self.names = names
        self.fixed = addresses.fixed  # whether the consumer's parameters fix the address; then it is itself the lane
        self.key = consumer.encode()  # of every record, if so
        self.hashed = hashed(self.key)
        self._everyone: dict[tuple[str, ...], Contact] = {}  # by usernames; only where the address is fixed

    def to(self, person: Person) -> Contact | str:
        """How to write to a person, or why that is not possible. Keeps what it finds with the person."""
        assert person.user is not None
        found = self.addresses.to(person.user)
        if found is None:
            return lacks_address(person.username, self.consumer, self.addresses.world)
        person.contact, person.addresses = found, self.addresses
        return found

    def to_everyone(self, usernames: tuple[str, ...]) -> Contact | str:
        """How to write to all of these users together, or for a configuration without users; or why that is not possible."""
        if not self.fixed:
            return lacks_people(self.consumer)
        contact = self._everyone.get(usernames)
        if contact is None:
            if len(self._everyone) > 100:  # who is at work changes, and many users have many combinations
                self._everyone.clear()
            contact = self._everyone[usernames] = Contact(recipient=b"*")
            contact.who = b'","recipients":' + _json(list(usernames))
        return contact


class Leg(msgspec.Struct, gc=False, eq=False):  # there may be many, and none is in a circle
    """The way from a configuration to one of its consumers."""

    exit: Exit
    before: bytes
    title: bytes
    ttl_s: float | None  # age at which what goes this way expires


class Exits:
    """The exits of all consumers, made when they are first needed."""

    def __init__(self, catalog: Catalog, outlet: Callable[[str], Outlet]) -> None:
        self._catalog = catalog
        self._outlet = outlet
        self._exits: dict[str, Exit] = {}  # by consumer
        self._names: dict[object, Names] = {}  # by the world, and whether ids are names
        self._addresses: dict[object, Addresses] = {}  # by what a consumer says of them, see `Consumer.addressing`

    def change(self, catalog: Catalog) -> None:
        """Takes another catalog from now on."""
        if catalog.consumers is not self._catalog.consumers or catalog.users is not self._catalog.users:
            self._exits, self._names, self._addresses = {}, {}, {}
        self._catalog = catalog

    def legs(self, configuration: Configuration) -> tuple[Leg, ...]:
        """The ways to a configuration's consumers, without consumers that cannot be used."""
        name = f"/{quote(configuration.name, safe='')}/"
        title = b'","configuration":' + _json(configuration.name)
        title += b',"configuration_version":' + _json(configuration.version)
        legs = []
        for consumer in configuration.spec.consumers:
            if consumer in self._catalog.consumers:
                exit_ = self._to(consumer)
                between = title + b',"consumer":' + _json(consumer) + b',"lane":'
                if exit_.fixed:
                    between += _json(consumer) + _MESSAGE
                ttl_s = shortest(configuration.spec.ttl_s, self._catalog.consumers[consumer].policy.ttl_s)
                legs.append(Leg(exit_, f"{name}{quote(consumer, safe='')}/".encode(), between, ttl_s))
        return tuple(legs)

    def _to(self, consumer: str) -> Exit:
        found = self._exits.get(consumer)
        if found is None:
            plugin = self._catalog.consumers[consumer]
            fixed = plugin.fixed_address()
            as_usual = type(plugin).name_of is Consumer.name_of
            kind = (plugin.world_of(), plugin.shows_ids) if as_usual else plugin
            names = self._names.setdefault(kind, Names(plugin))
            reached = (kind, fixed, None if fixed else plugin.addressing())
            addresses = self._addresses.setdefault(reached, Addresses(plugin, fixed=fixed))
            found = self._exits[consumer] = Exit(consumer, self._outlet(DELIVERIES + consumer), addresses, names)
        return found

    def refusals(self, configuration: Configuration, user: User | None) -> list[Refusal]:
        """The deliveries that cannot be made since their consumer cannot be used."""
        return [
            Refusal(
                configuration=configuration,
                consumer=name,
                recipient=None if user is None else user.username,
                reason="consumer_deleted",
                detail=lacks_consumer(name),
            )
            for name in configuration.spec.consumers
            if name not in self._catalog.consumers
        ]


def no_address(configuration: Configuration, exit_: Exit, user: User | None, detail: str) -> Refusal:
    """The delivery that cannot be made since there is no contact."""
    return Refusal(
        configuration=configuration,
        consumer=exit_.consumer,
        recipient=None if user is None else user.username,
        reason="no_address",
        detail=detail,
    )
