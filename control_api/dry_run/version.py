"""Version: one version of a configuration, and the deliveries that a router would make of a message by it.

The plain interpreter (`filters.decision`) says for whom a message passes. Here follows what the router does with that: a
delivery for each recipient and consumer, where the consumer reaches the recipient. It is a consumer and a username; None for
the name stands for everyone, in a message without receiver to a consumer whose address is fixed.
"""

from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import datetime
from functools import cached_property

from filters.chain import Chain, FilterFailed
from filters.decision import Decision, Judge, Judgement, filter_of
from notifier.catalog import Catalog, Configuration
from notifier.group import Group
from notifier.message import Message
from notifier.plugin import Candidate
from notifier.user import User

Delivery = tuple[str, str | None]  # consumer, and recipient
NONE: Mapping[Delivery, None] = {}


class Version:
    """Judges messages by one version of a configuration, and by nothing else. None: there is none, and it delivers nothing."""

    def __init__(self, catalog: Catalog, configuration: Configuration | None) -> None:
        self.configuration = configuration
        named = {} if configuration is None else {configuration.name: configuration}
        self._catalog = replace(catalog, configurations=named)
        self._catalog.__dict__["directory"] = catalog.directory  # whose worlds both versions then share
        self._judge = Judge(self._catalog)
        considers = configuration is not None and configuration.spec.enabled
        self.producers: Collection[str] = (
            frozenset(configuration.spec.producers) if configuration is not None and considers else frozenset()
        )
        self._consumers = [
            name for name in (configuration.spec.consumers if configuration else ()) if name in catalog.consumers
        ]
        self._to_one: dict[str, Mapping[Delivery, None]] = {}  # by username: its deliveries where a message passes

    def deliveries(self, message: Message, at: datetime) -> tuple[Mapping[Delivery, None], FilterFailed | None]:
        """The deliveries of a message at a moment, in order; and why a filter cannot judge it, where that is so."""
        if message.producer not in self.producers:
            return NONE, None
        decision = self._judge.decide(message, at)
        if not decision.judgements:
            return NONE, None
        (judgement,) = decision.judgements
        if not judgement.passed:
            return NONE, judgement.failure
        if isinstance(decision.receiver, Group):
            return self._of_each(judgement), None
        if decision.receiver is not None:
            return self._of_one(decision.receiver), None
        return self._of_all(judgement), None

    @cached_property
    def _fixed(self) -> Mapping[str, bool]:
        # Asked with the first message: a plugin's fault then costs messages, as it does in a router.
        return {name: self._catalog.consumers[name].fixed_address() for name in self._consumers}

    def _of_one(self, user: User) -> Mapping[Delivery, None]:
        found = self._to_one.get(user.username)
        if found is None:
            found = self._to_one[user.username] = {
                (name, user.username): None for name in self._consumers if self._reaches(name, user)
            }
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

    def _reaches(self, consumer: str, user: User) -> bool:
        return self._fixed[consumer] or self._catalog.consumers[consumer].address(user) is not None

    # --- in words ---

    def why_not(self, message: Message, at: datetime, delivery: Delivery) -> str:
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
