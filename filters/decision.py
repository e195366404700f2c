"""Decision: which configurations consider a message, for whom it passes their filters, and which filter dropped it.

The plain algorithm: each configuration that names the producer judges the message, filter by filter (`filters.chain`). The
router does not run it: its compiled form (`streams.router`) is quicker, and a property test holds it to this reference.
Deliveries, attempts and dead letters are made by the router.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from filters.chain import AnyFilter, Chain, FilterFailed, Unusable
from notifier.catalog import Catalog, Configuration
from notifier.folded import folded
from notifier.identity import Ambiguous
from notifier.message import Message
from notifier.outcome import Reason
from notifier.plugin import Candidate
from notifier.user import User


@dataclass(frozen=True, kw_only=True, slots=True)
class Drop:
    """One recipient for whom a message goes no further in a configuration."""

    recipient: str | None  # username; none: the message is for everyone and the configuration has no users
    filter: str | None  # name of the filter; none: the user's definition cannot be used
    reason: Reason


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
    receiver: User | None = None  # none: the message names no receiver, or there is a problem
    # Why no configuration considers it: unknown_producer, unknown_configuration, disabled, unknown_receiver or
    # ambiguous_receiver.
    problem: Reason | None = None
    text: str = ""  # the problem in words


class Judge:
    """Decides about messages by one catalog. Immutable, without I/O; does not raise."""

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog

    def decide(self, message: Message, at: datetime) -> Decision:
        """What becomes of a message at the moment `at`."""
        catalog = self.catalog
        producer = catalog.producers.get(message.producer)
        if producer is None:
            return Decision(problem="unknown_producer", text=missing(catalog, "producer", message.producer))
        if message.configuration is None:
            configurations = catalog.by_producer.get(message.producer, ())
        else:
            configuration = catalog.configurations.get(message.configuration)
            if configuration is None:
                return Decision(
                    problem="unknown_configuration", text=missing(catalog, "configuration", message.configuration)
                )
            if not configuration.spec.enabled:
                return Decision(problem="disabled", text=f"the configuration {configuration.name} is not enabled")
            considered = message.producer in configuration.spec.producers
            configurations = (configuration,) if considered else ()
        names = catalog.directory.world(producer.world_of())
        receiver: User | None = None
        if message.receiver is not None:
            found = names.get(folded(message.receiver))
            if found is None:
                return Decision(
                    problem="unknown_receiver",
                    text=f"nobody is called {message.receiver!r} in the world {producer.world_of()!r}",
                )
            if isinstance(found, Ambiguous):
                return Decision(
                    problem="ambiguous_receiver",
                    text=f"{message.receiver!r} in the world {producer.world_of()!r} may be {', '.join(found.usernames)}",
                )
            receiver = found
        sender: User | None = None
        if message.sender is not None:
            known = names.get(folded(message.sender))
            if isinstance(known, User):
                sender = known
        return Decision(
            judgements=[self.judge(message, configuration, sender, receiver, at) for configuration in configurations],
            sender=sender,
            receiver=receiver,
        )

    def judge(
        self, message: Message, configuration: Configuration, sender: User | None, receiver: User | None, at: datetime
    ) -> Judgement:
        """What one configuration decides, given the sender and the receiver as users."""
        dropped: list[Drop] = []
        recipients: list[User | None]
        if receiver is not None:
            recipients = [receiver]
        elif configuration.spec.users:
            recipients = []
            for username in configuration.spec.users:
                user = self.catalog.users.get(username)
                if user is None:  # the definition cannot be used
                    dropped.append(Drop(recipient=username, filter=None, reason="unknown_receiver"))
                else:
                    recipients.append(user)
        else:
            recipients = [None]
        filters = [(name, filter_of(self.catalog, name)) for name in configuration.spec.filters]
        chain = Chain([(name, filter_) for name, filter_ in filters if filter_ is not None])
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


def filter_of(catalog: Catalog, name: str) -> AnyFilter | None:
    """The filter of that name, or what stands for it where its definition cannot be used; None: it lets everything pass."""
    known = catalog.filters.get(name)
    if known is None and name not in catalog.pass_on_error:
        return Unusable(name, missing(catalog, "filter", name))
    return known


def missing(catalog: Catalog, kind: str, name: str) -> str:
    """Why there is no definition of that kind and name, in words."""
    problem = catalog.problems.get(f"{kind}/{name}")
    return f"there is no {kind} {name!r}" if problem is None else f"the {kind} {name!r} cannot be used: {problem}"
