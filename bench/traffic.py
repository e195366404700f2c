"""Traffic: what messages say and to whom, drawn by chance; the same draws for every contender.

small    any producer and receiver; about 300 bytes; 5 % hold a skip keyword of a configuration that would deliver them
broad    any producer, receiver and sender; about 230 bytes; the words of the content are drawn, keywords among them
skewed   as broad, the receiver, the producer and the sender by Zipf's law: the n-th of them 1/n as often as the first
"""

import random
from bisect import bisect
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

from bench.rule import Rule

SKIPPED = 0.05
CONTENT_CHARACTERS = 110
WORDS_OF_CONTENT = 22
KEYWORD_CHANCE = 0.085  # that a word of a broad content is a keyword: then two keywords drop 10 % of all messages
TEXTS = 20_000  # broad contents; nobody keeps anything by content, so a few suffice

_WORDS = ("build", "deploy", "failed", "passed", "review", "request", "merge", "branch", "pipeline", "disk", "backup")
_STEMS = ("lum", "tor", "bran", "sel", "vik", "dor", "nam", "pel", "kas", "rim")
_OTHER_WORDS = tuple(f"{stem}{end}" for stem in _STEMS for end in ("an", "eth", "ol", "us", "ith", "ara", "en", "or"))
# None of them occurs within another word of a content.
KEYWORDS = tuple(
    f"{stem}{end}"
    for stem in ("qu", "zy", "xo", "jw")
    for end in ("arz", "imp", "olt", "unk", "ebb", "ygo", "ash", "ent", "off")
)


class Traffic:
    """Draws messages."""

    partition: int | None = None  # of the input; by default the receiver decides

    def draw(self, number: int) -> dict[str, Any]:
        """The n-th message, without its id. Call it for one number after the other."""
        raise NotImplementedError


class SmallTraffic(Traffic):
    """That of the small world."""

    def __init__(self, rule: Rule) -> None:
        self._rule = rule
        self._chance = random.Random(1)
        self._texts = [self._text() for _ in range(500)]

    def draw(self, number: int) -> dict[str, Any]:
        chance, rule = self._chance, self._rule
        producer = rule.producers[int(chance.random() * len(rule.producers))]
        receiver = rule.users[int(chance.random() * len(rule.users))]
        content = self._texts[int(chance.random() * len(self._texts))]
        configurations = rule.by_pair.get((producer, receiver))
        if configurations and chance.random() < SKIPPED:
            content = f"{content[:60]} {configurations[0].skip_keywords[number % 2]} {content[60:]}"
        return {
            "producer": producer,
            "receiver": receiver,
            "title": "The build of main has ended",
            "url": f"https://ci.example.com/builds/{number}",
            "severity": "info",
            "content": content,
        }

    def _text(self) -> str:
        words: list[str] = []
        while sum(map(len, words)) + len(words) < CONTENT_CHARACTERS:
            words.append(self._chance.choice(_WORDS))
        return " ".join(words)


class BroadTraffic(Traffic):
    """That of the broad world; `skewed` that of the other."""

    def __init__(self, rule: Rule, *, skewed: bool = False) -> None:
        self._chance = chance = random.Random(1)
        self._texts = [broad_text(chance) for _ in range(TEXTS)]
        self._receivers = _Names(rule.users, chance, skewed)
        self._senders = _Names(rule.users, chance, skewed)
        self._producers = _Names(rule.producers, chance, skewed)

    def draw(self, number: int) -> dict[str, Any]:
        chance = self._chance.random
        return {
            "sender": self._senders.at(chance()),
            "receiver": self._receivers.at(chance()),
            "content": self._texts[int(chance() * TEXTS)],
            "producer": self._producers.at(chance()),
        }


def broad_text(chance: random.Random) -> str:
    """A content of a broad world; a keyword in it may be written in upper case."""
    words = []
    for _ in range(WORDS_OF_CONTENT):
        if chance.random() < KEYWORD_CHANCE:
            word = chance.choice(KEYWORDS)
            words.append(word.upper() if chance.random() < 0.3 else word)
        else:
            words.append(chance.choice(_OTHER_WORDS))
    return " ".join(words).capitalize() if chance.random() < 0.5 else " ".join(words)


class _Names:
    """Names that are drawn, all alike, or by Zipf's law in an order of chance."""

    def __init__(self, names: Sequence[str], chance: random.Random, skewed: bool) -> None:
        self._names = list(names)
        self._sums: list[float] = []
        if skewed:
            chance.shuffle(self._names)
            self._sums = list(accumulate(1 / place for place in range(1, len(names) + 1)))

    def at(self, drawn: float) -> str:
        """The name at a number from 0 to 1."""
        if self._sums:
            return self._names[min(bisect(self._sums, drawn * self._sums[-1]), len(self._names) - 1)]
        return self._names[int(drawn * len(self._names))]
