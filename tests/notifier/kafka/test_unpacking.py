"""Unpacking a batch within a limit."""

from collections.abc import Callable

import pytest
from aiokafka.codec import gzip_encode, lz4_encode, snappy_encode, zstd_encode

from notifier.kafka.unpacking import MOST_BYTES, unpack


def raw_snappy(body: bytes) -> bytes:
    return bytes(snappy_encode(body, xerial_compatible=False))


PACKED: list[tuple[int, Callable[[bytes], bytes]]] = [
    (1, gzip_encode), (2, snappy_encode), (2, raw_snappy), (3, lz4_encode), (4, zstd_encode),
]  # fmt: skip
EVERY = pytest.mark.parametrize(("codec", "pack"), PACKED, ids=["gzip", "snappy", "raw snappy", "lz4", "zstd"])


@EVERY
@pytest.mark.parametrize("body", [b"x", bytes(range(256)) * 50, bytes(2_000_000), bytes(MOST_BYTES)], ids=len)
def test_what_was_packed_comes_back(codec: int, pack: Callable[[bytes], bytes], body: bytes) -> None:
    assert unpack(codec, bytes(pack(body))) == body


@EVERY
def test_a_batch_that_unpacks_to_too_much_is_refused(codec: int, pack: Callable[[bytes], bytes]) -> None:
    with pytest.raises(ValueError, match="to more than 16 MiB"):
        unpack(codec, bytes(pack(bytes(MOST_BYTES + 1))))


@EVERY
def test_a_damaged_batch_is_refused(codec: int, pack: Callable[[bytes], bytes]) -> None:
    whole = bytes(pack(bytes(range(256)) * 50))
    for damaged in (whole[:-9], whole[:20], whole[:3], b"no such thing", b"\x82SNAPPY\x00" + bytes(30)):
        with pytest.raises(ValueError, match=r"unpack|length|end is missing"):
            unpack(codec, damaged)


def test_gzip_may_be_in_parts() -> None:
    assert unpack(1, gzip_encode(b"first") + gzip_encode(b"second")) == b"firstsecond"


def test_an_unknown_compression_is_refused() -> None:
    with pytest.raises(ValueError, match="no compression with the number 7"):
        unpack(7, b"x")
