"""Decision: which configurations consider a message, for whom it passes their filters, and which filter dropped it.

The plain algorithm: the mappings of the message's producer are applied (`notifier.mapping`), and each configuration that names
the producer judges what they make of it, filter by filter (`filters.chain`). The router does not run it: its compiled form
(`streams.router`) is quicker, and a property test holds it to this reference. What explains a message does
(`control_api.explain`). Deliveries, attempts and dead letters are made by the router.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeAlias, get_args

from filters.chain import AnyFilter, Chain, FilterFailed, Unusable
from notifier.catalog import Catalog, Configuration
from notifier.folded import folded
from notifier.group import PREFIX, Group, group_named
from notifier.identity import Ambiguous
from notifier.mapping import applied
from notifier.message import Message
from notifier.outcome import Reason
from notifier.plugin import Candidate
from notifier.user import User

ProblemReason: TypeAlias = Literal[
    "unknown_producer", "unknown_configuration", "disabled", "unknown_receiver", "ambiguous_receiver"
]
PROBLEMS: tuple[ProblemReason, ...] = get_args(ProblemReason)


@dataclass(frozen=True, kw_only=True, slots=True)
class Drop:
    """One recipient for whom a message goes no further in a configuration."""

    recipient: str | None  # username; none: the message is for everyone and the configuration has no users
    filter: str | None  # name of the filter; none: the user's definition cannot be used
    reason: Reason


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """Why no configuration considers a message."""

    reason: Reason  # of `PROBLEMS`
    text: str  # the same in words


@dataclass(frozen=True, kw_only=True, slots=True)
class Judgement:
    """What one configuration decides about a message."""

    configuration: Configuration
    passed: Sequence[User | None]  # for whom the message goes on; None: everyone in a configuration without users
    dropped: Sequence[Drop] = ()
    failure: FilterFailed | None = None  # the first filter that failed for a recipient; then it goes on for nobody


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """What all configurations decide about a message."""

    judgements: Sequence[Judgement] = ()  # of every configuration that considers it, sorted by name
    sender: User | None = None  # none: the message has no sender, or not a known one
    # None: the message names no receiver, or there is a problem. Of a group each member is judged as the receiver.
    receiver: User | Group | None = None
    problem: Reason | None = None  # why no configuration considers it, see `Problem`
    text: str = ""  # the problem in words


class Judge:
    """Decides about messages by one catalog. Immutable, without I/O; does not raise."""

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog

    def decide(self, message: Message, at: datetime) -> Decision:
        """What becomes of a message at the moment `at`."""
        message = self.mapped(message)
        configurations, problem = self.considering(message)
        sender, receiver, unknown = self.people(message) if problem is None else (None, None, None)
        problem = problem or unknown
        if problem is not None:
            return Decision(problem=problem.reason, text=problem.text)
        return Decision(
            judgements=[self.judge(message, configuration, sender, receiver, at) for configuration in configurations],
            sender=sender,
            receiver=receiver,
        )

    def mapped(self, message: Message) -> Message:
        """The message as the mappings make it. The other methods take it for that; it is not to be mapped twice."""
        return applied(self.catalog.mappings_of(message.producer), message)[0]

    def considering(self, message: Message) -> tuple[Sequence[Configuration], Problem | None]:
        """The configurations that consider a message, sorted by name, or why none can."""
        catalog = self.catalog
        if message.producer not in catalog.producers:
            return (), Problem(reason="unknown_producer", text=missing(catalog, "producer", message.producer))
        if message.configuration is None:
            return catalog.by_producer.get(message.producer, ()), None
        configuration = catalog.configurations.get(message.configuration)
        if configuration is None:
            text = missing(catalog, "configuration", message.configuration)
            return (), Problem(reason="unknown_configuration", text=text)
        if not configuration.spec.enabled:
            return (), Problem(reason="disabled", text=f"the configuration {configuration.name} is not enabled")
        return ((configuration,) if message.producer in configuration.spec.producers else ()), None

    def people(self, message: Message) -> tuple[User | None, User | Group | None, Problem | None]:
        """The sender and the receiver of a message whose producer is known, or why there is no such receiver."""
        world = self.catalog.producers[message.producer].world_of()
        names = self.catalog.directory.world(world)
        known = None if message.sender is None else names.get(folded(message.sender))
        sender = known if isinstance(known, User) else None
        if message.receiver is None:
            return sender, None, None
        found = names.get(folded(message.receiver))
        if found is None or isinstance(found, Ambiguous):
            reason, text = unknown(self.catalog, world, message.receiver, found)
            return sender, None, Problem(reason=reason, text=text)
        if isinstance(found, Group) and not members_of(self.catalog, found):
            return sender, None, Problem(reason="unknown_receiver", text=nobody_in(found))
        return sender, found, None

    def judge(
        self,
        message: Message,
        configuration: Configuration,
        sender: User | None,
        receiver: User | Group | None,
        at: datetime,
    ) -> Judgement:
        """What one configuration decides, given the sender as a user and the receiver as a user or group."""
        recipients, unusable = self.recipients(configuration, receiver)
        dropped = [Drop(recipient=username, filter=None, reason="unknown_receiver") for username in unusable]
        chain = self.chain(configuration)
        passed: list[User | None] = []
        failure: FilterFailed | None = None
        for recipient in recipients:
            verdict = chain.judge(
                Candidate(message=message, users=configuration.users, at=at, sender=sender, receiver=recipient)
            )
            if verdict.passed:
                passed.append(recipient)
            elif verdict.failure is not None:
                failure = failure or verdict.failure
            else:
                username_ = None if recipient is None else recipient.username
                dropped.append(Drop(recipient=username_, filter=verdict.filter, reason=verdict.reason))
        return Judgement(
            configuration=configuration, passed=[] if failure else passed, dropped=dropped, failure=failure
        )

    def recipients(
        self, configuration: Configuration, receiver: User | Group | None
    ) -> tuple[Sequence[User | None], Sequence[str]]:
        """For whom a configuration judges a message, and the names of its users whose definitions cannot be used.

        None stands for everyone, where the message names no receiver and the configuration no users.
        """
        if isinstance(receiver, Group):
            return members_of(self.catalog, receiver), []
        if receiver is not None:
            return [receiver], []
        usernames, users = configuration.usernames, self.catalog.users
        if not usernames:
            return [None], []
        return [users[name] for name in usernames if name in users], [name for name in usernames if name not in users]

    def chain(self, configuration: Configuration) -> Chain:
        """The filters of a configuration."""
        filters = [(name, filter_of(self.catalog, name)) for name in configuration.spec.filters]
        return Chain([(name, filter_) for name, filter_ in filters if filter_ is not None])


def filter_of(catalog: Catalog, name: str) -> AnyFilter | None:
    """The filter of that name, or what stands for it where its definition cannot be used; None: it lets everything pass."""
    known = catalog.filters.get(name)
    if known is None and name not in catalog.pass_on_error:
        return Unusable(name, missing(catalog, "filter", name))
    return known


def members_of(catalog: Catalog, group: Group) -> tuple[User, ...]:
    """The members of a group, without those whose definitions cannot be used."""
    return tuple([catalog.users[name] for name in group.members if name in catalog.users])


def nobody_in(group: Group) -> str:
    """Why nobody gets a message for a group without members, in words."""
    return f"the group {group.name} has no members"


def unknown(catalog: Catalog, world: str, name: str, found: Ambiguous | None) -> tuple[Reason, str]:
    """Why a name is nobody's, or not clearly somebody's: the reason, and in words."""
    if found is not None:
        return "ambiguous_receiver", f"{name!r} in the world {world!r} may be {', '.join(found.usernames)}"
    group = folded(name).removeprefix(PREFIX)
    if group != folded(name):
        return "unknown_receiver", missing(catalog, "group", group)
    return "unknown_receiver", f"nobody is called {name!r} in the world {world!r}"


def missing_user(catalog: Catalog, name: str) -> str:
    """Why nobody is told for a name among the users of a configuration, in words. It may be a group's, which has a prefix."""
    named = group_named(name)
    if named is None:
        return missing(catalog, "user", name)
    group = catalog.groups.get(named)
    return missing(catalog, "group", named) if group is None else nobody_in(group)


def missing(catalog: Catalog, kind: str, name: str) -> str:
    """Why there is no definition of that kind and name, in words."""
    problem = catalog.problems.get(f"{kind}/{name}")
    return f"there is no {kind} {name!r}" if problem is None else f"the {kind} {name!r} cannot be used: {problem}"
