"""Worlds: the organisations that the router is measured in, each a rule and the traffic that goes with it.

    small    up to 4 × 10,000 pairs of producer group and receiver, one lane a consumer; see `bench.rule`
    broad    10,000 users × 20 producers, and all 200,000 pairs come equally often: each once in 200,000 messages
    skewed   the rule of broad; the pairs come by Zipf's law

In broad and skewed a message matches one configuration on average, and about 37 % match none. A configuration has 5 of the 20
producers, `receiver_exists`, two keywords out of 36 with `ignore_case`, and one of 8 consumers that write to people, each person
a lane. Fewer than 5 configurations have more producers, so that there is a match at all: one alone has all producers and users.
"""

import math
import random
from collections.abc import Callable
from dataclasses import dataclass

from bench.messages import Messages
from bench.rule import Configuration, Consumers, Rule, make_rule
from bench.traffic import KEYWORD_CHANCE, KEYWORDS, WORDS_OF_CONTENT, BroadTraffic, Traffic

WORLDS = SMALL, BROAD, SKEWED = "small", "broad", "skewed"

USERS = 10_000
PRODUCERS = 20
PRODUCERS_EACH = 5
PARTITIONS = 4  # of the input, and of each consumer's topic
CONSUMERS = 8
# The chance that a message which reaches a configuration has neither of its two keywords.
PASSING = (1 - 2 * KEYWORD_CHANCE / len(KEYWORDS)) ** WORDS_OF_CONTENT


@dataclass(frozen=True)
class World:
    """A rule and what comes."""

    name: str
    rule: Rule
    traffic: Callable[[], Traffic | None]  # made anew, it draws the same

    def messages(self) -> Messages:
        """The messages from the first on."""
        return Messages(self.rule, self.traffic())


def make_world(name: str, count: int) -> World:
    """The world with that many configurations; the same for the same numbers."""
    if name == SMALL:
        return World(name, make_rule(count), lambda: None)
    rule = broad_rule(count)
    return World(name, rule, lambda: BroadTraffic(rule, skewed=name == SKEWED))


def broad_rule(count: int) -> Rule:
    """The rule of broad and skewed."""
    chance = random.Random(count)
    users = tuple(f"user-{number:05d}" for number in range(USERS))
    producers = tuple(f"producer-{number:02d}" for number in range(PRODUCERS))
    consumers = tuple(f"consumer-{number:04d}" for number in range(CONSUMERS))
    each = max(PRODUCERS_EACH, math.ceil(PRODUCERS / count))
    size = min(USERS, USERS * PRODUCERS / (count * each * PASSING))
    return Rule(
        users=users,
        configurations=tuple(
            Configuration(
                name=f"configuration-{number:05d}",
                producers=tuple(chance.sample(producers, each)),
                users=tuple(chance.sample(users, int(size) + (chance.random() < size % 1))),
                skip_keywords=keyword_pair(chance),
                consumer=consumers[number % CONSUMERS],
            )
            for number in range(count)
        ),
        consumers=Consumers(consumers, PARTITIONS, people=True),
        producers=producers,
        ignore_case=True,
        partitions=PARTITIONS,
    )


def keyword_pair(chance: random.Random) -> tuple[str, str]:
    """Two keywords, written as people do."""
    first, second = chance.sample(KEYWORDS, 2)
    return first.capitalize(), second
