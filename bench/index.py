"""The rule as a hand-written program would keep it: by receiver. For the contenders; the check does not use it."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
from aiokafka.partitioner import murmur2

from bench.rule import Configuration, address, read_rule
from notifier.topics import DELIVERIES


class Message(msgspec.Struct):
    """Of a message, what matching and writing look at."""

    producer: str
    id: str
    receiver: str
    content: str
    sender: str | None = None


class Delivery(msgspec.Struct, omit_defaults=True):
    """What is written for each match: as much as the router writes, the message's own bytes spliced in."""

    id: str
    configuration: str
    configuration_version: int
    consumer: str
    lane: str
    message: msgspec.Raw
    message_id: str
    recipient: str
    address: str | None
    sender: str | None
    receiver: str
    attempt: int


class Output(msgspec.Struct, frozen=True):
    """One partition of a consumer's topic, and the key of what goes there: the lane."""

    topic: str
    key: bytes
    partition: int


class _Entry(msgspec.Struct, frozen=True):
    """A configuration as one receiver finds it."""

    producers: frozenset[str]
    keywords: tuple[str, str]
    configuration: Configuration
    output: Output


class _Person(msgspec.Struct):
    """A receiver, and the configurations that name it."""

    name: str
    address: str | None  # None where the consumers are the lanes
    entries: list[_Entry]


class Index:
    """Finds the matches of a message; one look-up and then the few configurations of its receiver."""

    def __init__(self, file: Path, prefix: str) -> None:
        configurations, consumers, self._ignore_case = read_rule(file)
        self.topics = {name: prefix + DELIVERIES + name for name in consumers.names}
        self._partitions = consumers.partitions
        shared: dict[tuple[str, bytes], Output] = {}
        self._people: dict[str, _Person] = {}
        for configuration in configurations:
            keywords = configuration.skip_keywords
            if self._ignore_case:
                keywords = (keywords[0].casefold(), keywords[1].casefold())
            producers = frozenset(configuration.producers)
            for user in configuration.users:
                person = self._people.get(user.casefold())
                if person is None:
                    own = address(user) if consumers.people else None
                    person = self._people[user.casefold()] = _Person(user.casefold(), own, [])
                key = (person.address or configuration.consumer).encode()
                output = shared.get((configuration.consumer, key))
                if output is None:
                    output = self._output(configuration.consumer, key)
                    shared[configuration.consumer, key] = output
                person.entries.append(_Entry(producers, keywords, configuration, output))
        self._decode = msgspec.json.Decoder(Message).decode
        self._encode = msgspec.json.Encoder().encode

    def _output(self, consumer: str, key: bytes) -> Output:
        return Output(self.topics[consumer], key, (murmur2(key) & 0x7FFFFFFF) % self._partitions)

    def deliveries(self, value: bytes) -> Iterator[tuple[Output, bytes]]:
        """What a message gives rise to."""
        message = self._decode(value)
        person = self._people.get(message.receiver.casefold())
        if person is None:
            return
        content = ""
        for entry in person.entries:
            if message.producer not in entry.producers:
                continue
            content = content or (message.content.casefold() if self._ignore_case else message.content)
            first, second = entry.keywords
            if first in content or second in content:
                continue
            configuration = entry.configuration
            consumer, receiver = configuration.consumer, person.name
            yield (
                entry.output,
                self._encode(
                    Delivery(
                        id=f"{message.producer}/{message.id}/{configuration.name}/{consumer}/{receiver}",
                        configuration=configuration.name,
                        configuration_version=1,
                        consumer=consumer,
                        lane=person.address or consumer,
                        message=msgspec.Raw(value),
                        message_id=message.id,
                        recipient=receiver,
                        address=person.address,
                        sender=message.sender,
                        receiver=receiver,
                        attempt=1,
                    )
                ),
            )
