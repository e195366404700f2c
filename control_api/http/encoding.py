"""Encoding: bodies that come compressed (`Content-Encoding`), unpacked piece by piece within a limit.

`gzip`, which some call `x-gzip`, and `deflate` are taken, with and without zlib's header. Any other is refused by name.
"""

import asyncio
import zlib

from fastapi import Request

from control_api.http.problems import Problem

CODINGS = ("gzip", "deflate")
_NAMES = {"x-gzip": "gzip"}
_GZIP, _ZLIB, _RAW = 31, 15, -15  # as zlib's `wbits`
_MAX_MEMBERS = 1_000  # of one gzip body; tiny ones would cost much more than their bytes


def coding_of(request: Request) -> str | None:
    """The body's coding, one of `CODINGS`; None: it is as it is. Raises Problem 415 for another one, or more than one."""
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


async def unpack(body: bytes, coding: str, limit: int) -> bytes:
    """The whole body unpacked. Raises Problem 400 for what is damaged and 413 beyond `limit` bytes."""
    return await asyncio.to_thread(_unpack, body, coding, limit)  # a few KiB may become many MiB


def _unpack(body: bytes, coding: str, limit: int) -> bytes:
    unpacker = Unpacker(coding, limit)
    unpacked = unpacker.feed(body)
    unpacker.end()
    return unpacked


class Unpacker:
    """Unpacks one body. Never holds more than its limit."""

    def __init__(self, coding: str, limit: int) -> None:
        self._coding, self._limit = coding, limit
        self._head = b""  # kept until it is long enough to say what follows
        self._size = 0
        self._members = 0
        self._stream: zlib._Decompress | None = None  # of the member at work

    def feed(self, data: bytes) -> bytes:
        """What one piece of the body unpacks to. Raises Problem 400 and 413."""
        unpacked = bytearray()
        while data:
            if self._stream is None:
                data = self._begin(self._head + data)
                continue
            try:
                part = self._stream.decompress(data, self._limit - self._size + 1)
            except zlib.error as error:
                raise self._damaged(str(error)) from None
            unpacked += part
            self._size += len(part)
            if self._size > self._limit:
                raise Problem(413, f"a request to this address may have {self._limit} bytes at most, unpacked")
            data = self._stream.unused_data if self._stream.eof else self._stream.unconsumed_tail
            if self._stream.eof:
                self._stream = None
        return bytes(unpacked)

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
