"""Record batches made of bytes, as a client may write them that is not careful, and how they get to the broker."""

import asyncio
import re
import time
from collections.abc import Sequence
from random import Random
from typing import Any

from aiokafka import TopicPartition
from aiokafka.codec import gzip_encode, lz4_encode, snappy_encode, zstd_encode

from notifier.kafka import kafka_producer
from notifier.settings import Settings
from streams.outputs.produce_request import ProduceRequest
from streams.outputs.record_batch import RecordBatch
from tests.rigs.kafka_tools import create_topic

_TOPIC_IS_NEW = (3, 6)  # the broker's errors until a partition has its leader

Header = tuple[bytes, bytes | None]

LATIN = (("schlüssel".encode("latin-1"), b"x"),)  # a header whose name is not UTF-8


def number(value: int) -> bytes:
    """A number as a record has it."""
    left = (value << 1) ^ (value >> 63)
    found = bytearray()
    while left > 0x7F:
        found.append(left & 0x7F | 0x80)
        left >>= 7
    return bytes([*found, left])


def text(value: bytes | None) -> bytes:
    """Bytes with their length in front."""
    return number(-1) if value is None else number(len(value)) + value


def record(
    value: bytes | None,
    key: bytes | None = None,
    headers: Sequence[Header] = (),
    *,
    place: int = 0,
    attributes: int = 0,
) -> bytes:
    """A record with its length in front; `place` is its place in the batch."""
    parts = [bytes([attributes]), number(0), number(place), text(key), text(value), number(len(headers))]
    parts += [text(name) + text(content) for name, content in headers]
    return text(b"".join(parts))


def batch(body: bytes, count: int, compression: int = 0) -> RecordBatch:
    """A batch; a body of a compression has to be compressed."""
    return RecordBatch(body, count, int(time.time() * 1000), compression)


async def write_batch(settings: Settings, topic: str, made: RecordBatch, partition: int = 0) -> int:
    """Writes a batch to a topic, named without the prefix; answers the broker's error number, 0 for none."""
    await create_topic(settings, topic)
    place = (settings.topic_prefix + topic, partition)
    async with kafka_producer(settings) as producer:
        client = producer.client
        await client.set_topics([place[0]])
        leader = client.cluster.leader_for_partition(TopicPartition(*place))
        request: Any = ProduceRequest([(place, made.encode())])
        while True:
            answers: dict[tuple[str, int], int] = await client.send(leader, request)
            if answers[place] not in _TOPIC_IS_NEW:
                return answers[place]
            await asyncio.sleep(0.05)


# --- what nobody should write ---


def odd_values(chance: Random, good: bytes) -> bytes:
    """A value that is no record of the topic, or hardly one."""
    cut = chance.randrange(len(good))
    return chance.choice(
        [
            b"",
            b"null",
            b"[]",
            b"{}",
            b"this is not json",
            b"\xff\xfe" + good,
            b'"\\ud83d"',
            chance.randbytes(chance.randrange(1, 60)),
            good[:cut],
            good[:cut] + chance.randbytes(1) + good[cut + 1 :],
            good[:-1] + b',"x":' + b"[" * 1100 + b"]" * 1100 + b"}",
            good[:-1] + b',"x":"' + b"\\u0000" * 5 + b'"}',
            re.sub(rb'":"[^"]*"', lambda found: chance.choice([b'":null', b'":[]', b'":{}', found.group()]), good),
        ]
    )


def odd_batch(chance: Random, good: bytes) -> RecordBatch:
    """A batch of records of which any may be odd in its value, its headers or its bytes; Kafka may refuse it."""
    count = chance.randrange(1, 4)
    parts = []
    for place in range(count):
        headers: list[Header] = [chance.choice([(b"owner", None), (b"last", b"1"), *LATIN, (chance.randbytes(5), b"")])]
        value = chance.choice([None, good]) if chance.random() < 0.2 else odd_values(chance, good)
        key = chance.choice([b"odd", b"\xff/\x00", b"user/odd", b"consumer/../odd"])
        attributes = chance.choice([0, 0, 0x7F, 0xFF])
        parts.append(record(value, key, headers, place=place, attributes=attributes))
    body = b"".join(parts)
    pack = chance.choice([None, None, (1, gzip_encode), (2, snappy_encode), (3, lz4_encode), (4, zstd_encode)])
    if chance.random() < 0.4:
        at = chance.randrange(len(body))
        body = body[:at] + chance.randbytes(1) + body[at + 1 :]
    if pack is None:
        return batch(body, count)
    return batch(bytes(pack[1](body)), count, pack[0])


async def write_odd_batches(settings: Settings, topic: str, good: bytes, seed: int, count: int) -> int:
    """Writes that many odd batches to partition 0 of a topic; answers how many of them Kafka took."""
    chance = Random(f"{seed} {topic}")
    taken = 0
    for _ in range(count):
        taken += await write_batch(settings, topic, odd_batch(chance, good)) == 0
    return taken
