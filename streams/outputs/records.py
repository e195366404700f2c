"""Records: records of one output partition that are sent at once, as one record batch of Kafka."""

from collections.abc import Sequence
from time import time

from aiokafka.record.default_records import DefaultRecordBatchBuilder

Output = tuple[bytes, bytes]  # key and value
Headers = tuple[tuple[str, bytes], ...]

_FORMAT = 2
_NO_LIMIT = (1 << 31) - 1  # bytes; who takes records out of a queue sees to their number


class Records:
    """Keys and values, in order. They stay as they are until they are acknowledged, so any Kafka producer can send them again."""

    __slots__ = ("_compression", "_headers", "keys", "values")

    def __init__(
        self, keys: Sequence[bytes], values: Sequence[bytes], compression: int = 0, headers: Headers = ()
    ) -> None:
        self.keys = keys
        self.values = values  # as many, at least one
        self._compression = compression  # as Kafka numbers it; 0: none
        self._headers = list(headers)  # of each record

    def __len__(self) -> int:
        return len(self.values)

    def pairs(self) -> list[Output]:
        """Keys and values."""
        return list(zip(self.keys, self.values, strict=True))

    def encode(self, producer: tuple[int, int, int]) -> bytearray:
        """The record batch. `producer` is the producer's id, its epoch, and the first record's sequence number.

        All records have the time of this call.
        """
        builder = DefaultRecordBatchBuilder(
            _FORMAT, self._compression, 0, producer_id=-1, producer_epoch=-1, base_sequence=-1, batch_size=_NO_LIMIT
        )
        append, at, headers = builder.append, int(time() * 1000), self._headers
        for place, key in enumerate(self.keys):
            append(place, at, key, self.values[place], headers)
        builder.set_producer_state(*producer)
        encoded: bytearray = builder.build()
        return encoded
