"""Explainer: what each configuration makes of a message, for whom, and why. Pure: a catalog, a message and a moment make words.

    message ─► Judge (who considers it, for whom) ─► Chain.explain (each filter) ─► ways (each consumer)

It decides as the router does: by the plain algorithm that the router's compiled form is held to (`filters.decision`). The text
that a consumer sends is left to `control_api.explain.rendering`; finding messages and definitions, to
`control_api.explain.finding`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from control_api.access.teams import Hidden
from control_api.explain.explanation import (
    ConfigurationExplanation,
    ConsumerExplanation,
    Explanation,
    RecipientExplanation,
)
from control_api.explain.verdicts import all_delivered, fails, step_of, to_whom, verdict_of
from control_api.explain.ways import Told, Way, delivery_of, ways
from control_api.explain.words import Words, in_sentences, sentence, without_prefix
from filters.chain import Chain, Verdict, told
from filters.decision import Judge, missing
from notifier.catalog import Catalog, Configuration
from notifier.delivery import Delivery
from notifier.folded import folded
from notifier.group import Group
from notifier.outcome import Reason
from notifier.plugin import Candidate
from notifier.user import User

MAX_CONFIGURATIONS = 200  # that are explained one by one
MAX_RECIPIENTS = 500  # of one configuration, likewise


@dataclass(frozen=True, kw_only=True)
class Question:
    """What is asked about one message."""

    told: Told
    at: datetime  # the moment of the decision
    receiver: str | None = None  # about this person alone: a username, or a name in the producer's world
    configuration: str | None = None  # about this configuration alone
    past: bool = False  # whether it was decided already: "did not get it", and not "would not get it"
    leaves: Mapping[str, datetime] = field(default_factory=dict)  # username → since when on leave, where that is known
    hidden: Hidden = field(default_factory=Hidden)  # from who asks: nothing is said of it


@dataclass(frozen=True, kw_only=True)
class Sending:
    """A delivery that an explanation tells of, and where its text is to be put."""

    delivery: Delivery
    template: str | None
    consumer: ConsumerExplanation


@dataclass(frozen=True, kw_only=True)
class Explained:
    """An explanation, and the deliveries in it whose texts can be rendered."""

    explanation: Explanation
    sendings: Sequence[Sending]


@dataclass(frozen=True, kw_only=True)
class _Heard:
    """One recipient, with what each filter says. `username` alone: the user's definition cannot be used."""

    user: User | None
    username: str | None
    steps: Sequence[Verdict] = ()

    @property
    def decisive(self) -> Verdict | None:
        """What decides against the recipient: the first filter that drops, else the first that fails."""
        against = [step for step in self.steps if not step.passed]
        return next((step for step in against if not fails(step)), against[0] if against else None)

    @property
    def is_known(self) -> bool:
        return self.user is not None or self.username is None


def explain(catalog: Catalog, question: Question) -> Explained:
    """Explains a message. Does not raise."""
    return _Explainer(catalog, question).explained()


def person_of(catalog: Catalog, name: str, producer: str) -> User | None:
    """The user of that username, or whom the world of a producer calls so."""
    found = catalog.users.get(name)
    if found is not None:
        return found
    key = folded(name)
    found = next((user for username, user in catalog.users.items() if folded(username) == key), None)
    known = catalog.producers.get(producer)
    if found is None and known is not None:
        named = catalog.directory.world(known.world_of()).get(key)
        return named if isinstance(named, User) else None
    return found


class _Explainer:
    def __init__(self, catalog: Catalog, question: Question) -> None:
        self._catalog = catalog
        self._question = question
        self._judge = Judge(catalog)
        self._words = Words(past=question.past, at=question.at, leaves=question.leaves)
        self._message = question.told.message
        self._elsewhere = question.hidden.of("configuration")
        self._hidden_users = question.hidden.of("user")
        self._person: User | None = None
        self._sender: User | None = None
        self._receiver: User | Group | None = None
        self._sendings: list[Sending] = []

    def explained(self) -> Explained:
        question, catalog = self._question, self._catalog
        if question.receiver is not None:
            person = person_of(catalog, question.receiver, self._message.producer)
            self._person = None if person is None or person.username in self._hidden_users else person
        if self._message.producer in question.hidden.of("producer"):
            return self._answer(f"The producer {self._message.producer} is another team's.", "unknown_producer", [])
        if self._message.configuration in self._elsewhere:
            text = f"The message is for {self._message.configuration} alone, which is another team's."
            return self._answer(text, "unknown_configuration", [])
        considering, problem = self._judge.considering(self._message)
        if problem is None:
            self._sender, self._receiver, problem = self._judge.people(self._message)
        if problem is not None:
            text = sentence(f"{self._words.got_not(self._asked)}: {problem.text}")
            return self._answer(text, problem.reason, [])
        off = [] if self._message.configuration else self._switched_off()
        considering = [each for each in considering if each.name not in self._elsewhere]
        if question.configuration is not None:
            considering = [each for each in considering if each.name == question.configuration]
            off = [] if considering else [question.configuration]
        shown = considering[:MAX_CONFIGURATIONS]
        parts = [self._explain(configuration) for configuration in shown]
        room = MAX_CONFIGURATIONS - len(shown)
        parts += [self._not_considered(name) for name in off[:room]]
        omitted = len(considering) - len(shown) + max(0, len(off) - room)
        return self._answer(self._summary(parts), "ok", parts, omitted)

    @property
    def _asked(self) -> str | None:
        return self._question.receiver if self._person is None else self._person.username

    def _answer(self, text: str, reason: Reason, parts: list[ConfigurationExplanation], omitted: int = 0) -> Explained:
        explanation = Explanation(at=self._question.at, text=text, reason=reason, configurations=parts, omitted=omitted)
        return Explained(explanation=explanation, sendings=self._sendings)

    def _summary(self, parts: Sequence[ConfigurationExplanation]) -> str:
        if not parts:
            producer = self._message.producer
            if self._message.configuration is not None:
                why = f"the configuration {self._message.configuration} does not consider messages of {producer}"
            elif self._elsewhere:
                return sentence(
                    f"no configuration of your team, or of none, considers messages of the producer {producer}"
                )
            else:
                why = f"no enabled configuration considers messages of the producer {producer}"
            return sentence(f"{self._words.got_not(self._asked)}: {why}")
        considered = [part for part in parts if part.verdict != "not_considered"]
        rank = {"delivered": 0, "suppressed": 1, "failed": 2, "dropped": 3, "not_considered": 4}
        ordered = sorted(considered or parts, key=lambda part: rank[part.verdict])
        return in_sentences([part.text for part in ordered])

    def _switched_off(self) -> list[str]:
        """Configurations that would consider the message, and are switched off."""
        return sorted(
            [
                name
                for name, configuration in self._catalog.configurations.items()
                if not configuration.spec.enabled
                and self._message.producer in configuration.spec.producers
                and name not in self._elsewhere
            ]
        )

    # --- a configuration ---

    def _not_considered(self, name: str) -> ConfigurationExplanation:
        configuration = self._catalog.configurations.get(name)
        reason: Reason = "filtered"
        if configuration is None:
            reason, why = "unknown_configuration", missing(self._catalog, "configuration", name)
        elif self._message.producer not in configuration.spec.producers:
            why = f"{name} does not consider messages of the producer {self._message.producer}"
        elif not configuration.spec.enabled:
            reason, why = "disabled", f"{name} is switched off"
        else:
            why = f"the message is for the configuration {self._message.configuration} alone"
        return ConfigurationExplanation(
            configuration=name,
            version=None if configuration is None else configuration.version or None,
            verdict="not_considered",
            reason=reason,
            text=sentence(f"{self._words.got_not(self._asked)} by {name}: {why}"),
            recipients=[],
        )

    def _explain(self, configuration: Configuration) -> ConfigurationExplanation:
        heard, unusable = self._hear(configuration)
        failing = next((each for each in heard if each.decisive is not None and fails(each.decisive)), None)
        passed = [] if failing else [each.user for each in heard if each.decisive is None]
        made, fault = self._ways(configuration, passed)
        shown = [each for each in [*heard, *unusable] if each.username not in self._hidden_users]
        parts = [self._recipient(configuration, each, failing, made, fault) for each in shown]
        if self._question.receiver is not None:
            parts = [part for part in parts if self._person is not None and part.recipient == self._person.username]
            parts = parts or [self._not_addressed(configuration)]
        verdict, reason = verdict_of(parts)
        return ConfigurationExplanation(
            configuration=configuration.name,
            version=configuration.version or None,
            verdict=verdict,
            reason=reason,
            text=self._text_of(configuration, parts),
            recipients=parts[:MAX_RECIPIENTS],
            omitted=max(0, len(parts) - MAX_RECIPIENTS),
        )

    def _hear(self, configuration: Configuration) -> tuple[list[_Heard], list[_Heard]]:
        recipients, unusable = self._judge.recipients(configuration, self._receiver)
        chain = self._judge.chain(configuration)
        heard = [
            _Heard(
                user=user, username=None if user is None else user.username, steps=self._ask(chain, configuration, user)
            )
            for user in recipients
        ]
        return heard, [_Heard(user=None, username=name) for name in unusable]

    def _ask(self, chain: Chain, configuration: Configuration, user: User | None) -> Sequence[Verdict]:
        return chain.explain(
            Candidate(
                message=self._message,
                users=configuration.users,
                at=self._question.at,
                sender=self._sender,
                receiver=user,
            )
        )

    def _ways(self, configuration: Configuration, passed: Sequence[User | None]) -> tuple[Sequence[Way], str | None]:
        """The deliveries, or why a plugin's fault makes none of them."""
        try:
            made = ways(self._catalog, configuration, passed, to_all=self._message.receiver is None)
            return [way.without(self._hidden_users) for way in made], None
        except Exception as error:  # a plugin's fault
            return (), f"a consumer's plugin failed: {told(error)}"

    # --- a recipient ---

    def _recipient(
        self,
        configuration: Configuration,
        heard: _Heard,
        failing: _Heard | None,
        made: Sequence[Way],
        fault: str | None,
    ) -> RecipientExplanation:
        name, words, decisive = configuration.name, self._words, heard.decisive
        got_not = words.got_not(heard.username)
        steps = [step_of(verdict, words.since(verdict.reason, heard.user)) for verdict in heard.steps]
        part = RecipientExplanation(
            recipient=heard.username, verdict="passed", reason="ok", text="", steps=steps, consumers=[]
        )
        if not heard.is_known:
            assert heard.username is not None
            part.verdict, part.reason = "dropped", "unknown_receiver"
            part.text = f"{got_not} by {name}: {missing(self._catalog, 'user', heard.username)}"
        elif decisive is not None and not fails(decisive):
            part.verdict, part.reason = "dropped", decisive.reason
            part.text = f"{got_not}: {words.dropped(name, decisive, heard.user)}"
        elif failing is not None:
            found = decisive or failing.decisive
            assert found is not None
            part.verdict, part.reason = "failed", found.reason
            for_whom = failing.username if decisive is None and failing.username not in self._hidden_users else None
            part.text = f"{got_not}: {words.failed(name, without_prefix(found.says), for_whom)}"
        else:
            self._pass(configuration, part, heard, made, fault)
        part.text = sentence(part.text)
        return part

    def _pass(
        self,
        configuration: Configuration,
        part: RecipientExplanation,
        heard: _Heard,
        made: Sequence[Way],
        fault: str | None,
    ) -> None:
        """Adds the consumers, and says what becomes of the message at them."""
        part.consumers = [self._consumer(configuration, way) for way in made if way.concerns(heard.user)]
        words, got_not = self._words, self._words.got_not(heard.username)
        sent = [each.consumer for each in part.consumers if each.verdict == "delivered"]
        whys = [each.text for each in part.consumers if each.verdict != "delivered"]
        if sent:
            text = words.passed_on(configuration.name, sent, [heard.username] if heard.username else [])
            part.text = "; ".join([text, *[f"but {why}" for why in whys]])
        elif fault is not None:
            part.text = f"{got_not} by {configuration.name}: {fault}"
        elif whys:
            part.text = f"{got_not} by {configuration.name}: {'; '.join(whys)}"
        else:
            part.text = f"{got_not} by {configuration.name}: it has no consumer"

    def _consumer(self, configuration: Configuration, way: Way) -> ConsumerExplanation:
        part = ConsumerExplanation(
            consumer=way.consumer,
            address=way.address,
            lane=way.lane,
            verdict="delivered" if way.lane is not None else "suppressed",
            reason=way.reason,
            text=way.text or to_whom(way),
        )
        if way.lane is not None:
            plugin = self._catalog.consumers[way.consumer]
            try:
                delivery = delivery_of(way, self._question.told, configuration, plugin, self._sender)
            except Exception as error:  # a plugin's fault
                part.verdict, part.reason, part.text = "failed", "invalid", f"its plugin failed: {told(error)}"
                return part
            self._sendings.append(Sending(delivery=delivery, template=configuration.spec.template, consumer=part))
        return part

    def _not_addressed(self, configuration: Configuration) -> RecipientExplanation:
        who = self._asked or ""
        if self._person is None:
            why, reason = missing(self._catalog, "user", who), "unknown_receiver"
        elif isinstance(self._receiver, Group):
            why, reason = f"the message is for the group {self._receiver.name}, and {who} is no member", "filtered"
        elif self._receiver is not None:
            why, reason = f"the message is for {self._receiver.username}", "filtered"
        else:
            why, reason = f"{who} is not among the users of {configuration.name}", "filtered"
        return RecipientExplanation(
            recipient=who,
            verdict="not_addressed",
            reason="unknown_receiver" if reason == "unknown_receiver" else "filtered",
            text=sentence(f"{self._words.got_not(who)} by {configuration.name}: {why}"),
            steps=[],
            consumers=[],
        )

    def _text_of(self, configuration: Configuration, parts: Sequence[RecipientExplanation]) -> str:
        if not parts:
            return sentence(f"{configuration.name} considers it for users of another team alone")
        if len(parts) == 1:
            return parts[0].text
        whole = [part for part in parts if part.verdict == "passed" and all_delivered(part)]
        others = [part.text for part in parts if not any(part is each for each in whole)]
        if not whole:
            return in_sentences(others)
        consumers = list(dict.fromkeys(each.consumer for part in whole for each in part.consumers))
        people = [part.recipient for part in whole if part.recipient]
        return in_sentences([self._words.passed_on(configuration.name, consumers, people), *others])
