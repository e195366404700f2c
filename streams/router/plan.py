"""ProducerPlan: what the matcher keeps for one producer, so that most of its messages cost one look into a dictionary.

A **path** is the index's answer for one receiver, or for everyone: the routes that remain. Messages that agree in producer,
receiver and the looked-up fields share a path. Producers of one world with the same configurations share their paths
(`SharedPaths`) and their counts (`Considered`). Who makes plans, and when they are forgotten, is `streams.router.matcher`'s.
"""

from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

import msgspec

from notifier.folded import folded
from notifier.identity import Ambiguous
from notifier.message import Message
from notifier.outcome import Reason
from notifier.user import User
from streams.router.index import NOTHING_NAMED, Field, Value, slots_of
from streams.router.route import LABELS, Route

MAX_SENDERS = 50_000  # names whose users are remembered, for each world


class Path(msgspec.Struct, gc=False, eq=False):
    """The index's answer for one receiver, or for everyone."""

    routes: tuple[Route, ...] = ()  # that the index does not drop, in the order of their names
    receiver: User | None = None  # None: the message names nobody, or nobody who is known
    username: str = ""  # the receiver's
    problem: tuple[Reason, str] | None = None  # why no configuration considers the message, also in words


class SharedPaths:
    """The paths of all producers of one world with the same configurations."""

    __slots__ = ("any_receiver", "members", "paths", "routes")

    def __init__(self, slots: int, receivers: Field | None) -> None:
        self.any_receiver = slots if receivers is None else slots & receivers.usually  # slots that take any receiver
        self.members = frozenset(() if self.any_receiver else slots_of(slots))
        self.paths: dict[Any, Path] = {}  # by `ProducerPlan.key`
        self.routes: dict[tuple[Route, ...], tuple[Route, ...]] = {}  # equal tuples of paths, once each


class Considered:
    """Counts the messages that the same configurations considered, since `Matcher.tally`."""

    __slots__ = ("for_all", "for_one", "routes")

    def __init__(self, routes: Iterable[Route]) -> None:
        self.routes = [(route.configuration.name, route) for route in routes]
        self.for_one = 0
        self.for_all = 0  # messages without receiver

    def dropped(self) -> dict[str, int]:
        """The recipients whom the index dropped, by configuration; sets the counts to zero.

        Considered messages minus hits. Routes are shared: surplus hits belong to another counter, and stay for it. Called
        once a second for up to ten thousand routes, so it makes no object that Python's garbage collector tracks.
        """
        for_one, for_all = self.for_one, self.for_all
        self.for_one = self.for_all = 0
        found: dict[str, int] = {}
        for name, route in self.routes:
            count = for_one - route.hits
            if count < 0:
                route.hits, count = -count, 0
            elif route.hits:
                route.hits = 0
            if for_all:
                missed = for_all - route.hits_of_all
                route.hits_of_all = max(0, -missed)
                count += max(0, missed) * (len(route.configuration.spec.users) or 1)
            if count:
                found[name] = count
        return found


class World(msgspec.Struct, frozen=True, eq=False):
    """The people of a producer's world."""

    name: str
    users: dict[str, User | Ambiguous]  # by folded name in the world
    senders: dict[str, User | None]  # by the name that a message gives; all producers of the world share it


class ProducerPlan:
    """A producer's people, the configurations that take its messages, and the fields that are looked up for them."""

    __slots__ = (
        "addressed", "considered", "drops", "first", "name", "names", "paths", "readers", "senders", "shared", "slots",
        "source", "suppressed", "world",
    )  # fmt: skip

    def __init__(self, name: str, world: World, slots: int, shared: SharedPaths, considered: Considered) -> None:
        self.name = name
        self.world = world.name
        self.names = world.users
        self.senders = world.senders
        self.slots = slots  # of the configurations that take its messages
        self.first: tuple[Route, ...] | None = None  # of those, in the order of their names; see `Matcher.considering`
        self.readers: tuple[tuple[str, Field], ...] = ()  # the looked-up fields besides the receiver
        self.shared = shared
        self.paths = shared.paths
        self.addressed: dict[Any, Path] = {}  # paths of messages that name their configuration
        self.source = b'{"id":"' + quote(name, safe="").encode() + b"/"  # the front of its deliveries
        self.suppressed: dict[Any, Any] = {}  # prepared attempts; see `streams.router.undelivered`
        self.drops: dict[Route, str] = {}  # see `Matcher.drop_of_index`
        self.considered = considered

    def sender(self, name: str) -> User | None:
        """The user who sent a message, where the name is a user's."""
        try:
            return self.senders[name]
        except KeyError:
            if len(self.senders) >= MAX_SENDERS:
                self.senders.clear()
            known = self.names.get(folded(name))
            user = self.senders[name] = known if isinstance(known, User) else None
            return user

    def values(self, field: str, message: Message) -> tuple[Value, ...]:
        """A message's values in a looked-up field."""
        if field == "severity":
            return (message.severity,)
        if field == "sender":
            if message.sender is None:
                return (None,)
            user = self.sender(message.sender)
            given = folded(message.sender)
            return (given,) if user is None else (given, folded(user.username))
        return (message.labels.get(field.removeprefix(LABELS), ""),)

    def key(self, message: Message) -> tuple[Any, ...]:
        """What messages on the same path have in common. All values that no filter names count as one."""
        parts: list[Any] = [message.receiver]
        for field, index in self.readers:
            known = index.values
            if field == "severity":
                value: Value = message.severity
                parts.append(value if value in known else NOTHING_NAMED)
            else:
                parts.append(tuple([value for value in self.values(field, message) if value in known]))
        return tuple(parts)
