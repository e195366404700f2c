"""A sink for webhooks in a process of its own: it takes each request, answers 204, and counts in memory that others read."""

import asyncio
import multiprocessing
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvloop

_LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]+)", re.IGNORECASE)
_ID = re.compile(rb"\r\nwebhook-id: *([^\r]+)", re.IGNORECASE)
_ANSWER = b"HTTP/1.1 204 No Content\r\n\r\n"


class HookSink:
    """What a running sink has counted."""

    def __init__(self, port: int, counts: Any) -> None:
        self.url = f"http://127.0.0.1:{port}/hook"
        self._counts = counts

    @property
    def requests(self) -> int:
        """Requests that were answered."""
        return int(self._counts[0])

    @property
    def ids(self) -> int:
        """Different ids among them."""
        return int(self._counts[1])

    @property
    def connections(self) -> int:
        """Connections that were made."""
        return int(self._counts[2])


@contextmanager
def sinking() -> Iterator[HookSink]:
    """A sink while the block runs."""
    context = multiprocessing.get_context("spawn")
    counts, port = context.Array("q", 3, lock=False), context.Queue()
    process = context.Process(target=_serve, args=(counts, port), daemon=True)
    process.start()
    try:
        yield HookSink(port.get(timeout=60), counts)
    finally:
        process.kill()
        process.join()


def _serve(counts: Any, port: Any) -> None:
    async def serve() -> None:
        ids: set[bytes] = set()
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: _Connection(counts, ids), "127.0.0.1", 0)
        port.put(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    uvloop.run(serve())


class _Connection(asyncio.Protocol):
    """Reads requests with a length, one after another."""

    def __init__(self, counts: Any, ids: set[bytes]) -> None:
        self._counts, self._ids = counts, ids
        self._data = bytearray()
        self._transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._counts[2] += 1

    def data_received(self, data: bytes) -> None:
        self._data += data
        while (end := self._data.find(b"\r\n\r\n")) >= 0:
            head = bytes(self._data[: end + 2])
            length = _LENGTH.search(head)
            whole = end + 4 + (int(length[1]) if length else 0)
            if len(self._data) < whole:
                return
            del self._data[:whole]
            found = _ID.search(head)
            self._ids.add(found[1] if found else b"")
            self._counts[0] += 1
            self._counts[1] = len(self._ids)
            self._transport.write(_ANSWER)
