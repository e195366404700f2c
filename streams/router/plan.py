"""ProducerPlan: what the matcher keeps for one producer: its people, its configurations, and what it has to ask the index.

Who makes plans, and when they are forgotten, is `streams.router.matcher`'s.
"""

from urllib.parse import quote

import msgspec

from notifier.folded import folded
from notifier.group import Group
from notifier.identity import Ambiguous
from notifier.mapping import Mappings
from notifier.message import Message
from notifier.user import User
from streams.router.index import Field, Value
from streams.router.person import Person
from streams.router.route import LABELS, Route

_json = msgspec.json.encode


class World:
    """The people of a world, as its producers name them."""

    __slots__ = ("name", "people", "users")

    def __init__(self, name: str, users: dict[str, User | Group | Ambiguous]) -> None:
        self.name = name
        self.users = users  # by folded name
        self.people: dict[str, Person] = {}  # by the names that messages gave


class ProducerPlan:
    """A producer's people, the configurations that take its messages, and the fields that are looked up for them."""

    __slots__ = (
        "any_receiver", "asks", "attempted", "attempts", "drops", "everyone", "first", "for_all", "for_one", "mappings",
        "name", "number", "people", "readers", "slots", "source", "told", "world",
    )  # fmt: skip

    def __init__(self, name: str, world: World, number: int, slots: int) -> None:
        self.name = name
        self.world = world
        self.people = world.people
        self.number = number  # among the producers that configurations have named; -1: none has
        self.slots = slots  # of the configurations that take its messages
        self.for_one = 0  # messages for one receiver that its configurations considered, since `Matcher.tally`
        self.for_all = 0  # messages without receiver, likewise
        self.mappings: Mappings = ()  # of its messages
        self.readers: tuple[tuple[str, Field], ...] = ()  # the looked-up fields besides the receiver
        # Whether the index has to be asked about each message: some configurations take any receiver, or look up more.
        self.asks = True
        # The configurations that take any receiver, where they are few; see `Matcher`.
        self.any_receiver: tuple[Route, ...] | None = None
        self.everyone: tuple[Route, ...] | None = None  # of messages without receiver, where there are no readers
        self.first: tuple[Route, ...] | None = None  # the first configurations; see `Matcher.considering`
        id_ = quote(name, safe="").encode()
        self.source = b'{"id":"' + id_ + b"/"  # the front of its deliveries
        self.attempted = id_ + b"/"  # the front of an attempt's delivery; see `streams.router.undelivered`
        self.attempts = b'","producer":' + _json(name) + b',"message":"'  # what stands behind it
        # What `streams.router.undelivered` keeps: what it says of all messages that the index drops for their receiver in every
        # configuration, and what it says of each configuration.
        self.told: tuple[bytes, bytes, bytes, bytes] | None = None
        self.drops: dict[Route, bytes] = {}

    def values(self, field: str, message: Message) -> tuple[Value, ...]:
        """A message's values in a looked-up field."""
        if field == "severity":
            return (message.severity,)
        if field == "sender":
            if message.sender is None:
                return (None,)
            given = folded(message.sender)
            user = self.world.users.get(given)
            return (given, folded(user.username)) if isinstance(user, User) else (given,)
        return (message.labels.get(field.removeprefix(LABELS), ""),)
