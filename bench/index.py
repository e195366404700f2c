"""The rule as a hand-written program would keep it: by receiver. For the contenders; the check does not use it."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
from aiokafka.partitioner import murmur2

from bench.rule import Configuration, read_rule
from notifier.topics import DELIVERIES


class Message(msgspec.Struct):
    """Of a message, what matching looks at."""

    producer: str
    id: str
    receiver: str
    content: str


class Delivery(msgspec.Struct):
    """What is written for each match: as much as the router writes, the message's own bytes spliced in."""

    id: str
    configuration: str
    configuration_version: int
    consumer: str
    lane: str
    message: msgspec.Raw
    message_id: str
    recipient: str
    receiver: str
    attempt: int = 1


class Output(msgspec.Struct, frozen=True):
    """Where the deliveries of a consumer go. Their key is the lane, and a script consumer has one, so it is one partition."""

    topic: str
    key: bytes
    partition: int


class Index:
    """Finds the matches of a message; one look-up and then the few configurations of its receiver."""

    def __init__(self, file: Path, prefix: str) -> None:
        configurations, consumers = read_rule(file)
        self.outputs = {
            name: Output(
                topic=prefix + DELIVERIES + name,
                key=name.encode(),
                partition=(murmur2(name.encode()) & 0x7FFFFFFF) % consumers.partitions,
            )
            for name in consumers.names
        }
        self._by_receiver: dict[str, list[tuple[frozenset[str], Configuration, Output]]] = {}
        for configuration in configurations:
            entry = frozenset(configuration.producers), configuration, self.outputs[configuration.consumer]
            for user in configuration.users:
                self._by_receiver.setdefault(user.casefold(), []).append(entry)
        self._decode = msgspec.json.Decoder(Message).decode
        self._encode = msgspec.json.Encoder().encode

    def deliveries(self, value: bytes) -> Iterator[tuple[Output, bytes]]:
        """What a message gives rise to."""
        message = self._decode(value)
        receiver = message.receiver.casefold()
        for producers, configuration, output in self._by_receiver.get(receiver, ()):
            if message.producer not in producers:
                continue
            first, second = configuration.skip_keywords
            if first in message.content or second in message.content:
                continue
            consumer = configuration.consumer
            yield (
                output,
                self._encode(
                    Delivery(
                        id=f"{message.producer}/{message.id}/{configuration.name}/{consumer}/{receiver}",
                        configuration=configuration.name,
                        configuration_version=1,
                        consumer=consumer,
                        lane=consumer,
                        message=msgspec.Raw(value),
                        message_id=message.id,
                        recipient=receiver,
                        receiver=receiver,
                    )
                ),
            )
