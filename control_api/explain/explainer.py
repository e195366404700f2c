"""Explainer: what each configuration makes of a message, for whom, and why. Pure: a catalog, a message and a moment make words.

    message ─► Judge (who considers it, for whom) ─► Chain.explain (each filter) ─► ways (each consumer)

It decides as the router does: by the plain algorithm that the router's compiled form is held to (`filters.decision`). The text
that a consumer sends is left to `control_api.explain.rendering`; finding messages and definitions, to
`control_api.explain.explaining`. All recipients are judged, since a filter that fails for one keeps the message from all; words
are made only for those that are shown.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from control_api.access.teams import Hidden
from control_api.explain.explanation import (
    ConfigurationExplanation,
    ConsumerExplanation,
    Explanation,
    RecipientExplanation,
)
from control_api.explain.heard import Heard, Hearing
from control_api.explain.verdicts import all_delivered, step_of, to_whom, verdict_of, what_was_set
from control_api.explain.ways import Made, Told, Way, as_mapped, delivery_of, in_time, ways
from control_api.explain.words import NAMED, Words, in_sentences, sentence
from filters.chain import told
from filters.decision import Judge, Problem, missing, missing_user
from notifier.catalog import Catalog, Configuration
from notifier.delivery import Delivery
from notifier.folded import folded
from notifier.group import Group
from notifier.outcome import Reason
from notifier.user import User

MAX_CONFIGURATIONS = 200  # that are explained one by one
MAX_RECIPIENTS = 500  # of one configuration, likewise
MAX_SHOWN = 2000  # recipients of all configurations
MAX_RENDERED = 50  # deliveries whose texts are made


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
    problem: Problem | None = None  # with the record that it lies in: no configuration considers it
    shown: int = MAX_SHOWN  # recipients that are explained one by one; of the others the texts tell


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
class _Case:
    """What one configuration makes of a message, for all recipients together."""

    configuration: Configuration
    hearing: Hearing
    failing: Heard | None  # the first for whom a filter fails: then nobody gets it
    made: Made
    fault: str | None  # of a consumer's plugin: then nobody gets it either


def explain(catalog: Catalog, question: Question) -> Explained:
    """Explains a message as the mappings make it. Does not raise."""
    if question.told.message.producer in question.hidden.of("producer"):
        return _Explainer(catalog, question).explained()
    told, steps, problem = as_mapped(catalog, question.told)
    explained = _Explainer(catalog, replace(question, told=told, problem=question.problem or problem)).explained()
    if steps:
        explanation = explained.explanation
        explanation.mappings = [what_was_set(step, question.hidden) for step in steps]
        explanation.text = in_sentences([*[each.text for each in explanation.mappings], explanation.text])
    return explained


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
        self._deliveries: dict[
            str, Delivery
        ] = {}  # of the sendings, by id: one to everyone is told of for each recipient
        self._room = question.shown

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
        problem = question.problem or problem
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
        recipients, unusable = self._judge.recipients(configuration, self._receiver)
        hearing = Hearing(
            chain=self._judge.chain(configuration),
            message=self._message,
            users=configuration.users,
            at=self._question.at,
            sender=self._sender,
        )
        if self._question.receiver is not None:
            part = self._explain_asked(configuration, hearing, recipients)
            return self._part(configuration, [part], 1, part.text)
        room = min(self._room, MAX_RECIPIENTS)
        heard: list[Heard] = []
        seen: list[Heard] = []
        for user in recipients:
            is_hidden = user is not None and user.username in self._hidden_users
            one = hearing.in_short(user) if is_hidden or len(seen) >= room else hearing.by_steps(user)
            heard.append(one)
            if not is_hidden:
                seen.append(one)
        seen += [
            Heard(user=None, username=name, verdict="dropped", reason="unknown_receiver", steps=())
            for name in unusable
            if name not in self._hidden_users
        ]
        case = self._case(configuration, hearing, heard)
        parts = [self._recipient(case, one, is_shown=place < room) for place, one in enumerate(seen)]
        self._room -= min(room, len(parts))
        return self._part(configuration, parts, room, self._text_of(case, seen, parts))

    def _explain_asked(
        self, configuration: Configuration, hearing: Hearing, recipients: Sequence[User | None]
    ) -> RecipientExplanation:
        """The part of who is asked about. The others are asked only where it depends on them."""
        person = self._person
        if person is None or not any(user is not None and user.username == person.username for user in recipients):
            return self._not_addressed(configuration)
        asked = hearing.by_steps(person)
        heard = [asked]
        if asked.verdict == "passed":
            others = (user for user in recipients if user is None or user.username != person.username)
            order = {None if user is None else user.username: place for place, user in enumerate(recipients)}
            heard = sorted([asked, *map(hearing.in_short, others)], key=lambda one: order[one.username])
        return self._recipient(self._case(configuration, hearing, heard), asked, is_shown=True)

    def _part(
        self, configuration: Configuration, parts: Sequence[RecipientExplanation], room: int, text: str
    ) -> ConfigurationExplanation:
        verdict, reason = verdict_of(parts)
        return ConfigurationExplanation(
            configuration=configuration.name,
            version=configuration.version or None,
            verdict=verdict,
            reason=reason,
            text=text,
            recipients=list(parts[:room]),
            omitted=max(0, len(parts) - room),
        )

    def _case(self, configuration: Configuration, hearing: Hearing, heard: Sequence[Heard]) -> _Case:
        """The deliveries, or why a filter or a plugin's fault makes none of them."""
        failing = next((one for one in heard if one.verdict == "failed"), None)
        passed = [] if failing else [one.user for one in heard if one.verdict == "passed"]
        made, fault = Made(), None
        try:
            found = ways(self._catalog, configuration, passed, to_all=self._message.receiver is None)
            found = in_time(found, self._question.told, self._catalog, configuration, self._question.at)
            made = Made(way.without(self._hidden_users) for way in found)
        except Exception as error:  # a plugin's fault
            fault = f"a consumer's plugin failed: {told(error)}"
        return _Case(configuration=configuration, hearing=hearing, failing=failing, made=made, fault=fault)

    # --- a recipient ---

    def _recipient(self, case: _Case, heard: Heard, *, is_shown: bool) -> RecipientExplanation:
        """What becomes of it for a recipient; without words for one that was heard in short."""
        name, words, failing = case.configuration.name, self._words, case.failing
        part = RecipientExplanation(
            recipient=heard.username, verdict=heard.verdict, reason=heard.reason, text="", steps=[], consumers=[]
        )
        if heard.verdict == "passed" and failing is not None:
            part.verdict, part.reason = "failed", failing.reason
        elif heard.verdict == "passed":
            part.consumers = [self._consumer(case, way, is_shown=is_shown) for way in case.made.of(heard.username)]
        if heard.steps is None:
            return part
        part.steps = [step_of(verdict, words.since(verdict.reason, heard.user)) for verdict in heard.steps]
        got_not = words.got_not(heard.username)
        if heard.username is not None and not heard.is_known:
            text = f"{got_not} by {name}: {missing_user(self._catalog, heard.username)}"
        elif heard.drop is not None:
            text = f"{got_not}: {words.dropped(name, heard.drop, heard.user)}"
        elif heard.verdict == "failed":
            text = f"{got_not}: {words.failed(name, heard.failure, None)}"
        elif failing is not None:
            for_whom = None if failing.username in self._hidden_users else failing.username
            text = f"{got_not}: {words.failed(name, failing.failure, for_whom)}"
        else:
            text = self._passing(case, part)
        part.text = sentence(text)
        return part

    def _passing(self, case: _Case, part: RecipientExplanation) -> str:
        """What becomes of a message that passes the filters, in words."""
        name, got_not = case.configuration.name, self._words.got_not(part.recipient)
        sent = [each.consumer for each in part.consumers if each.verdict == "delivered"]
        whys = [each.text for each in part.consumers if each.verdict != "delivered"]
        if sent:
            text = self._words.passed_on(name, sent, [part.recipient] if part.recipient else [])
            return "; ".join([text, *[f"but {why}" for why in whys]])
        return f"{got_not} by {name}: {case.fault or '; '.join(whys) or 'it has no consumer'}"

    def _consumer(self, case: _Case, way: Way, *, is_shown: bool) -> ConsumerExplanation:
        part = ConsumerExplanation(
            consumer=way.consumer,
            address=way.address,
            lane=way.lane,
            verdict="delivered" if way.lane is not None else "suppressed",
            reason=way.reason,
            text=way.text,
        )
        if way.lane is None or not is_shown:
            return part
        configuration, plugin = case.configuration, self._catalog.consumers[way.consumer]
        part.text = to_whom(way) + self._fallback(plugin.policy.fallback)
        try:
            delivery = delivery_of(way, self._question.told, configuration, plugin, self._sender, self._question.at)
        except Exception as error:  # a plugin's fault
            part.verdict, part.reason, part.text = "failed", "invalid", f"its plugin failed: {told(error)}"
            return part
        if delivery.id in self._deliveries or len(self._deliveries) < MAX_RENDERED:
            delivery = self._deliveries.setdefault(delivery.id, delivery)
            own = configuration.spec.template
            template = own if own is not None else plugin.wording.template
            self._sendings.append(Sending(delivery=delivery, template=template, consumer=part))
        return part

    def _fallback(self, consumer: str | None) -> str:
        """Who gets it in the place of a consumer that does not take it."""
        if consumer is None or consumer in self._question.hidden.of("consumer"):
            return ""
        return f"; what it does not take goes to {consumer}"

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

    def _text_of(self, case: _Case, heard: Sequence[Heard], parts: Sequence[RecipientExplanation]) -> str:
        if not parts:
            return sentence(f"{case.configuration.name} considers it for users of another team alone")
        consumers: dict[str, None] = {}
        people: list[str | None] = []
        others: list[tuple[Heard, RecipientExplanation]] = []
        for one, part in zip(heard, parts, strict=True):
            if len(parts) > 1 and part.verdict == "passed" and all_delivered(part):
                consumers.update(dict.fromkeys(each.consumer for each in part.consumers))
                people.append(part.recipient)
            else:
                others.append((one, part))
        texts = [part.text or self._told_of(case, one) for one, part in others[:NAMED]]
        if people:
            names = [name for name in people if name]
            texts = [self._words.passed_on(case.configuration.name, list(consumers), names), *texts]
        return in_sentences(texts, max(0, len(others) - NAMED))

    def _told_of(self, case: _Case, heard: Heard) -> str:
        """The words about a recipient that was heard in short."""
        return self._recipient(case, case.hearing.by_steps(heard.user), is_shown=False).text
