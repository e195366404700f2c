"""The limit on addresses and headers, over real sockets: what has no end is refused, and what is no head does not count."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from fastapi import FastAPI, Request, Response

from control_api.http.request_head import MAX_HEAD_BYTES
from control_api.serve import listen, serve
from tests.rigs.kafka_tools import wait_until

ENDLESS = 32 * 1024 * 1024
LARGE = b"x" * (1024 * 1024)


@asynccontextmanager
async def served() -> AsyncIterator[tuple[str, int]]:
    """The address of a server that answers with the size of the body."""
    app = FastAPI()

    @app.api_route("/{path:path}", methods=["GET", "POST"])
    async def sizes(request: Request) -> Response:
        return Response(f"{len(await request.body())} bytes")

    async with serving(app) as address:
        yield address


@asynccontextmanager
async def serving(app: FastAPI) -> AsyncIterator[tuple[str, int]]:
    """The address of a server of the app."""
    listener = listen("127.0.0.1", 0)
    server = serve(app, listener)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        await wait_until(lambda: server.started or task.done())
        yield listener.getsockname()[:2]
    finally:
        server.should_exit = True
        await task
        listener.close()


@asynccontextmanager
async def connected(address: tuple[str, int]) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection(*address)
    try:
        yield reader, writer
    finally:
        writer.close()


async def answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """The status and the body of the next answer."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
    return int(head.split()[1]), await reader.readexactly(int(length.split(b":")[1]))


START = b"GET / HTTP/1.1\r\nHost: test\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n"
WHOLE = START + b"\r\n"
WITHOUT_END = {
    "a header's value": (START + b"X-n: ", b"v" * 65_536),
    "a header's name": (START, b"n" * 65_536),
    "headers": (START, b"X-n: v\r\n" * 8_192),
    "an address": (b"GET /", b"a" * 65_536),
    "lines before a request": (b"", b"\r\n" * 32_768),
    "lines behind a request": (WHOLE, b"\r\n" * 32_768),
    "a second request's headers": (WHOLE + START, b"X-n: v\r\n" * 8_192),
}


async def sent_without_end(address: tuple[str, int], start: bytes, more: bytes) -> bytes:
    """What came back until the server ended the connection; fails where it takes everything."""
    loop = asyncio.get_running_loop()
    with socket.create_connection(address) as connection:  # a stream would drop the answer when the connection is reset
        connection.setblocking(False)
        whole, end, start = start.rpartition(WHOLE)
        if end:
            await loop.sock_sendall(connection, whole + end)
            assert (await loop.sock_recv(connection, 65_536)).startswith(b"HTTP/1.1 200 ")
        await loop.sock_sendall(connection, start)
        with pytest.raises(ConnectionError):
            await loop.sock_sendall(connection, more * (ENDLESS // len(more)))
        return await asyncio.wait_for(loop.sock_recv(connection, 65_536), 120)


@pytest.mark.parametrize(("start", "more"), WITHOUT_END.values(), ids=WITHOUT_END)
async def test_a_head_without_end_is_refused(start: bytes, more: bytes) -> None:
    async with served() as address:
        assert (await sent_without_end(address, start, more)).startswith(b"HTTP/1.1 431 ")


async def test_headers_without_end_behind_a_body_end_the_connection() -> None:
    async with served() as address:
        assert await sent_without_end(address, CHUNKED + b"1\r\nx\r\n0\r\nX-n: ", b"v" * 65_536) == b""


async def test_a_long_head_within_the_limit_is_taken_in_pieces_of_any_size() -> None:
    head = START + b"X-n: " + b"v" * (MAX_HEAD_BYTES - 1000) + b"\r\n\r\n"
    async with served() as address, connected(address) as (reader, writer):
        for size in (len(head), 1_000, 50_000):
            for start in range(0, len(head), size):
                writer.write(head[start : start + size])
                await asyncio.sleep(0)
            assert await answer(reader) == (200, b"0 bytes")


async def test_bodies_do_not_count_as_heads() -> None:
    whole = b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: %d\r\n\r\n%b" % (len(LARGE), LARGE)
    chunks = CHUNKED + b"".join(b"10000\r\n%b\r\n" % LARGE[:65_536] for _ in range(16)) + b"0\r\nX-end: 1\r\n\r\n"
    tiny = CHUNKED + b"1\r\nx\r\n" * 20_000 + b"0\r\n\r\n"
    async with served() as address, connected(address) as (reader, writer):
        for sent, size in ((whole, len(LARGE)), (chunks, len(LARGE)), (tiny, 20_000), (whole, len(LARGE))):
            writer.write(sent)
            assert await answer(reader) == (200, b"%d bytes" % size)
        # Requests that do not wait for the answer before them, a head in the middle of a piece among them.
        writer.write(WHOLE * 500 + whole + WHOLE * 3)
        for size in (*[0] * 500, len(LARGE), 0, 0, 0):
            assert await answer(reader) == (200, b"%d bytes" % size)
