"""The rule that all contenders apply, what it says about a message in plain Python, and itself as definitions and as JSON.

Every configuration has producers, users, two skip keywords and a consumer. A message is delivered by each configuration that
names its producer and its receiver, unless one of that configuration's keywords is in its content.

`make_rule` makes the small world; the others are made by `bench.worlds`. The small one: U = max(1,000, N) users for N
configurations, and G = min(4, N) groups into which the 8 producers are dealt: of N ≥ 4 configurations each has 2 producers, of
one it has all 8. A user is, with each group of producers, in one configuration of that group in 90 % of the cases, in two in 5 %
and in none in 5 %; so a pair of producer and receiver matches one configuration on average, and a configuration has G·U/N users
(N=10,000: 4, N=100: 40). At N=1 everything is in the one there is.
"""

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec

from notifier.topics import MESSAGES

PRODUCERS = tuple(f"producer-{number}" for number in range(8))
GROUPS = 4
FEWEST_USERS = 1_000
IN_NONE, IN_TWO = 0.05, 0.05
TELEGRAM = {"bot_token": "1:nobody", "chat_id": "recipient"}  # the router opens no secrets, and sends nothing


class Configuration(msgspec.Struct, frozen=True):
    """One configuration. Without users it takes messages to anyone."""

    name: str
    producers: tuple[str, ...]
    users: tuple[str, ...]
    skip_keywords: tuple[str, str]
    consumer: str


class Consumers(msgspec.Struct, frozen=True):
    """The consumers, all alike."""

    names: tuple[str, ...]
    partitions: int  # of the topic of each
    people: bool = False  # whether each person is a lane; if not, the consumer itself is the only one


@dataclass(frozen=True)
class Rule:
    """All configurations, the users and the consumers."""

    users: tuple[str, ...]
    configurations: tuple[Configuration, ...]
    consumers: Consumers
    producers: tuple[str, ...] = PRODUCERS
    ignore_case: bool = False  # of the keywords
    partitions: int = MESSAGES.partitions  # of the input

    @cached_property
    def by_pair(self) -> dict[tuple[str, str], list[Configuration]]:
        """The configurations that name a producer and a receiver."""
        found: dict[tuple[str, str], list[Configuration]] = {}
        for configuration in self.configurations:
            for producer in configuration.producers:
                for user in configuration.users:
                    found.setdefault((producer, user), []).append(configuration)
        return found

    @cached_property
    def for_anyone(self) -> dict[str, list[Configuration]]:
        """The configurations without users that name a producer."""
        return self._by_producer(configuration for configuration in self.configurations if not configuration.users)

    @cached_property
    def by_producer(self) -> dict[str, list[Configuration]]:
        """The configurations that name a producer."""
        return self._by_producer(self.configurations)

    def _by_producer(self, configurations: Iterable[Configuration]) -> dict[str, list[Configuration]]:
        found: dict[str, list[Configuration]] = {}
        for configuration in configurations:
            for producer in configuration.producers:
                found.setdefault(producer, []).append(configuration)
        return found

    def matches(self, producer: str, receiver: str | None, content: str) -> list[str]:
        """The configuration's name for each delivery that a message makes: what the contenders' outputs are checked against.

        Without a receiver, with consumers that write to people, a configuration makes one for each of its users.
        """
        if receiver is None:
            taking = self.by_producer.get(producer, [])
        else:
            taking = self.by_pair.get((producer, receiver), []) + self.for_anyone.get(producer, [])
        if self.ignore_case:
            content = content.casefold()
        names = []
        for configuration in taking:
            first, second = self._keywords[configuration.name]
            if first not in content and second not in content:
                recipients = len(configuration.users) if receiver is None and self.consumers.people else 1
                names += [configuration.name] * recipients
        return names

    @cached_property
    def _keywords(self) -> dict[str, tuple[str, str]]:
        """By configuration, as they are searched for."""
        found = {}
        for configuration in self.configurations:
            first, second = configuration.skip_keywords
            found[configuration.name] = (first.casefold(), second.casefold()) if self.ignore_case else (first, second)
        return found

    def definitions(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """What the router is given: key on the topic `definitions`, and spec."""
        yield "script/nothing", {"executor": "bash", "content": "true"}
        for user in self.users:
            info = {"telegram": {"username": f"tg_{user}", "id": int(address(user))}} if self.consumers.people else {}
            yield f"user/{user}", {"additional_info": info}
        for producer in self.producers:
            yield f"producer/{producer}", {"type": "push", "parameters": {}}
        for consumer in self.consumers.names:
            type_, parameters = ("telegram", TELEGRAM) if self.consumers.people else ("script", {"script": "nothing"})
            yield (
                f"consumer/{consumer}",
                {
                    "type": type_,
                    "parameters": {**parameters, "partitions": self.consumers.partitions},
                },
            )
        yield "filter/receiver-exists", {"type": "receiver_exists", "parameters": {}}
        for configuration in self.configurations:
            skip = {"skip_keywords": list(configuration.skip_keywords), "ignore_case": self.ignore_case}
            yield f"filter/skip-{configuration.name}", {"type": "skip_keywords", "parameters": skip}
        for configuration in self.configurations:
            yield f"configuration/{configuration.name}", spec(configuration)

    def write(self, file: Path) -> None:
        """What the other contenders are given."""
        file.write_bytes(msgspec.json.encode((self.configurations, self.consumers, self.ignore_case)))


def address(user: str) -> str:
    """A person's address, for consumers that write to people."""
    return str(1_000_000 + int(user.rpartition("-")[2]))


def spec(configuration: Configuration, title: str | None = None) -> dict[str, Any]:
    """A configuration as the router is given it."""
    found = {
        "users": list(configuration.users),
        "producers": list(configuration.producers),
        "filters": [*(("receiver-exists",) if configuration.users else ()), f"skip-{configuration.name}"],
        "consumers": [configuration.consumer],
    }
    return found if title is None else {**found, "title": title}


def read_rule(file: Path) -> tuple[Sequence[Configuration], Consumers, bool]:
    """What `Rule.write` has written."""
    return msgspec.json.decode(file.read_bytes(), type=tuple[tuple[Configuration, ...], Consumers, bool])


def make_rule(count: int, consumers: int = 8, partitions: int = 4) -> Rule:
    """The rule of `count` configurations; the same for the same numbers."""
    chance = random.Random(count)
    users = tuple(f"user-{number:05d}" for number in range(max(FEWEST_USERS, count)))
    groups = min(GROUPS, count)
    members: list[list[str]] = [[] for _ in range(count)]
    for group in range(groups):
        mine = range(group, count, groups)
        order = list(users)
        chance.shuffle(order)
        for place, user in enumerate(order):
            first = place % len(mine)  # dealt out, so that no configuration is left without users
            drawn = chance.random()
            if len(mine) == 1 or drawn >= IN_NONE:
                members[mine[first]].append(user)
            if len(mine) > 1 and drawn >= 1 - IN_TWO:
                members[mine[(first + 1) % len(mine)]].append(user)
    names = tuple(f"consumer-{number:04d}" for number in range(consumers))
    return Rule(
        users=users,
        configurations=tuple(
            Configuration(
                name=f"configuration-{number:05d}",
                producers=PRODUCERS[number % groups :: groups],
                users=tuple(members[number]),
                skip_keywords=(f"draft-{number:05d}", f"wip-{number:05d}"),
                consumer=names[number % consumers],
            )
            for number in range(count)
        ),
        consumers=Consumers(names, partitions),
    )
