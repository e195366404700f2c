"""Encoding: bodies that come compressed (`Content-Encoding`), unpacked piece by piece within a limit.

`gzip`, which some call `x-gzip`, and `deflate` are taken, with and without zlib's header. Any other is refused by name.
"""

import asyncio
import zlib
from collections.abc import Callable, Iterator

from fastapi import Request

from control_api.http.headers import header
from control_api.http.problems import Problem

CODINGS = ("gzip", "deflate")
_NAMES = {"x-gzip": "gzip"}
_GZIP, _ZLIB, _RAW = 31, 15, -15  # as zlib's `wbits`
_MAX_MEMBERS = 16  # of one gzip body; tiny ones would cost much more than their bytes
_SLICE_BYTES = 64 * 1024  # given to zlib at once; what it leaves over is copied each time
PART_BYTES = 256 * 1024  # that it unpacks at once


def coding_of(request: Request) -> str | None:
    """The body's coding, one of `CODINGS`; None: it is as it is. Raises Problem 415 for another one, or more than one."""
    if header(request.scope, b"content-encoding") is None:
        return None
    given = ",".join(request.headers.getlist("content-encoding")).lower().split(",")
    named = [_NAMES.get(name.strip(), name.strip()) for name in given if name.strip() not in ("", "identity")]
    if not named:
        return None
    if len(named) > 1 or named[0] not in CODINGS:
        raise Problem(
            415,
            f"Content-Encoding: {', '.join(named)[:100]} is not taken here;"
            f" the body may be {', '.join(CODINGS)} or not compressed",
            headers={"Accept-Encoding": ", ".join(CODINGS)},
        )
    return named[0]


async def unpack(body: bytes, coding: str, limit: int, hold: Callable[[int], None]) -> bytes:
    """The whole body unpacked. Raises Problem 400 for what is damaged, 413 beyond `limit` bytes, and what `hold` raises.

    `hold` is told of each part's size as it is unpacked, in a thread.
    """

    def work() -> bytes:
        unpacked = bytearray()
        for part in unpacked_parts(body, coding, limit):
            hold(len(part))
            unpacked += part
        return bytes(unpacked)

    return await asyncio.to_thread(work)  # a few KiB may become many MiB


def unpacked_parts(body: bytes, coding: str, limit: int) -> Iterator[bytes]:
    """The whole body unpacked, part by part. Raises Problem 400 for what is damaged and 413 beyond `limit` bytes."""
    unpacker = Unpacker(coding, limit)
    yield from unpacker.feed(body)
    unpacker.end()


class Unpacker:
    """Unpacks one body. Never holds more than its limit."""

    def __init__(self, coding: str, limit: int) -> None:
        self._coding, self._limit = coding, limit
        self._head = b""  # kept until it is long enough to say what follows
        self._size = 0
        self._members = 0
        self._stream: zlib._Decompress | None = None  # of the member at work

    def feed(self, data: bytes) -> Iterator[bytes]:
        """What one piece of the body unpacks to, in parts of at most `PART_BYTES`. Raises Problem 400 and 413."""
        for start in range(0, len(data), _SLICE_BYTES):
            yield from self._feed(data[start : start + _SLICE_BYTES])

    def _feed(self, data: bytes) -> Iterator[bytes]:
        full = False  # whether zlib may hold more than it gave
        while data or full:
            if self._stream is None:
                data = self._begin(self._head + data)
                continue
            most = min(PART_BYTES, self._limit - self._size + 1)
            try:
                part = self._stream.decompress(data, most)
            except zlib.error as error:
                raise self._damaged(str(error)) from None
            self._size += len(part)
            if self._size > self._limit:
                raise Problem(413, f"a request to this address may have {self._limit} bytes at most, unpacked")
            yield part
            full = len(part) == most and not self._stream.eof
            data = self._stream.unused_data if self._stream.eof else self._stream.unconsumed_tail
            if self._stream.eof:
                self._stream = None

    def end(self) -> None:
        """Raises Problem 400 unless the body was whole."""
        if self._stream is not None or self._head or not self._members:
            raise self._damaged("it ends too early")

    def _begin(self, data: bytes) -> bytes:
        """Begins a member; answers what is to be unpacked, which is nothing while too little is here to tell."""
        if self._members:
            data = data.lstrip(b"\0")  # some fill up with zeros
            if data and self._coding != "gzip":
                raise self._damaged("more follows behind its end")
        if len(data) < 2:
            self._head = data
            return b""
        self._head = b""
        self._members += 1
        if self._members > _MAX_MEMBERS:
            raise self._damaged(f"it has more than {_MAX_MEMBERS} members")
        has_header = data[0] & 0x0F == zlib.DEFLATED and int.from_bytes(data[:2]) % 31 == 0
        self._stream = zlib.decompressobj(_GZIP if self._coding == "gzip" else _ZLIB if has_header else _RAW)
        return data

    def _damaged(self, text: str) -> Problem:
        return Problem(400, f"the body is not {self._coding}, which its Content-Encoding says: {text}")
