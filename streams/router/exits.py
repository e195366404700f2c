"""Exits: how deliveries are written, prepared once for each configuration, consumer and recipient.

A delivery is spliced from prepared bytes and the message's own, and not encoded again, which takes ten times as long. It is byte
for byte what `Delivery.encode` would give:

    {"id":"<producer>/<id> NAME BEFORE <recipient> TITLE BETWEEN LANE <message>,"message_id":"<id> WHO ,"sender":… HEARD }

NAME and TITLE are the configuration's. BEFORE and BETWEEN are the consumer's, with the lane where that is the consumer itself.
A contact has the recipient, LANE (where that is the recipient's address), WHO (recipient and address) and HEARD (receiver).
Splicing is left to `streams.router.router`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import msgspec

from notifier.catalog import Catalog, Configuration
from notifier.outcome import Reason
from notifier.plugin import Consumer
from notifier.topics import DELIVERIES
from notifier.user import User
from streams.outputs.outlet import Outlet

_json = msgspec.json.encode
_MESSAGE = b',"message":'
_RECIPIENT = b'","recipient":"'
_RECEIVER = b',"receiver":"'
_ATTEMPT = b',"attempt":1'
_RECEIVED = b'"' + _ATTEMPT
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
    """One recipient's, or everyone's, parts of a delivery. Equal parts are shared."""

    recipient: bytes  # as it stands in the delivery's id
    opening: bytes = b""
    name: bytes = b""
    address: bytes = b'"'
    receives: bytes = _ATTEMPT
    receiver: bytes = b""
    closing: bytes = b""
    lane: bytes = b""  # empty where the consumer itself is the lane
    key: bytes = b""  # the record's key: the lane


def _contact(user: User, *, address: str | None, receiver: str) -> Contact:
    recipient = quote(user.username, safe="").encode()
    name = _same(_json(user.username)[1:-1], recipient)
    contact = Contact(recipient=recipient, opening=_RECIPIENT, name=name, receives=_RECEIVER, closing=_RECEIVED)
    contact.receiver = _same(_json(receiver)[1:-1], name)
    if address is not None:
        contact.address = b'","address":' + _json(address)
        contact.lane = _json(address) + _MESSAGE
        contact.key = address.encode()
    return contact


def _same(text: bytes, other: bytes) -> bytes:
    return other if text == other else text


@dataclass(frozen=True, kw_only=True, slots=True)
class Refusal:
    """A delivery that cannot be made, though the filters let the message pass."""

    configuration: Configuration
    consumer: str
    recipient: str | None  # username
    reason: Reason
    detail: str


Contacts = dict[str, Contact | str]  # by username; a text says why there is no contact


def name_and_title(configuration: Configuration) -> tuple[bytes, bytes]:
    """A configuration's part of a delivery's id, and its part of the rest."""
    title = b'","configuration":' + _json(configuration.name)
    title += b',"configuration_version":' + _json(configuration.version)
    return f"/{quote(configuration.name, safe='')}/".encode(), title


class Exit:
    """A consumer's parts of a delivery, its outlet and its contacts."""

    __slots__ = (
        "_everyone", "_plugin", "_senders", "before", "between", "consumer", "contacts", "key", "outlet",
    )  # fmt: skip

    def __init__(
        self, consumer: str, plugin: Consumer[Any], outlet: Outlet, contacts: Contacts, senders: dict[str, bytes]
    ) -> None:
        self.consumer = consumer
        self.outlet = outlet
        self._plugin = plugin
        # The record's key where the consumer itself is the lane, since its parameters fix the address; else None.
        self.key = consumer.encode() if plugin.fixed_address() else None
        self.before = f"{quote(consumer, safe='')}/".encode()
        self.between = b',"consumer":' + _json(consumer) + b',"lane":'
        if self.key is not None:
            self.between += _json(consumer) + _MESSAGE
        self.contacts = contacts  # shared with the exits that have the same addresses
        self._everyone: dict[tuple[str, ...], Contact] = {}  # by usernames; only where the address is fixed
        self._senders = senders  # by username; shared with the exits that use the same names

    def sender(self, user: User) -> bytes:
        """A sender's part of a delivery, by the name in the consumer's world; empty where there is no such name."""
        text = self._senders.get(user.username)
        if text is None:
            name = self._plugin.name_of(user)
            text = self._senders[user.username] = b"" if name is None else sender_text(name)
        return text

    def to(self, user: User) -> Contact | str:
        """How to write to a user, or why that is not possible."""
        found = self.contacts.get(user.username)
        if found is None:
            found = self.contacts[user.username] = self._find(user)
        return found

    def _find(self, user: User) -> Contact | str:
        address = None
        if self.key is None:
            address = self._plugin.address(user)
            if address is None:
                world = self._plugin.world_of()
                return f"{user.username} has no address for the consumer {self.consumer} (world {world!r})"
        # Who has no name in the consumer's world is called by the one that is known: the address is what matters.
        return _contact(user, address=address, receiver=self._plugin.name_of(user) or user.username)

    def to_everyone(self, usernames: tuple[str, ...]) -> Contact | str:
        """How to write to all of these users together, or for a configuration without users; or why that is not possible."""
        if self.key is None:
            return f"the consumer {self.consumer} writes to people, and the configuration has no users"
        contact = self._everyone.get(usernames)
        if contact is None:
            if len(self._everyone) > 100:  # who is at work changes, and many users have many combinations
                self._everyone.clear()
            contact = self._everyone[usernames] = Contact(recipient=b"*")
            contact.address = b'","recipients":' + _json(list(usernames))
        return contact


class Exits:
    """The exits of all consumers, made when they are first needed."""

    def __init__(self, catalog: Catalog, outlet: Callable[[str], Outlet]) -> None:
        self._catalog = catalog
        self._outlet = outlet
        self._exits: dict[str, Exit] = {}  # by consumer
        self._together: dict[tuple[str, ...], tuple[Exit, ...]] = {}  # by consumers
        self._senders: dict[tuple[str, bool], dict[str, bytes]] = {}  # by names, as below, and username
        # By names (the world, and whether ids are names), and by consumer where they have addresses.
        self._contacts: dict[tuple[tuple[str, bool], str], Contacts] = {}

    def change(self, catalog: Catalog) -> None:
        """Takes another catalog from now on."""
        if catalog.consumers is not self._catalog.consumers or catalog.users is not self._catalog.users:
            self._exits, self._together, self._contacts, self._senders = {}, {}, {}, {}
        self._catalog = catalog

    def to(self, consumers: tuple[str, ...]) -> tuple[Exit, ...]:
        """The exits to some consumers, without consumers that cannot be used."""
        exits = self._together.get(consumers)
        if exits is None:
            exits = tuple([self._to(name) for name in consumers if name in self._catalog.consumers])
            self._together[consumers] = exits
        return exits

    def _to(self, consumer: str) -> Exit:
        found = self._exits.get(consumer)
        if found is None:
            plugin = self._catalog.consumers[consumer]
            names = plugin.world_of(), plugin.shows_ids
            contacts = self._contacts.setdefault((names, "" if plugin.fixed_address() else consumer), {})
            senders = self._senders.setdefault(names, {})
            found = self._exits[consumer] = Exit(
                consumer, plugin, self._outlet(DELIVERIES + consumer), contacts, senders
            )
        return found

    def refusals(self, configuration: Configuration, user: User | None) -> list[Refusal]:
        """The deliveries that cannot be made since their consumer cannot be used."""
        return [
            Refusal(
                configuration=configuration,
                consumer=name,
                recipient=None if user is None else user.username,
                reason="consumer_deleted",
                detail=f"the consumer {name} cannot be used; its definition is missing or wrong",
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
