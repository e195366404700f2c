"""Version: one version of a configuration, and the deliveries that a router would make of a message by it.

It decides as `filters.decision` and `control_api.explain.ways` do, and keeps what does not depend on the message: the chain of
filters, and which consumers reach each recipient. A delivery is a consumer and a username; None for the name stands for everyone,
in a message without receiver to a consumer whose address is fixed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import cached_property

from control_api.explain.explainer import Question, explain
from control_api.explain.ways import Told, ways
from filters.chain import FilterFailed
from filters.decision import Judge
from notifier.catalog import Catalog, Configuration
from notifier.group import Group
from notifier.message import Message
from notifier.plugin import Candidate
from notifier.user import User

Delivery = tuple[str, str | None]  # consumer, and recipient
Deliveries = Mapping[Delivery, None]  # in order
NONE: Deliveries = {}


class Version:
    """Judges messages by one version of a configuration, and by no other. Without one nothing is delivered."""

    def __init__(self, catalog: Catalog, name: str, configuration: Configuration | None) -> None:
        self._name = name
        self._configuration = configuration
        # Worlds are looked up once for both versions of a catalog.
        self._catalog = replace(catalog, configurations={} if configuration is None else {name: configuration})
        self._catalog.__dict__["directory"] = catalog.directory
        self._judge = Judge(self._catalog)
        self.producers: frozenset[str] = frozenset()  # whose messages it takes
        if configuration is not None and configuration.spec.enabled:
            self.producers = frozenset(configuration.spec.producers) & catalog.producers.keys()
            self._users = configuration.users
            self._chain = self._judge.chain(configuration)
        self._to_one: dict[str, Deliveries] = {}  # by username, where a message for that user passes

    def deliveries(self, message: Message, at: datetime) -> tuple[Deliveries, FilterFailed | None]:
        """The deliveries of a message at a moment, and why a filter cannot judge it, where that is so."""
        if message.producer not in self.producers or message.configuration not in (None, self._name):
            return NONE, None
        sender, receiver, problem = self._judge.people(message)
        if problem is not None:
            return NONE, None
        (judgement,) = decision.judgements
        if not judgement.passed:
            return NONE, judgement.failure
        if isinstance(decision.receiver, Group):
            return self._of_each(judgement), None
        if decision.receiver is not None:
            return self._of_one(decision.receiver), None
        return self._of_all(judgement), None
        passed: list[User | None] = []
        failure: FilterFailed | None = None
        for recipient in self._everyone if receiver is None else (receiver,):
            verdict = self._chain.judge(
                Candidate(message=message, users=self._users, at=at, sender=sender, receiver=recipient)
            )
            if verdict.passed:
                passed.append(recipient)
            failure = failure or verdict.failure
        if failure is not None or not passed:
            return NONE, failure
        return (self._made(passed, to_all=True) if receiver is None else self._of_one(receiver)), None

    @cached_property
    def _everyone(self) -> Sequence[User | None]:
        assert self._configuration is not None
        return self._judge.recipients(self._configuration, None)[0]

    def _of_one(self, user: User) -> Deliveries:
        found = self._to_one.get(user.username)
        if found is None:
            found = self._to_one[user.username] = self._made([user], to_all=False)
        return found

    def _of_each(self, judgement: Judgement) -> Mapping[Delivery, None]:
        """The deliveries of a message for a group: those that each member would get of a message of their own."""
        found: dict[Delivery, None] = {}
        for user in judgement.passed:
            if user is not None:
                found.update(self._of_one(user))
        return found

    def _of_all(self, judgement: Judgement) -> Mapping[Delivery, None]:
        people = [user for user in judgement.passed if user is not None]
        found: dict[Delivery, None] = {}
        for name in self._consumers:
            if self._fixed[name]:
                found[name, None] = None
            for user in () if self._fixed[name] else people:
                delivery = name, user.username
                if delivery in self._of_one(user):
                    found[delivery] = None
        return found
    def _made(self, passed: Sequence[User | None], *, to_all: bool) -> Deliveries:
        assert self._configuration is not None
        return {
            (way.consumer, None if way.recipient is None else way.recipient.username): None
            for way in ways(self._catalog, self._configuration, passed, to_all=to_all)
            if way.lane is not None
        }

    def why_not(self, told: Told, at: datetime, delivery: Delivery) -> str:
        """Why a message does not make a delivery, in words."""
        consumer, recipient = delivery
        configuration = self.configuration
        if configuration is None:
            return "there is no such configuration"
        spec = configuration.spec
        if not spec.enabled:
            return "the configuration is not enabled"
        if message.producer not in spec.producers:
            return f"the configuration does not take messages of {message.producer}"
        decision = self._judge.decide(message, at)
        if decision.problem is not None:
            return decision.text
        if consumer not in spec.consumers:
            return f"the configuration does not name the consumer {consumer}"
        if recipient is None:
            return self._why_nobody(message, at, decision)
        user = self._catalog.users.get(recipient)
        if user is None:
            return f"there is no user {recipient}"
        if decision.receiver is None and spec.users and recipient not in configuration.users:
            return f"the configuration does not name the user {recipient}"
        return self._why_not_to(message, at, decision, user) or f"{consumer} does not reach {recipient}"

    def _why_nobody(self, message: Message, at: datetime, decision: Decision) -> str:
        assert self.configuration is not None
        for judgement in decision.judgements:
            if judgement.passed:
                return "it goes to each recipient, and not to everyone at once"
        users = [self._catalog.users.get(name) for name in self.configuration.usernames]
        for user in users or [None]:
            why = self._why_not_to(message, at, decision, user)
            if why:
                return f"{why} (for {user.username}, and it passes for nobody)" if user is not None else why
        return "none of its users can be used"

    def _why_not_to(self, message: Message, at: datetime, decision: Decision, user: User | None) -> str | None:
        """What the first filter that drops the message says; None where it passes."""
        assert self.configuration is not None
        candidate = Candidate(
            message=message, users=self.configuration.users, at=at, sender=decision.sender, receiver=user
        )
        filters = [(name, filter_of(self._catalog, name)) for name in self.configuration.spec.filters]
        verdicts = Chain([(name, filter_) for name, filter_ in filters if filter_ is not None]).explain(candidate)
        wrong = [verdict for verdict in verdicts if not verdict.passed]
        # A filter that fails counts only where none drops.
        for verdict in sorted(wrong, key=lambda verdict: verdict.says.startswith("fails")):
            return f"{verdict.filter} {verdict.says}"
        failures = [judgement.failure for judgement in decision.judgements if judgement.failure is not None]
        return f"a filter fails for another recipient: {failures[0]}" if failures else None
        if self._configuration is not None and consumer not in self._configuration.spec.consumers:
            return f"{self._name} does not name the consumer {consumer}"
        question = Question(told=told, at=at, receiver=recipient, configuration=self._name)
        return explain(self._catalog, question).explanation.text
