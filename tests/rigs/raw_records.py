"""Record batches made of bytes, as a client may write them that is not careful, and how they get to the broker."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import cache
from random import Random
from struct import Struct, pack_into
from typing import Any, Protocol

from aiokafka import TopicPartition
from aiokafka.codec import gzip_encode, lz4_encode, snappy_encode, zstd_encode
from aiokafka.record.util import calc_crc32c

from notifier.kafka import kafka_producer
from notifier.settings import Settings
from streams.outputs.produce_request import ProduceRequest
from tests.rigs.kafka_tools import create_topic

_TOPIC_IS_NEW = (3, 6)  # the broker's errors until a partition has its leader

Header = tuple[bytes, bytes | None]

LATIN = (("schlüssel".encode("latin-1"), b"x"),)  # a header whose name is not UTF-8


class Made(Protocol):
    """A batch that can be written."""

    def encode(self) -> bytes:
        """Its bytes."""


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
    later_ms: int = 0,
) -> bytes:
    """A record with its length in front; `place` is its place in the batch, `later_ms` its time behind the batch's."""
    parts = [bytes([attributes]), number(later_ms), number(place), text(key), text(value), number(len(headers))]
    parts += [text(name) + text(content) for name, content in headers]
    return text(b"".join(parts))


# Base offset, length, leader's epoch, format and checksum; then attributes, last offset, first and last time, the producer's id,
# epoch and sequence number, count of records: https://kafka.apache.org/documentation/#recordbatch.
_FRONT, _REST = Struct(">qiibI"), Struct(">hiqqqhii")
_COUNTED = 9  # bytes between the length and the part that the checksum covers
_CHECKSUM, _CHECKED = 17, 21  # where it stands, and where that part begins


class RawBatch:
    """A batch of records that are bytes; those of a compression have to be compressed."""

    def __init__(self, body: bytes, count: int, compression: int = 0) -> None:
        self._body, self._count, self._compression = body, count, compression
        self._began = int(time.time() * 1000)

    def encode(self) -> bytes:
        """Its bytes, with the right checksum."""
        began, count = self._began, self._count
        rest = _REST.pack(self._compression, count - 1, began, began, -1, -1, -1, count) + self._body
        return _FRONT.pack(0, _COUNTED + len(rest), -1, 2, calc_crc32c(rest)) + rest


def batch(body: bytes, count: int, compression: int = 0) -> RawBatch:
    """A batch; a body of a compression has to be compressed."""
    return RawBatch(body, count, compression)


Write = Callable[[str, Made], Awaitable[int]]


@asynccontextmanager
async def raw_writer(settings: Settings) -> AsyncIterator[Write]:
    """Writes batches to partition 0 of a topic, named without the prefix; answers the broker's error number, 0 for none."""
    known: set[str] = set()
    async with kafka_producer(settings) as producer:
        client = producer.client

        async def write(topic: str, made: Made) -> int:
            place = (settings.topic_prefix + topic, 0)
            if topic not in known:
                await create_topic(settings, topic)
                known.add(topic)
                await client.set_topics([settings.topic_prefix + one for one in known])
            request: Any = ProduceRequest([(place, made.encode())])
            while True:
                leader = client.cluster.leader_for_partition(TopicPartition(*place))
                answers: dict[tuple[str, int], int] = await client.send(leader, request)
                if answers[place] not in _TOPIC_IS_NEW:
                    return answers[place]
                await asyncio.sleep(0.05)

        yield write


async def write_batch(settings: Settings, topic: str, made: Made) -> int:
    """Writes one batch, as `raw_writer` does."""
    async with raw_writer(settings) as write:
        return await write(topic, made)


# --- what nobody should write ---


def odd_value(chance: Random, good: bytes) -> bytes:
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
            good[:-1] + b',"v":%d}' % chance.choice([0, -1, 2**31, 2**63, 2**70]),
            re.sub(rb'":"[^"]*"', lambda found: chance.choice([b'":null', b'":[]', b'":{}', found.group()]), good),
            re.sub(rb"\d{4}-", lambda found: chance.choice([b"0000-", b"0001-", b"9999-", b"99999-"]), good),
        ]
    )


_KEYS = (b"odd", b"\xff/\x00", b"user/odd", b"consumer/../odd", b"", None)
_PACKERS: tuple[tuple[int, Callable[[bytes], Any]], ...] = (
    (1, gzip_encode), (2, snappy_encode), (3, lz4_encode), (4, zstd_encode),
)  # fmt: skip
_TIMES = (-(2**63), -1, 0, 1, 2**31, 253402300800000, 2**63 - 1)  # milliseconds


def _records(chance: Random, good: bytes, *, times: Sequence[int] = (0,)) -> tuple[bytes, int]:
    count = chance.randrange(1, 4)
    parts = []
    for place in range(count):
        headers: list[Header] = [
            chance.choice([(b"owner", None), (b"claim", b"-1"), (b"last", b"1"), *LATIN, (chance.randbytes(5), b"")])
        ]
        value = chance.choice([None, good]) if chance.random() < 0.2 else odd_value(chance, good)
        key, attributes, later = chance.choice(_KEYS), chance.choice([0, 0x7F, 0xFF]), chance.choice(times)
        parts.append(record(value, key, headers, place=place, attributes=attributes, later_ms=later))
    return b"".join(parts), count


def _one_byte_wrong(chance: Random, data: bytes) -> bytes:
    at = chance.randrange(len(data))
    return data[:at] + chance.randbytes(1) + data[at + 1 :]


@cache
def _bomb(codec: int) -> bytes:
    packed: bytes = bytes(dict(_PACKERS)[codec](record(bytes(32 * 1024 * 1024), b"bomb")))
    return packed


class OddBatch:
    """A batch whose header is not what its records are; its checksum is right."""

    _PLACES = {"format": (16, "b"), "attributes": (21, "h"), "last": (23, "i"), "time": (27, "q"), "count": (57, "i")}  # noqa: RUF012

    def __init__(self, made: RawBatch, field: str, value: int) -> None:
        self._made, self._field, self._value = made, field, value

    def encode(self) -> bytes:
        """Its bytes."""
        made = bytearray(self._made.encode())
        place, form = self._PLACES[self._field]
        pack_into(f">{form}", made, place, self._value)
        pack_into(">I", made, _CHECKSUM, calc_crc32c(bytes(made[_CHECKED:])))
        return bytes(made)


ODD_KINDS = ("odd values", "one byte wrong", "packed", "packed, one byte wrong", "odd times", "odd header of the batch",
             "another format", "unpacks to gigabytes")  # fmt: skip


def odd_batch(chance: Random, kind: str, good: bytes) -> Made:
    """A batch of records of which any may be odd in its value, its headers or its bytes; Kafka may refuse it."""
    body, count = _records(chance, good, times=_TIMES if kind == "odd times" else (0,))
    codec, pack = chance.choice(_PACKERS)
    if kind == "unpacks to gigabytes":  # to megabytes, so that the tests take no longer
        return batch(_bomb(codec), 1, codec)
    if kind == "one byte wrong":
        return batch(_one_byte_wrong(chance, body), count)
    if kind.startswith("packed"):
        damaged = chance.random() < 0.5 and kind != "packed"
        packed = bytes(pack(_one_byte_wrong(chance, body) if damaged else body))
        whole = kind == "packed" or damaged
        return batch(packed if whole else _one_byte_wrong(chance, packed), count, codec)
    made = batch(body, count)
    if kind == "another format":
        return OddBatch(made, "format", chance.choice([-1, 0, 1, 3, 127]))
    if kind == "odd header of the batch":
        field, values = chance.choice(
            [
                ("attributes", [1, 4, 5, 7, 8, 0x10, 0x20, 0x30, 0x40, 0x7FF8]),
                ("last", [-1, 0, 1, 2**31 - 1]),
                ("count", [-1, 0, 1, 2, 5, 2**31 - 1]),
            ]
        )
        return OddBatch(made, field, chance.choice(values))
    if kind == "odd times":
        return OddBatch(made, "time", chance.choice([*_TIMES, int(time.time() * 1000)]))
    return made
