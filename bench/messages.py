"""The messages of a benchmark, and how they get onto the topic: as fast as possible, or at a rate.

About 300 bytes each, keyed by receiver; 5 % hold a skip keyword of a configuration that would deliver them otherwise.
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence

import msgspec
from aiokafka import AIOKafkaProducer
from aiokafka.partitioner import murmur2

from bench.rule import PRODUCERS, Rule
from notifier.kafka import kafka_producer
from notifier.settings import Settings
from notifier.topics import MESSAGES

SKIPPED = 0.05
CONTENT_CHARACTERS = 110
BATCH_BYTES = 500_000

_WORDS = ("build", "deploy", "failed", "passed", "review", "request", "merge", "branch", "pipeline", "disk", "backup")


class Messages:
    """Messages of a rule, made when they are first asked for; the n-th is the same for every contender."""

    def __init__(self, rule: Rule) -> None:
        self._rule = rule
        self._chance = random.Random(1)
        self._partitions = {user: (murmur2(user.encode()) & 0x7FFFFFFF) % MESSAGES.partitions for user in rule.users}
        self._texts = [self._text() for _ in range(500)]
        self._values: list[bytes] = []
        self._keys: list[bytes] = []
        self._matches: list[list[str]] = []

    def make(self, count: int) -> None:
        """Makes them, so that it takes no time later."""
        encode = msgspec.json.Encoder().encode
        chance = self._chance
        for number in range(len(self._values), count):
            producer = PRODUCERS[int(chance.random() * len(PRODUCERS))]
            receiver = self._rule.users[int(chance.random() * len(self._rule.users))]
            content = self._texts[int(chance.random() * len(self._texts))]
            configurations = self._rule.by_pair.get((producer, receiver))
            if configurations and chance.random() < SKIPPED:
                content = f"{content[:60]} {configurations[0].skip_keywords[number % 2]} {content[60:]}"
            message = {
                "producer": producer,
                "id": message_id(number),
                "receiver": receiver,
                "title": "The build of main has ended",
                "url": f"https://ci.example.com/builds/{number}",
                "severity": "info",
                "content": content,
            }
            self._values.append(encode(message))
            self._keys.append(receiver.encode())
            self._matches.append(self._rule.matches(producer, receiver, content))

    def values(self, count: int) -> Sequence[bytes]:
        """The first `count` messages as they lie on the topic."""
        self.make(count)
        return self._values[:count]

    def deliveries(self, first: int, end: int) -> int:
        """How many deliveries the messages of a range give rise to."""
        return sum(len(names) for names in self._matches[first:end])

    def expected(self, count: int) -> Counter[tuple[str, str]]:
        """What the first `count` messages shall give rise to: configuration and message id."""
        return Counter((name, message_id(number)) for number in range(count) for name in self._matches[number])

    async def write(self, settings: Settings, first: int, end: int) -> None:
        """Puts a range onto the topic, in whole batches; returns when the broker has them."""
        self.make(end)
        parts: list[list[tuple[bytes, bytes]]] = [[] for _ in range(MESSAGES.partitions)]
        for number in range(first, end):
            key = self._keys[number]
            parts[self._partitions[key.decode()]].append((key, self._values[number]))
        async with kafka_producer(settings, max_batch_size=BATCH_BYTES) as producer:
            await write_parts(producer, settings.topic_prefix + MESSAGES.name, parts)

    async def flow(self, settings: Settings, first: int, end: int, per_second: float) -> AsyncIterator[tuple[int, int]]:
        """Writes a range one by one at a rate. Gives of each its number and the nanoseconds of the clock before it was sent."""
        self.make(end)
        topic = settings.topic_prefix + MESSAGES.name
        async with kafka_producer(settings, linger_ms=0) as producer:
            acknowledgements = []
            start = time.monotonic()
            for number in range(first, end):
                late = time.monotonic() - start - (number - first) / per_second
                if late < 0:
                    await asyncio.sleep(-late)
                key = self._keys[number]
                at = time.time_ns()
                acknowledgements.append(
                    await producer.send(topic, self._values[number], key=key, partition=self._partitions[key.decode()])
                )
                yield number, at
            await asyncio.gather(*acknowledgements)

    def _text(self) -> str:
        words: list[str] = []
        while sum(map(len, words)) + len(words) < CONTENT_CHARACTERS:
            words.append(self._chance.choice(_WORDS))
        return " ".join(words)


async def write_parts(
    producer: AIOKafkaProducer, topic: str, parts: Iterable[Iterable[tuple[bytes | None, bytes]]]
) -> None:
    """Writes keys and values, by partition, in batches of our own making, so that writing costs little."""

    async def write(partition: int, records: Iterable[tuple[bytes | None, bytes]]) -> None:
        batch = producer.create_batch()
        for key, value in records:
            if batch.append(key=key, value=value, timestamp=None) is None:
                await (await producer.send_batch(batch, topic, partition=partition))
                batch = producer.create_batch()
                batch.append(key=key, value=value, timestamp=None)
        if batch.record_count():
            await (await producer.send_batch(batch, topic, partition=partition))

    await asyncio.gather(*[write(partition, records) for partition, records in enumerate(parts)])


def message_id(number: int) -> str:
    """The id of the n-th message."""
    return f"message-{number:07d}"
