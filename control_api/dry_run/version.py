"""Version: one version of a configuration, and the deliveries that a router would make of a message by it.

It decides as `filters.decision` and `control_api.explain.ways` do, and keeps what does not depend on the message: the chain of
filters, and which consumers reach each recipient.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from functools import cached_property

from control_api.dry_run.deliveries import NONE, Deliveries, Delivery
from control_api.dry_run.quick import Quick
from control_api.explain.explainer import Question, explain
from control_api.explain.ways import Told, ways
from filters.chain import FilterFailed
from filters.decision import Judge, Problem
from notifier.catalog import Catalog, Configuration
from notifier.group import Group
from notifier.mapping import Mappings, applied
from notifier.message import Message
from notifier.plugin import Candidate
from notifier.user import User

People = tuple[User | None, User | Group | None, Problem | None]  # sender, receiver, and why there is no such receiver


class Version:
    """Judges messages by one version of a configuration, and by no other. Without one nothing is delivered."""

    def __init__(self, catalog: Catalog, name: str, configuration: Configuration | None) -> None:
        self._name = name
        self._configuration = configuration
        # Worlds are looked up once for both versions of a catalog.
        self._catalog = replace(catalog, configurations={} if configuration is None else {name: configuration})
        self._catalog.__dict__["directory"] = catalog.directory
        self._judge = Judge(self._catalog)
        self._mappings: dict[str, Mappings] = {}  # by producer
        self._quick: Quick | None = None
        self.producers: frozenset[str] = frozenset()  # whose messages it takes
        if configuration is not None and configuration.spec.enabled:
            self.producers = frozenset(configuration.spec.producers) & catalog.producers.keys()
            self._users = configuration.users
            self._chain = self._judge.chain(configuration)
            self._quick = Quick.of(self._catalog, self._chain, self._users, self._of_one)
        self._to_one: dict[str, Deliveries] = {}  # by username, where a message for that user passes

    def knows_all_of(self, other: "Version") -> bool:
        """Whether people and producers are the same in both versions."""
        mine, others = self._catalog, other._catalog
        return mine.directory is others.directory and mine.producers is others.producers

    def mapped(self, message: Message) -> Message:
        """The message as the mappings make it, which the methods below take it for."""
        mappings = self._mappings.get(message.producer)
        if mappings is None:
            mappings = self._mappings[message.producer] = self._catalog.mappings_of(message.producer)
        return applied(mappings, message)[0] if mappings else message

    def people(self, message: Message) -> People:
        """The sender and the receiver of a message of a producer that is in the catalog."""
        return self._judge.people(message)

    def quickly(self, message: Message) -> Deliveries | None:
        """The deliveries of a message, where that can be said without judging it in full; None: `deliveries` has to."""
        if message.producer not in self.producers or message.configuration not in (None, self._name):
            return NONE
        return None if self._quick is None else self._quick.of_message(message)

    def deliveries(
        self, message: Message, at: datetime, people: People | None = None
    ) -> tuple[Deliveries, FilterFailed | None]:
        """The deliveries of a message at a moment, and why a filter cannot judge it, where that is so.

        `people`: what `people` of this version says, or of one that knows the same.
        """
        if message.producer not in self.producers or message.configuration not in (None, self._name):
            return NONE, None
        sender, receiver, problem = self.people(message) if people is None else people
        if problem is not None:
            return NONE, None
        passed: list[User | None] = []
        failure: FilterFailed | None = None
        for recipient in self._everyone if receiver is None else self._recipients(receiver):
            verdict = self._chain.judge(
                Candidate(message=message, users=self._users, at=at, sender=sender, receiver=recipient)
            )
            if verdict.passed:
                passed.append(recipient)
            failure = failure or verdict.failure
        if failure is not None or not passed or not _in_time(message, at):
            return NONE, failure
        return (self._made(passed, to_all=True) if receiver is None else self._of_each(passed)), None

    @cached_property
    def _everyone(self) -> Sequence[User | None]:
        return self._recipients(None)

    def _recipients(self, receiver: User | Group | None) -> Sequence[User | None]:
        assert self._configuration is not None
        return self._judge.recipients(self._configuration, receiver)[0]

    def _of_each(self, passed: Sequence[User | None]) -> Deliveries:
        if len(passed) == 1 and passed[0] is not None:
            return self._of_one(passed[0])
        return {delivery: None for user in passed if user is not None for delivery in self._of_one(user)}

    def _of_one(self, user: User) -> Deliveries:
        found = self._to_one.get(user.username)
        if found is None:
            found = self._to_one[user.username] = self._made([user], to_all=False)
        return found

    def _made(self, passed: Sequence[User | None], *, to_all: bool) -> Deliveries:
        assert self._configuration is not None
        return {
            (way.consumer, None if way.recipient is None else way.recipient.username): None
            for way in ways(self._catalog, self._configuration, passed, to_all=to_all)
            if way.lane is not None
        }

    def why_not(self, told: Told, at: datetime, delivery: Delivery) -> str:
        """Why a message does not make a delivery, in words; `told` as it was written, before mappings."""
        consumer, recipient = delivery
        if self._configuration is not None and consumer not in self._configuration.spec.consumers:
            return f"{self._name} does not name the consumer {consumer}"
        question = Question(told=told, at=at, receiver=recipient, configuration=self._name, shown=0)
        return explain(self._catalog, question).explanation.text


def _in_time(message: Message, at: datetime) -> bool:
    """Whether a message has not expired. A lifetime has just begun: a message is judged as of when it was written."""
    return message.expires_at is None or message.expires_at > at
