"""Lenient: reads each record of a fetched batch, also where aiokafka's parser refuses one and with it the whole batch.

Any Kafka client may write what that parser refuses: header names are bytes to librdkafka, and a compressed batch is hardly
looked at by the broker. A consumer would then meet the same batch for ever. Here the fast parser is asked first, and only where
it raises are the batch's bytes read again:

    header names that are not UTF-8       read with replacement
    a record that cannot be read          a stand-in, whose value is the record's bytes: no reader takes them for one of its own
    a batch that cannot be unpacked       one stand-in for all its records, whose value is the packed bytes
    one that unpacks to too much          the same; see `notifier.kafka.unpacking`
    one of too many records               the same: reading it would hold up a role until its group gives it up, for ever

So what is lost becomes a dead letter with its origin where the topic's reader writes any, and the position moves on.
"""

import logging
from collections.abc import Iterator
from struct import Struct
from typing import Any, NamedTuple

from aiokafka.consumer import fetcher
from aiokafka.record.memory_records import MemoryRecords

from notifier.kafka.unpacking import unpack
from notifier.seldom import Seldom

logger = logging.getLogger(__name__)
_seldom = Seldom(logger)

# Base offset, length, leader's epoch, format, checksum, attributes, last offset, first and last time, the producer's id, epoch
# and sequence number, count of records.
_HEADER = Struct(">qiibIhiqqqhii")
_FRAME = Struct(">qi")  # base offset and the length of what follows
_FORMAT_AT, _FORMAT = 16, 2  # the byte of a header that says its format, and the only one that Kafka takes since 4.0
_ATTRIBUTES_AT = 22  # of the low byte of a header's attributes
_CODEC, _APPEND_TIME = 0x07, 0x08  # bits of the attributes
_FETCH_BYTES = 8 * 1024 * 1024  # unpacked, after which a fetch ends; what is left of it is fetched again
# Records of a batch, which are read in one piece, within a second or two. A fetch ends after so many, too.
MOST_RECORDS = 500_000
MOST_SALVAGED = (
    50_000  # the same where a batch is read record by record, which takes ten times as long; so many headers
)
_VARINT_BITS = 63


class Salvaged(NamedTuple):
    """A record as aiokafka's parser would have made it."""

    offset: int
    timestamp: int
    timestamp_type: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes | None]]
    checksum: None = None


class LenientRecords:
    """The batches of one fetch of a partition, in the place of aiokafka's `MemoryRecords`."""

    __slots__ = ("_at", "_data", "_records", "_salvaged", "_unpacked", "place", "plain", "size_in_bytes")

    def __init__(self, data: bytes) -> None:
        self.plain = MemoryRecords(data)  # aiokafka's own; give `read` its batches
        self.place = "a fetch"  # for people
        self._data = data
        self._at = 0  # of the batch that was looked for last
        self._unpacked = 0  # bytes, so far
        self._records = 0  # records, by the fast parser
        self._salvaged = 0  # the same, record by record
        self.size_in_bytes = self.plain.size_in_bytes

    def has_next(self) -> bool:
        """Whether there is another batch; none once much was read, since a fetch may be read in one piece and kept in memory."""
        enough = self._unpacked >= _FETCH_BYTES or self._records >= MOST_RECORDS or self._salvaged >= MOST_SALVAGED
        return not enough and self.plain.has_next()

    def next_batch(self) -> "LenientBatch":
        """The next batch; there is one where `has_next` says so."""
        return LenientBatch(self, self.plain.next_batch())

    def read(self, batch: Any) -> list[Any]:
        """The records of one of `plain`'s batches."""
        plain = batch
        try:
            self._records += self._count(batch, MOST_RECORDS)
            if batch.compression_type:
                plain = self._unpack(batch)
        except ValueError as error:
            return self._keep_packed(batch, error)
        try:
            return list(plain)
        except Exception as error:  # of the parser
            return self._salvage(batch, error)

    def _count(self, batch: Any, most: int) -> int:
        """How many records a batch says to have; no parser reads more. Raises ValueError where they are too many."""
        data = self._frame(batch.base_offset)
        count = 0 if data is None else _HEADER.unpack_from(data)[-1]
        if count > most:
            raise ValueError(f"its {count} records are more than {most}")
        return max(count, 0)

    def _unpack(self, batch: Any) -> Any:
        """The batch as a client that does not compress would have written it; aiokafka would unpack without a limit."""
        data = self._frame(batch.base_offset)
        if data is None:  # of a format before Kafka 0.11
            return batch
        body = unpack(batch.compression_type, data[_HEADER.size :])
        self._unpacked += len(body)
        header = bytearray(data[: _HEADER.size])
        header[_ATTRIBUTES_AT] &= ~_CODEC
        _FRAME.pack_into(header, 0, batch.base_offset, len(header) - _FRAME.size + len(body))
        return MemoryRecords(bytes(header) + body).next_batch()

    def _frame(self, base_offset: int) -> bytes | None:
        """The bytes of the batch that begins at this offset, at or behind the one that was looked for last."""
        data, at = self._data, self._at
        while at + _HEADER.size <= len(data):
            offset, length = _FRAME.unpack_from(data, at)
            end = at + _FRAME.size + length
            if length <= 0 or end > len(data):
                return None
            if offset == base_offset:
                self._at = at
                return data[at:end] if data[at + _FORMAT_AT] >= _FORMAT else None
            at = end
        return None

    def _salvage(self, batch: Any, error: Exception) -> list[Salvaged]:
        try:
            self._salvaged += self._count(batch, MOST_SALVAGED)
        except ValueError as too_many:
            return self._keep_packed(batch, too_many)
        data = self._frame(batch.base_offset)
        records, unreadable = ([], None) if data is None else _read_batch(data)
        if data is None or unreadable is not None:
            self._tell(batch.base_offset if unreadable is None else unreadable, error)
        return records

    def _keep_packed(self, batch: Any, error: Exception) -> list[Salvaged]:
        self._tell(batch.base_offset, error)
        data = self._frame(batch.base_offset)
        assert data is not None  # else it was not unpacked here
        return [_stand_in(batch.base_offset, _times(data), data[_HEADER.size :])]

    def _tell(self, offset: int, error: Exception) -> None:
        _seldom.log(
            logging.ERROR,
            "Records of %s cannot be read, from offset %d on: %s",
            self.place,
            offset,
            error,
            extra={"action": "read_record"},
        )


class LenientBatch:
    """A batch with what aiokafka's consumer asks of one."""

    __slots__ = (
        "_batch",
        "_records",
        "base_offset",
        "is_control_batch",
        "is_transactional",
        "next_offset",
        "producer_id",
        "validate_crc",
    )

    def __init__(self, records: LenientRecords, batch: Any) -> None:
        self._records = records
        self._batch = batch
        self.base_offset: int = batch.base_offset
        self.next_offset: int = batch.next_offset
        self.producer_id: int | None = batch.producer_id
        self.is_control_batch: bool = batch.is_control_batch
        self.is_transactional: bool = batch.is_transactional
        self.validate_crc = batch.validate_crc

    def __iter__(self) -> Iterator[Any]:
        return iter(self._records.read(self._batch))

    def __next__(self) -> Any:
        return next(self._batch)  # of a control batch, which only the broker writes


class _PartitionRecords(fetcher.PartitionRecords):  # type: ignore[misc]  # aiokafka has no types
    def __init__(self, tp: Any, records: LenientRecords, *args: Any) -> None:
        super().__init__(tp, records, *args)
        records.place = f"{tp.topic}/{tp.partition}"


def read_leniently() -> None:
    """Has every Kafka consumer of this process read its records by this module.

    aiokafka (0.14) has no other place for a parser than these two names, which its fetcher looks up for each fetch.
    """
    fetcher.MemoryRecords = LenientRecords
    fetcher.PartitionRecords = _PartitionRecords


# --- bytes ---


def _read_batch(data: bytes) -> tuple[list[Salvaged], int | None]:
    """The records of a batch, stand-ins included, and the offset of the first stand-in."""
    base, _, _, _, _, attributes, last, _, _, _, _, _, count = _HEADER.unpack_from(data)
    body = data[_HEADER.size :]
    times = _times(data)
    last += base
    if codec := attributes & _CODEC:
        body = unpack(codec, body)  # as it was before
    found: list[Salvaged] = []
    unreadable: int | None = None
    at, offset = 0, base
    left = MOST_SALVAGED  # headers
    while len(found) < count and offset <= last:
        end = len(body)
        try:
            size, start = _varint(body, at)
            if not 0 <= size <= end - start:
                raise ValueError("the record's length is wrong")
            end = start + size
            record = _read_record(body[start:end], base, times, left)
            if not offset <= record.offset <= last:
                raise ValueError("the record's offset is wrong")
        except (ValueError, IndexError):
            record = _stand_in(offset, times, body[at:end])
            unreadable = offset if unreadable is None else unreadable
        found.append(record)
        left -= len(record.headers)
        at, offset = end, record.offset + 1
        if at == len(body):
            break
    return found, unreadable


def _times(data: bytes) -> tuple[int, bool]:
    """The time of a batch's first record, and whether it is the broker's."""
    _, _, _, _, _, attributes, _, first_ms, last_ms, _, _, _, _ = _HEADER.unpack_from(data)
    return (last_ms, True) if attributes & _APPEND_TIME else (first_ms, False)


def _stand_in(offset: int, times: tuple[int, bool], data: bytes) -> Salvaged:
    return Salvaged(offset, times[0], int(times[1]), None, data, [])


def _read_record(data: bytes, base: int, times: tuple[int, bool], most: int) -> Salvaged:
    """A record without its length, with `most` headers at most.

    Raises ValueError or IndexError where even key and value cannot be read.
    """
    moment, appended = times
    later, at = _varint(data, 1)  # behind the byte of attributes, which Kafka does not use
    place, at = _varint(data, at)
    key, at = _bytes(data, at)
    value, at = _bytes(data, at)
    headers: list[tuple[str, bytes | None]] = []
    try:
        count, at = _varint(data, at)
        while len(headers) < min(count, most):
            name, at = _bytes(data, at)
            content, at = _bytes(data, at)
            headers.append(((name or b"").decode(errors="replace"), content))
    except (ValueError, IndexError):
        pass  # a record is worth more than its headers
    return Salvaged(base + place, moment if appended else _int64(moment + later), int(appended), key, value, headers)


def _bytes(data: bytes, at: int) -> tuple[bytes | None, int]:
    size, at = _varint(data, at)
    if size < 0:
        return None, at
    if size > len(data) - at:
        raise ValueError("a length is wrong")
    return data[at : at + size], at + size


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A number in zigzag, seven bits in a byte, the lowest first, and the place behind it."""
    found = 0
    for shift in range(0, _VARINT_BITS + 1, 7):
        byte = data[at]
        at += 1
        found |= (byte & 0x7F) << shift
        if byte < 0x80:
            return _int64((found >> 1) ^ -(found & 1)), at
    raise ValueError("a number is too long")


def _int64(number: int) -> int:
    return (number + (1 << 63)) % (1 << 64) - (1 << 63)
