"""ProduceRequest: record batches for one broker, and its answer, as aiokafka's connections send and read them.

The format is Apache Kafka's, described at https://kafka.apache.org/protocol#The_Messages_Produce.
"""

from collections.abc import Sequence
from io import BytesIO
from struct import Struct
from typing import Any

from aiokafka.protocol.api import RequestHeader_v1
from aiokafka.protocol.produce import ProduceRequest_v7

REQUEST_TIMEOUT_S = 30.0
_ACKS_ALL = -1

Partition = tuple[str, int]  # topic and number
Batch = bytes | bytearray  # a record batch; see `streams.outputs.records`

_int16, _int32 = Struct(">h").pack, Struct(">i").pack
_read_int16, _read_int32 = Struct(">h").unpack_from, Struct(">i").unpack_from
_read_answer = Struct(">ih").unpack_from  # partition and error
_ANSWER_BYTES = 30  # with offset, time and the log's start behind them


class _Bytes:
    """Bytes that aiokafka's connection puts behind others several times; they are copied once."""

    __slots__ = ("_parts", "_size")

    def __init__(self, parts: list[Batch]) -> None:
        self._parts = parts
        self._size = sum(map(len, parts))

    def encode(self) -> "_Bytes":
        """The bytes of a request's header."""
        return self

    def __len__(self) -> int:
        return self._size

    def __add__(self, other: "_Bytes") -> "_Bytes":
        return _Bytes(self._parts + other._parts)

    def __radd__(self, front: bytes) -> bytes:
        return b"".join([front, *self._parts])


class _Answers:
    """Reads a broker's answer: the error numbers by partition."""

    @staticmethod
    def decode(answer: BytesIO) -> dict[Partition, int]:
        """The error numbers; the offsets are not needed."""
        data = answer.getbuffer()
        place = answer.tell()
        found: dict[Partition, int] = {}
        (topics,) = _read_int32(data, place)
        place += 4
        for _ in range(topics):
            (length,) = _read_int16(data, place)
            place += 2
            topic = str(data[place : place + length], "utf-8")
            (partitions,) = _read_int32(data, place + length)
            place += length + 4
            for _ in range(partitions):
                partition, error = _read_answer(data, place)
                found[topic, partition] = error
                place += _ANSWER_BYTES
        data.release()
        return found


class ProduceRequest:
    """A produce request of version 7, which brokers know since Kafka 2.1."""

    API_KEY, API_VERSION = ProduceRequest_v7.API_KEY, ProduceRequest_v7.API_VERSION
    FLEXIBLE_VERSION = False
    RESPONSE_TYPE = _Answers

    def __init__(self, batches: Sequence[tuple[Partition, Batch]]) -> None:
        topics: dict[str, list[tuple[int, Batch]]] = {}
        for (topic, partition), batch in batches:
            topics.setdefault(topic, []).append((partition, batch))
        body: list[Batch] = [
            _int16(-1) + _int16(_ACKS_ALL) + _int32(int(REQUEST_TIMEOUT_S * 1000)) + _int32(len(topics))
        ]
        for topic, mine in topics.items():
            name = topic.encode()
            body.append(_int16(len(name)) + name + _int32(len(mine)))
            for partition, batch in mine:
                body += (_int32(partition) + _int32(len(batch)), batch)
        self._body = body

    def prepare(self, versions: dict[int, tuple[int, int]]) -> "ProduceRequest":
        """The request in a version that the broker knows."""
        return self

    def build_request_header(self, correlation_id: int, client_id: str) -> _Bytes:
        """The front of every request."""
        header = RequestHeader_v1(self, correlation_id=correlation_id, client_id=client_id)
        return _Bytes([header.encode()])

    def encode(self) -> _Bytes:
        """The request itself."""
        return _Bytes(self._body)

    def parse_response_header(self, answer: BytesIO) -> Any:
        """Reads the front of every answer."""
        return ProduceRequest_v7.parse_response_header(self, answer)
