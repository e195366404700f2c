"""The messages of a benchmark, and how they get onto the topic: as fast as possible, or at a rate.

What a message says, and to whom, is left to `bench.traffic`.
"""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence

import msgspec
from aiokafka import AIOKafkaProducer
from aiokafka.partitioner import murmur2

from bench.rule import Rule
from bench.traffic import SmallTraffic, Traffic
from notifier.kafka import kafka_producer
from notifier.settings import Settings
from notifier.topics import MESSAGES

BATCH_BYTES = 500_000


class Messages:
    """Messages of a rule, made when they are first asked for; the n-th is the same for every contender."""

    def __init__(self, rule: Rule, traffic: Traffic | None = None) -> None:
        """`traffic` says what comes; by default that of the small world."""
        self._rule = rule
        self._traffic = traffic or SmallTraffic(rule)
        self._partitions: dict[str, int] = {
            user: (murmur2(user.encode()) & 0x7FFFFFFF) % rule.partitions for user in rule.users
        }
        self._values: list[bytes] = []
        self._keys: list[bytes | None] = []
        self._matches: list[list[str]] = []
        self._first = 0  # those below are forgotten

    def make(self, count: int) -> None:
        """Makes them, so that it takes no time later."""
        encode = msgspec.json.Encoder().encode
        for number in range(len(self._values), count):
            message = self._traffic.draw(number)
            self._values.append(encode({"id": message_id(number), **message}))
            receiver: str | None = message.get("receiver")
            self._keys.append(None if receiver is None else receiver.encode())
            self._matches.append(self._rule.matches(message["producer"], receiver, message["content"]))

    def values(self, count: int) -> Sequence[bytes]:
        """The first `count` messages as they lie on the topic."""
        self.make(count)
        return self._values[:count]

    def partition(self, number: int) -> int:
        """The partition of the input that the n-th message belongs to."""
        key = self._keys[number]
        if self._traffic.partition is not None or key is None:
            return self._traffic.partition or 0
        return self._partitions[key.decode()]

    def deliveries(self, first: int, end: int) -> int:
        """How many deliveries the messages of a range give rise to."""
        return sum(len(names) for names in self._matches[first:end])

    def nobody(self, first: int, end: int) -> int:
        """How many messages of a range give rise to none."""
        return len([names for names in self._matches[first:end] if not names])

    def forget(self, end: int) -> None:
        """Frees the memory of those below a number, which shall not be asked for again."""
        first, self._first = self._first, end
        self._values[first:end] = [b""] * (end - first)
        self._keys[first:end] = [None] * (end - first)
        self._matches[first:end] = [[]] * (end - first)

    def counts(self, count: int) -> Counter[str]:
        """How many deliveries each of the first `count` messages makes, by its id."""
        return Counter({message_id(number): len(names) for number, names in enumerate(self._matches[:count]) if names})

    def expected(self, count: int) -> Counter[tuple[str, str]]:
        """What the first `count` messages shall give rise to: configuration and message id."""
        return Counter((name, message_id(number)) for number in range(count) for name in self._matches[number])

    async def write(self, settings: Settings, first: int, end: int) -> None:
        """Puts a range onto the topic, in whole batches; returns when the broker has them."""
        self.make(end)
        parts: list[list[tuple[bytes | None, bytes]]] = [[] for _ in range(self._rule.partitions)]
        for number in range(first, end):
            parts[self.partition(number)].append((self._keys[number], self._values[number]))
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
                key, value, partition = self._keys[number], self._values[number], self.partition(number)
                at = time.time_ns()
                acknowledgements.append(await producer.send(topic, value, key=key, partition=partition))
                yield number, at
            await asyncio.gather(*acknowledgements)


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
