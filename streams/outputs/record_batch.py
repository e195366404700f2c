"""RecordBatch: records of one output partition as they lie on the wire and in the broker's log, Kafka's format 2.

A closed batch can be sent by any Kafka producer, and again by another, without being built anew; aiokafka's belongs to the
producer that sends it first. It is no faster: 0.51 µs for a record of 560 bytes, and aiokafka's 0.44, each in a loop of its own
with everything in the cache. The bytes are the same but for the timestamps: all records of a batch have that of its first.

The format is Apache Kafka's, described at https://kafka.apache.org/documentation/#recordbatch.
"""

from collections.abc import Callable
from struct import Struct
from time import time
from typing import Any

import google_crc32c
from aiokafka.codec import gzip_encode, lz4_encode, snappy_encode, zstd_encode
from aiokafka.record.memory_records import MemoryRecords

NO_COMPRESSION = 0
Output = tuple[bytes, bytes]  # key and value

_COMPRESSORS: dict[int, Callable[[bytes], Any]] = {1: gzip_encode, 2: snappy_encode, 3: lz4_encode, 4: zstd_encode}
_NO_PRODUCER = (-1, -1, -1)
_FRONT = Struct(">qiibI")  # base offset, length, leader's epoch, format, checksum
_COUNTED = 9  # bytes between the length and the part that the checksum covers
# Attributes, last offset, first and last time, the producer's id, epoch and sequence number, count of records.
_REST = Struct(">hiqqqhii")
_FORMAT = 2
_NO_HEADERS = b"\x00"
_KEPT = 1 << 14  # numbers whose bytes are kept


class _Numbers(dict[int, bytes]):
    """Numbers as a record has them: zigzag, seven bits in a byte, the lowest first."""

    def __missing__(self, number: int) -> bytes:
        left = number << 1
        found = bytearray()
        while left > 0x7F:
            found.append(left & 0x7F | 0x80)
            left >>= 7
        found.append(left)
        text = bytes(found)
        if number < _KEPT:
            self[number] = text
        return text


_numbers = _Numbers()


class _Starts(dict[int, bytes]):
    """The front of a record, by its place in the batch: no attributes, no time of its own, the place."""

    def __missing__(self, place: int) -> bytes:
        text = b"\x00\x00" + _numbers[place]
        if place < _KEPT:
            self[place] = text
        return text


_starts = _Starts()


def framed(key: bytes) -> bytes:
    """A key with its length in front, as it stands in a record."""
    return _numbers[len(key)] + key


class OpenBatch:
    """A batch that still takes records."""

    __slots__ = ("_parts", "began", "count", "size")

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self.count = 0
        self.size = 0  # bytes of keys and values
        self.began = int(time() * 1000)  # milliseconds since 1970

    def append(self, key: bytes, value: bytes) -> None:
        """Puts a record behind the others; the key is `framed`."""
        length = len(value)
        start = _starts[self.count]
        size = _numbers[length]
        whole = len(start) + len(key) + len(size) + length + 1
        self._parts += (_numbers[whole], start, key, size, value, _NO_HEADERS)
        self.count += 1
        self.size += whole

    def close(self, compression: int) -> "RecordBatch":
        """The batch in its final form. `compression` is Kafka's number (0: none)."""
        body = b"".join(self._parts)
        if compression != NO_COMPRESSION:
            body = bytes(_COMPRESSORS[compression](body))
        return RecordBatch(body, self.count, self.began, compression)


class RecordBatch:
    """A batch in its final form, but for the producer that sends it."""

    __slots__ = ("_began", "_body", "_compression", "count")

    def __init__(self, body: bytes, count: int, began: int, compression: int) -> None:
        self._body = body
        self._began = began  # milliseconds since 1970
        self._compression = compression
        self.count = count  # of records, never 0

    def encode(self, producer: tuple[int, int, int] = _NO_PRODUCER) -> tuple[bytes, bytes]:
        """The batch in two parts. `producer` is the producer's id, its epoch, and the first record's sequence number."""
        rest = _REST.pack(self._compression, self.count - 1, self._began, self._began, *producer, self.count)
        checksum = google_crc32c.extend(google_crc32c.value(rest), self._body)
        return _FRONT.pack(0, _COUNTED + len(rest) + len(self._body), -1, _FORMAT, checksum) + rest, self._body

    def records(self) -> list[Output]:
        """Its keys and values, decoded."""
        batches = MemoryRecords(b"".join(self.encode()))
        return [(record.key, record.value) for record in batches.next_batch()]
