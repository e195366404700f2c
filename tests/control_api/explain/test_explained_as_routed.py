"""What is explained is what a real router and a real delivery worker did on a real broker: random definitions and messages, and a
change in between.

`EXPLAINED_MESSAGES=1000` makes it long.
"""

import json
import os
import random
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from urllib.parse import unquote

import pytest

from control_api.access.actor import COMMAND_LINE
from control_api.definitions.services import Services
from control_api.explain import happened
from control_api.explain.explaining import Explaining
from control_api.explain.query import ExplainQuery
from control_api.history.follower import History
from control_api.history.message_index import MessageIndex
from control_api.migrate import upgraded
from filters import BUILT_IN as FILTER_TYPES
from notifier.database import Database
from notifier.delivery import Delivery
from notifier.errors import Permanent
from notifier.kafka import ensure_topics
from notifier.outcome import Kind
from notifier.plugin import ACCEPTED, Consumer, ConsumerParameters, Context, Result
from notifier.record import JsonObject, now
from notifier.registry import Registry
from notifier.seal import load_seal
from notifier.settings import Settings
from notifier.topics import deliveries
from producers.push import Push
from tests.rigs.definitions_rig import publish_all
from tests.rigs.delivery_rig import working
from tests.rigs.kafka_tools import produce, read_all, wait_until
from tests.rigs.router_rig import REGISTRY, Direct, Faulty, File, Github, Room, routers

MESSAGES = int(os.environ.get("EXPLAINED_MESSAGES", "160"))
SEED = 20261129

USERS = ["alice", "bob", "carol", "dave"]
WORLDS: list[dict[str, Any]] = [
    {},
    {"github": {"username": "octocat"}},
    {"chat": {"username": "c", "id": 1}},
    {"github": {"username": "octocat"}, "chat": {"id": 2}},
    {"default": {"username": "al"}},
]
FILTERS: dict[str, dict[str, Any]] = {
    "exists": {"type": "receiver_exists"},
    "strangers": {"type": "receiver_exists", "parameters": {"negate": True}},
    "at-work": {"type": "receiver_working"},
    "off-work": {"type": "receiver_working", "parameters": {"negate": True}},
    "no-wip": {"type": "skip_keywords", "parameters": {"skip_keywords": ["wip"]}},
    "only-prod": {"type": "keep_keywords", "parameters": {"keep_keywords": ["prod"], "ignore_case": True}},
    "loud": {"type": "severity", "parameters": {"at_least": "error"}},
    "infra": {"type": "labels", "parameters": {"matchers": ["team=infra"]}},
    "from-bob": {"type": "sender", "parameters": {"senders": ["bob", "octocat"]}},
    "digits": {"type": "regex", "parameters": {"pattern": "[0-9]+", "negate": True}},
    "expression": {
        "type": "expression",
        "parameters": {"expression": "message.labels.team == 'infra' || recipient.username == 'bob'"},
    },
    "faulty": {"type": "faulty"},
    "lenient": {"type": "faulty", "parameters": {"on_error": "pass"}},
}
PRODUCERS = {"ci": "push", "cd": "push", "hub": "github"}
CONSUMERS = ["room", "file", "direct"]
CONFIGURATIONS = [f"c{number}" for number in range(24)]


class Answering(Consumer[ConsumerParameters]):
    """Refuses some deliveries, always the same, and accepts the others."""

    async def deliver(self, deliveries: Sequence[Delivery], context: Context) -> Sequence[Result]:
        """Says for each what `refuses` says."""
        if refuses(deliveries[0].id):
            raise Permanent("forbidden", "it does not want that")
        return [ACCEPTED]


def refuses(delivery: str) -> bool:
    """Whether the consumer refuses the delivery with that id."""
    return sum(delivery.encode()) % 4 == 0


class AnsweringRoom(Answering, Room):
    """A room that answers."""


class AnsweringFile(Answering, File):
    """A file that answers."""


class AnsweringDirect(Answering, Direct):
    """People who answer."""


ANSWERING = Registry((Push, Github, *FILTER_TYPES, Faulty, AnsweringRoom, AnsweringFile, AnsweringDirect))


class Definer:
    """Makes up definitions and messages."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def user(self) -> dict[str, Any]:
        """A person, at work or not for hours around now, so that it does not matter when exactly is asked."""
        start = now() + timedelta(hours=self._random.choice([-6, 6]))
        hours = {"start": f"{start:%H:%M}", "end": f"{start + timedelta(hours=12):%H:%M}"}
        return {
            "on_leave": self._random.random() < 0.25,
            "working_time": self._random.choice([None, hours]),
            "additional_info": self._random.choice(WORLDS),
        }

    def configuration(self) -> dict[str, Any]:
        """A configuration."""
        some = self._some
        return {
            "users": some(USERS, 4),
            "producers": some(list(PRODUCERS), 3),
            "filters": some([*FILTERS, *["exists", "at-work", "no-wip"] * 3], 3),
            "consumers": some(CONSUMERS, 3),
            "enabled": self._random.random() < 0.85,
        }

    def message(self, id_: str) -> dict[str, Any]:
        """A message; most have a receiver, and some an id."""
        given = {
            "id": id_,
            "sender": self._random.choice([*USERS, "octocat", "a robot", None]),
            "receiver": self._random.choice([*USERS, "octocat", "C", "al", "stranger", None, None, None]),
            "severity": self._random.choice(["info", "error", "critical", None]),
            "labels": self._random.choice([{"team": "infra"}, {"team": "web"}, None]),
            "configuration": self._random.choice([*[None] * 10, *CONFIGURATIONS[:3], "none"]),
        }
        return {
            "producer": self._random.choice([*PRODUCERS, *PRODUCERS, "nobody"]),
            "content": self._random.choice(["x", "wip 7", "PROD is down", "prod 8"]),
            **{name: value for name, value in given.items() if value is not None},
        }

    def _some(self, values: list[str], most: int) -> list[str]:
        return list(dict.fromkeys(self._random.choices(values, k=self._random.randint(0, most))))


@dataclass
class Outcome:
    """What a router made of one message."""

    deliveries: dict[tuple[str, str, str | None], Any] = field(default_factory=dict)
    refused: set[tuple[str, str, str | None, str]] = field(default_factory=set)  # with the reason
    failed: dict[str, str] = field(default_factory=dict)  # configuration → reason of its dead letter
    nothing: list[str] = field(default_factory=list)  # reasons of attempts without a consumer, and of its dead letter
    answers: dict[str, tuple[str, str]] = field(default_factory=dict)  # delivery → outcome and reason of its attempt
    buried: dict[str, str] = field(default_factory=dict)  # delivery → reason of its dead letter

    @property
    def is_over(self) -> bool:
        """Whether the consumers have answered for all deliveries."""
        ids = {delivery.id for delivery in self.deliveries.values()}
        return ids == self.answers.keys() and {id_ for id_ in ids if refuses(id_)} == self.buried.keys()


async def _outcomes(settings: Settings) -> Mapping[str, Outcome]:
    """What is on the topics, by message id."""
    found: defaultdict[str, Outcome] = defaultdict(Outcome)
    for consumer in CONSUMERS:
        for record in await read_all(settings, f"deliveries.{consumer}"):
            delivery = Delivery.decode(record.value)
            key = (delivery.configuration, delivery.consumer, delivery.recipient)
            assert key not in found[delivery.message_id].deliveries
            found[delivery.message_id].deliveries[key] = delivery
    for record in await read_all(settings, "attempts"):
        attempt = json.loads(record.value)
        if "counters" in attempt:
            continue
        if attempt["origin"]["topic"].startswith(f"{settings.topic_prefix}deliveries."):
            assert attempt["delivery"] not in found[attempt["message"]].answers
            found[attempt["message"]].answers[attempt["delivery"]] = (attempt["outcome"], attempt["reason"])
        elif attempt.get("consumer"):
            key_ = (attempt["configuration"], attempt["consumer"], attempt.get("recipient"), attempt["reason"])
            found[attempt["message"]].refused.add(key_)
        else:
            found[attempt["message"]].nothing.append(attempt["reason"])
    for record in await read_all(settings, "dead_letters"):
        letter = json.loads(record.value)
        if letter["stage"] == "deliver":
            found[unquote(letter["delivery"].split("/")[1])].buried[letter["delivery"]] = letter["reason"]
        elif letter["reason"] in ("filter_failed", "filter_unusable"):
            found[letter["message"]].failed[letter["id"].rpartition("/")[2]] = letter["reason"]
        else:
            found[letter["message"]].nothing.append(letter["reason"])
    return found


def _told(explanation: JsonObject) -> Outcome:
    """What an explanation says that a router does; `deliveries` by recipient, each as its lane and address."""
    told = Outcome()
    for part in explanation["configurations"]:
        if part["verdict"] == "failed":
            told.failed[part["configuration"]] = part["reason"]
        for recipient in part["recipients"]:
            for each in recipient["consumers"]:
                key = (part["configuration"], each["consumer"], recipient["recipient"])
                if each["verdict"] == "delivered":
                    told.deliveries[key] = (each["lane"], each["address"])
                else:
                    told.refused.add((*key, each["reason"]))
    return told


def _spread(outcome: Outcome) -> dict[tuple[str, str, str | None], Any]:
    """Deliveries for each person: one to everyone is for each of its recipients."""
    return {
        (configuration, consumer, name): (delivery.lane, delivery.address)
        for (configuration, consumer, recipient), delivery in outcome.deliveries.items()
        for name in ([recipient] if recipient is not None else [*(delivery.recipients or (None,))])
    }


def _check(explanation: JsonObject, outcome: Outcome, message: Mapping[str, Any]) -> None:
    told = _told(explanation)
    assert told.deliveries == _spread(outcome), message
    assert told.refused == outcome.refused, message
    assert told.failed == outcome.failed, message
    if explanation["reason"] != "ok":
        assert outcome.nothing == [explanation["reason"]], message
    elif not outcome.deliveries and not outcome.refused and not outcome.failed:
        recipients = [each for part in explanation["configurations"] for each in part["recipients"]]
        reasons = {each["reason"] for each in recipients if each["verdict"] == "dropped"}
        assert outcome.nothing == [reasons.pop() if len(reasons) == 1 else "filtered"], message
    else:
        assert outcome.nothing == [], message


def _check_whole(explanation: JsonObject, outcome: Outcome, message: Mapping[str, Any]) -> None:
    _check(explanation, outcome, message)
    _check_what_happened(explanation, outcome)


def _check_what_happened(explanation: JsonObject, outcome: Outcome) -> None:
    answers = {
        each["delivery"]: (each["outcome"], each["reason"])
        for each in explanation["attempts"]
        if each["origin"]["topic"].rpartition(".")[0].endswith("deliveries")
    }
    assert answers == outcome.answers
    assert set(answers.values()) <= {("accepted", "ok"), ("refused", "forbidden")}
    letters = {each["delivery"]: each["reason"] for each in explanation["dead_letters"] if each["stage"] == "deliver"}
    assert letters == outcome.buried
    for each in explanation["attempts"]:
        if len(answers) == 1 and each["delivery"] in answers:
            accepted = each["outcome"] == "accepted"
            assert ("accepted it" if accepted else "refused it") in explanation["text"]


@dataclass
class World:
    """A database whose definitions are published, and what explains by them."""

    settings: Settings
    database: Database
    services: Services
    explaining: Explaining

    async def publish(self, specs: Iterable[tuple[Kind, str, Mapping[str, Any]]]) -> None:
        """Writes definitions, new ones or others, and publishes them."""
        for kind, name, spec in specs:
            word = "username" if kind == "user" else "name"
            known = await self.services.get_many(kind, [name])
            if known:
                await self.services.replace(COMMAND_LINE, kind, name, dict(spec))
            else:
                await self.services.create(COMMAND_LINE, kind, {word: name, **spec})
        await publish_all(self.settings, self.database)

    async def route(self, messages: list[dict[str, Any]]) -> Mapping[str, Outcome]:
        """Writes messages and waits until the router has made something of each."""
        before = set(await _outcomes(self.settings))
        await produce(self.settings, "messages", messages)
        seen: Mapping[str, Outcome] = {}

        async def done() -> bool:
            nonlocal seen
            last, seen = seen, await _outcomes(self.settings)
            # Topics are read one after the other: of a message the first time may show a part.
            ids = {message["id"] for message in messages}
            return seen == last and ids <= set(seen) - before and all(seen[id_].is_over for id_ in ids)

        await wait_until(done)
        for follower in (MessageIndex, History):
            await follower(self.settings, self.database).catch_up()
        return seen

    async def explain(self, message: Mapping[str, Any], **more: Any) -> JsonObject:
        """The answer about a message on the topic."""
        query = ExplainQuery(producer=message["producer"], id=message["id"], **more)
        return await self.explaining.answer(query, COMMAND_LINE)


@pytest.fixture
async def world(settings: Settings) -> AsyncIterator[World]:
    async with upgraded(settings) as database:
        explaining = Explaining(settings, database, REGISTRY)
        yield World(settings, database, Services(database, REGISTRY, load_seal(settings)), explaining)
        await explaining.close()


@pytest.mark.slow
async def test_an_explanation_is_what_was_done_then_and_not_what_would_be_done_now(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(happened, "MAX_ATTEMPTS", 500)
    make = Definer(SEED)
    await ensure_topics(world.settings, [deliveries(name) for name in CONSUMERS])
    await world.publish(
        [
            *(("user", name, make.user()) for name in USERS),
            *(("producer", name, {"type": type_}) for name, type_ in PRODUCERS.items()),
            *(("filter", name, spec) for name, spec in FILTERS.items()),
            *(("consumer", name, {"type": name}) for name in CONSUMERS),
            *(("configuration", name, make.configuration()) for name in CONFIGURATIONS),
        ]
    )
    first = [make.message(f"a{number}") for number in range(MESSAGES // 2)]
    async with routers(world.settings), working(world.settings, ANSWERING):
        outcomes = await world.route(first)
        for message in first:
            _check_whole(await world.explain(message), outcomes[message["id"]], message)
        await world.publish(
            [
                *(("user", name, make.user()) for name in USERS),
                *(("configuration", name, make.configuration()) for name in CONFIGURATIONS),
            ]
        )
        # The same messages again, once the router judges by the new definitions.
        again = [{**message, "id": f"b{message['id']}"} for message in first]
        await _knows(world)
        first_outcomes, outcomes = outcomes, await world.route(again)
    differ = 0
    for message, same in zip(first, again, strict=True):
        answer = await world.explain(message)
        _check_whole(answer, first_outcomes[message["id"]], message)
        _check(answer["now"], outcomes[same["id"]], same)
        differ += _told(answer) != _told(answer["now"])
        _check_whole(await world.explain(same), outcomes[same["id"]], same)
    assert differ > len(first) // 4


async def _knows(world: World) -> None:
    """Waits until the router has taken the last change: it says by which version a message was judged."""
    probe = {"producer": "probe", "content": "x"}
    await world.publish(
        [
            ("producer", "probe", {"type": "push"}),
            ("configuration", "probe", {"producers": ["probe"], "consumers": ["file"]}),
        ]
    )
    number = 0

    async def taken() -> bool:
        nonlocal number
        number += 1
        await produce(world.settings, "messages", [{**probe, "id": f"probe{number}"}])
        return any(outcome.deliveries for id_, outcome in (await _outcomes(world.settings)).items() if "probe" in id_)

    await wait_until(taken)
