"""Exits: how deliveries are written, for each consumer of a configuration and each recipient prepared once.

A delivery is put together from prepared bytes, the message's own among them, and not encoded again, which takes ten times as
long. It is byte for byte what `Delivery.encode` would give:

    {"id":"<producer>/<message id> HEAD <message> ,"message_id":"<id> MIDDLE ,"sender":"…" TAIL ,"not_before":"…" }
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import msgspec

from notifier.catalog import Catalog, Configuration
from notifier.outcome import Reason
from notifier.plugin import Consumer
from notifier.topics import DELIVERIES
from notifier.user import User
from streams.matching import Route
from streams.outputs import Outlet

_json = msgspec.json.encode


def sender_text(name: str) -> bytes:
    """The part of a delivery that says who sent it."""
    return b',"sender":' + _json(name)


class Way:
    """One recipient, or everyone, by one consumer of a configuration."""

    __slots__ = ("exit", "head", "key", "middle", "outlet", "tail")

    def __init__(
        self,
        exit_: "Exit",
        *,
        lane: str,
        user: User | None,
        everyone: Sequence[str] = (),
        address: str | None = None,
        receiver: str | None = None,
    ) -> None:
        recipient = b"*" if user is None else quote(user.username, safe="").encode()
        self.exit = exit_
        self.outlet = exit_.outlet
        self.key = lane.encode()
        self.head = b"".join((exit_.before, recipient, exit_.between, _json(lane), b',"message":'))
        self.middle = (
            b'"'
            + (b"" if user is None else b',"recipient":' + _json(user.username))
            + (b',"recipients":' + _json(list(everyone)) if everyone else b"")
            + (b"" if address is None else b',"address":' + _json(address))
        )
        self.tail = (b"" if receiver is None else b',"receiver":' + _json(receiver)) + b',"attempt":1'


@dataclass(frozen=True, kw_only=True, slots=True)
class Refusal:
    """A delivery that is not made, though the filters let it pass."""

    configuration: Configuration
    consumer: str
    recipient: str | None  # username
    reason: Reason
    detail: str


Ways = tuple[list[Way], list[Refusal]]


class Exit:
    """A consumer of a configuration."""

    __slots__ = (
        "_everyone",
        "_senders",
        "_users",
        "before",
        "between",
        "configuration",
        "consumer",
        "fixed",
        "outlet",
        "plugin",
        "world",
    )

    def __init__(
        self,
        configuration: Configuration,
        consumer: str,
        plugin: Consumer[Any],
        outlet: Outlet,
        senders: dict[str, bytes],
    ) -> None:
        self.configuration = configuration
        self.consumer = consumer
        self.plugin = plugin
        self.outlet = outlet
        self.world = plugin.world_of()
        self.fixed = plugin.fixed_address()  # whether its parameters say where it delivers
        # Of all heads: what stands before the recipient in the delivery's id, and behind it up to the lane.
        self.before = f"/{quote(configuration.name, safe='')}/{quote(consumer, safe='')}/".encode()
        self.between = (
            b'","configuration":'
            + _json(configuration.name)
            + b',"configuration_version":'
            + _json(configuration.version)
            + b',"consumer":'
            + _json(consumer)
            + b',"lane":'
        )
        self._users: dict[str, Way | Refusal] = {}  # by username
        self._everyone: dict[tuple[str, ...], Way] = {}  # by usernames; of a fixed one
        self._senders = senders  # by username; of all exits to its world

    def sender(self, user: User) -> bytes:
        """The part of a delivery that names the sender in the consumer's world; empty where he or she has no name there."""
        text = self._senders.get(user.username)
        if text is None:
            name = user.name_in(self.world)
            text = self._senders[user.username] = b"" if name is None else sender_text(name)
        return text

    def to(self, user: User) -> Way | Refusal:
        """The way to one user, or why there is none."""
        found = self._users.get(user.username)
        if found is None:
            found = self._users[user.username] = self._find(user)
        return found

    def _find(self, user: User) -> Way | Refusal:
        name = user.name_in(self.world)
        address = None if self.fixed else self.plugin.address(user)
        if self.fixed and name is None:
            return self.refusal(user, f"{user.username} has no name in the world {self.world!r}")
        if not self.fixed and address is None:
            return self.refusal(
                user, f"{user.username} has no address for the consumer {self.consumer} (world {self.world!r})"
            )
        lane = self.consumer if self.fixed else address or ""
        return Way(self, lane=lane, user=user, address=address, receiver=name)

    def to_everyone(self, usernames: tuple[str, ...]) -> Way | Refusal:
        """The one way to all of these users together, or to a configuration without users."""
        if not self.fixed:
            return self.refusal(
                None, f"the consumer {self.consumer} writes to people, and the configuration has no users"
            )
        way = self._everyone.get(usernames)
        if way is None:
            if len(self._everyone) > 100:  # who works changes, and many users have many combinations
                self._everyone.clear()
            way = self._everyone[usernames] = Way(self, lane=self.consumer, user=None, everyone=usernames)
        return way

    def refusal(self, user: User | None, detail: str) -> Refusal:
        """No address."""
        return Refusal(
            configuration=self.configuration,
            consumer=self.consumer,
            recipient=None if user is None else user.username,
            reason="no_address",
            detail=detail,
        )


class Exits:
    """The exits of all configurations, made when they are first needed."""

    def __init__(self, catalog: Catalog, outlet: Callable[[str], Outlet]) -> None:
        self._catalog = catalog
        self._outlet = outlet
        self._senders: dict[str, dict[str, bytes]] = {}  # by world and username
        self._known: dict[str, tuple[Configuration, list[Exit], list[str]]] = {}  # by configuration

    def change(self, catalog: Catalog) -> None:
        """Another catalog from now on."""
        if catalog.consumers is not self._catalog.consumers or catalog.users is not self._catalog.users:
            self._known = {}
            self._senders = {}
        self._catalog = catalog

    def to_one(self, route: Route, user: User) -> Ways:
        """How a message for one receiver goes out."""
        exits, gone = self._of(route.configuration)
        return _sorted([exit_.to(user) for exit_ in exits] + _deleted(route.configuration, gone, user))

    def to_all(self, route: Route, users: Sequence[User | None]) -> Ways:
        """How a message without receiver goes out to those for whom it passed; None for a configuration without users."""
        exits, gone = self._of(route.configuration)
        people = [user for user in users if user is not None]
        found: list[Way | Refusal] = []
        for exit_ in exits:
            if exit_.fixed or not people:
                found.append(exit_.to_everyone(tuple([user.username for user in people])))
            else:
                found += [exit_.to(user) for user in people]
        return _sorted(found + _deleted(route.configuration, gone, None))

    def _of(self, configuration: Configuration) -> tuple[list[Exit], list[str]]:
        """The consumers of a configuration, and the names of those that cannot be used."""
        known = self._known.get(configuration.name)
        if known is None or known[0] is not configuration:
            plugins = self._catalog.consumers
            exits = [
                Exit(
                    configuration,
                    name,
                    plugins[name],
                    self._outlet(DELIVERIES + name),
                    self._senders.setdefault(plugins[name].world_of(), {}),
                )
                for name in configuration.spec.consumers
                if name in plugins
            ]
            gone = [name for name in configuration.spec.consumers if name not in plugins]
            known = self._known[configuration.name] = configuration, exits, gone
        return known[1], known[2]


def _deleted(configuration: Configuration, gone: Sequence[str], user: User | None) -> list[Way | Refusal]:
    return [
        Refusal(
            configuration=configuration,
            consumer=name,
            recipient=None if user is None else user.username,
            reason="consumer_deleted",
            detail=f"the consumer {name} cannot be used; its definition is missing or wrong",
        )
        for name in gone
    ]


def _sorted(found: Sequence[Way | Refusal]) -> Ways:
    return [each for each in found if isinstance(each, Way)], [each for each in found if isinstance(each, Refusal)]
