"""Unpacking: the body of a compressed batch, within a limit.

A few kilobytes may unpack to gigabytes, and the broker takes such a batch: it counts what is packed. aiokafka's own codecs have
no limit, so that one batch would end every process that reads its topic, again after each restart.
"""

import zlib
from collections.abc import Callable
from struct import error as StructError
from struct import unpack_from

import cramjam

# Of one batch; a careful client's holds no more than one record of the largest topic, 4 MiB.
MOST_BYTES = 16 * 1024 * 1024

_MOST = f"{MOST_BYTES // 1024 // 1024} MiB"
_XERIAL = b"\x82SNAPPY\x00"  # how Java's snappy begins, in blocks with their lengths in front
_XERIAL_BYTES = 16  # of its header


class UnpacksToTooMuch(ValueError):
    """The batch unpacks to more than a batch may have."""

    def __init__(self) -> None:
        super().__init__(f"it unpacks to more than {_MOST}")


def unpack(codec: int, body: bytes) -> bytes:
    """Unpacks a body; `codec` is Kafka's number. Raises ValueError where it cannot be unpacked, or only to too much."""
    how = _CODECS.get(codec)
    if how is None:
        raise ValueError(f"there is no compression with the number {codec}")
    try:
        return how(body)
    except (zlib.error, StructError, cramjam.DecompressionError) as error:
        raise ValueError(f"it cannot be unpacked, or only to more than {_MOST}: {error}") from None


def _gzip(body: bytes) -> bytes:
    parts: list[bytes] = []
    left = MOST_BYTES
    while body:  # members, one behind the other
        unpacking = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
        parts.append(unpacking.decompress(body, left + 1))
        left -= len(parts[-1])
        if left < 0:
            raise UnpacksToTooMuch
        if not unpacking.eof:
            raise ValueError("its end is missing")
        body = unpacking.unused_data
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _snappy(body: bytes) -> bytes:
    blocks = [body]
    if body.startswith(_XERIAL):
        blocks, at = [], _XERIAL_BYTES
        while at < len(body):
            (size,) = unpack_from(">i", body, at)
            at += 4
            if not 0 < size <= len(body) - at:
                raise ValueError("a block's length is wrong")
            blocks.append(body[at : at + size])
            at += size
    if sum([cramjam.snappy.decompress_raw_len(block) for block in blocks]) > MOST_BYTES:
        raise UnpacksToTooMuch
    return b"".join([bytes(cramjam.snappy.decompress_raw(block)) for block in blocks])


def _into(decompress_into: Callable[[bytes, bytearray], int]) -> Callable[[bytes], bytes]:
    """How to unpack by a codec that writes into a given room, and fails where that is full or the body is damaged."""

    def unpack_within(body: bytes) -> bytes:
        for times in _ROOMS:
            found = bytearray(min(times * (len(body) + 100), MOST_BYTES))
            try:
                size = decompress_into(body, found)
            except cramjam.DecompressionError:
                continue
            return bytes(memoryview(found)[:size])
        size = decompress_into(body, found := bytearray(MOST_BYTES))
        return bytes(memoryview(found)[:size])

    return unpack_within


_ROOMS = (20, 400)  # times the packed bytes; the first does for nearly all, and a large one costs milliseconds to make

_CODECS: dict[int, Callable[[bytes], bytes]] = {
    1: _gzip,
    2: _snappy,
    3: _into(cramjam.lz4.decompress_into),
    4: _into(cramjam.zstd.decompress_into),
}
