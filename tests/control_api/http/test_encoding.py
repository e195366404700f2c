"""Compressed bodies: whole ones, damaged ones, and small ones that would become very large."""

import gzip
import random
import tracemalloc
import zlib

import pytest

from control_api.http.encoding import PART_BYTES, Unpacker
from control_api.http.problems import Problem

TEXT = b'{"producer":"ci","content":"hello"}' * 50


def _raw(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


GOOD = {
    "gzip": ("gzip", gzip.compress(TEXT)),
    "gzip in members": ("gzip", gzip.compress(TEXT[:100]) + gzip.compress(b"") + gzip.compress(TEXT[100:])),
    "gzip filled with zeros": ("gzip", gzip.compress(TEXT) + bytes(100)),
    "deflate": ("deflate", zlib.compress(TEXT)),
    "deflate without header": ("deflate", _raw(TEXT)),
}


def unpacked(coding: str, body: bytes, size: int, limit: int = 100_000) -> bytes:
    """The body, given to the unpacker in pieces of a size."""
    unpacker = Unpacker(coding, limit)
    found = b"".join(part for start in range(0, len(body), size) for part in unpacker.feed(body[start : start + size]))
    unpacker.end()
    return found


@pytest.mark.parametrize(("coding", "body"), GOOD.values(), ids=GOOD)
def test_a_body_is_unpacked_in_pieces_of_any_size(coding: str, body: bytes) -> None:
    for size in (1, 2, 3, 17, 100_000):
        assert unpacked(coding, body, size) == TEXT


@pytest.mark.parametrize(("coding", "body"), GOOD.values(), ids=GOOD)
def test_what_ends_too_early_or_is_damaged_is_refused(coding: str, body: bytes) -> None:
    whole = body.rstrip(b"\0")
    refused: list[tuple[int, bool]] = []
    for length in range(len(whole)):
        try:
            found = unpacked(coding, whole[:length], 1000)
        except Problem as problem:
            refused.append((problem.status, coding in problem.detail))
        else:
            assert coding == "gzip"  # at the end of a member, where the others are not to be missed
            assert TEXT.startswith(found)
    chance = random.Random(7)
    for _ in range(300):
        damaged = bytearray(body)
        damaged[chance.randrange(len(whole))] ^= chance.randrange(1, 256)
        try:
            unpacked(coding, bytes(damaged), 100)
        except Problem as problem:
            refused.append((problem.status, coding in problem.detail))
    assert set(refused) <= {(400, True), (413, False)}
    assert len(refused) > len(whole) / 2


@pytest.mark.parametrize("more", range(-300, 300, 7))
def test_what_ends_at_the_end_of_a_part_is_whole(more: int) -> None:
    size = 2 * PART_BYTES + more
    assert len(unpacked("gzip", gzip.compress(bytes(size)), 1_000, size)) == size


@pytest.mark.parametrize("junk", [b"", b"x", b"no compression at all", b"\x1f\x8b", TEXT])
def test_what_was_never_compressed_is_refused(junk: bytes) -> None:
    for coding in ("gzip", "deflate"):
        with pytest.raises(Problem) as caught:
            unpacked(coding, junk, 100)
        assert caught.value.status == 400


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_a_bomb_is_refused_at_the_limit_and_takes_no_memory(coding: str) -> None:
    zeros = bytes(64 * 1024 * 1024)
    bomb = gzip.compress(zeros, 6) if coding == "gzip" else zlib.compress(zeros, 6)
    del zeros
    tracemalloc.start()
    try:
        for size in (1000, len(bomb)):
            with pytest.raises(Problem) as caught:
                unpacked(coding, bomb, size, limit=1024 * 1024)
            assert caught.value.status == 413
        assert tracemalloc.get_traced_memory()[1] < 8 * 1024 * 1024
    finally:
        tracemalloc.stop()
    assert len(
        unpacked(coding, zlib.compress(bytes(1000)) if coding == "deflate" else gzip.compress(bytes(1000)), 9, 1000)
    )


def test_tiny_members_without_end_are_refused() -> None:
    with pytest.raises(Problem) as caught:
        unpacked("gzip", gzip.compress(b"") * 17, 10_000)
    assert caught.value.status == 400
    assert "members" in caught.value.detail
