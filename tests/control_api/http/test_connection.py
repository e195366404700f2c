"""Limits on connections, over real sockets: those that do nothing give way, and no request at work does."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from fastapi import FastAPI, Request, Response

from control_api.http import connection, guard
from control_api.http.guard import Guard
from tests.control_api.http.test_request_head import answer, connected, serving

HALF = b"GET / HTTP/1.1\r\nHost: te"
WHOLE = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n"
BODY = b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\nab"


@asynccontextmanager
async def served() -> AsyncIterator[tuple[str, int]]:
    """The address of a server that answers with the size of the body."""
    app = FastAPI()

    @app.api_route("/{path:path}", methods=["GET", "POST"])
    async def sizes(request: Request) -> Response:
        return Response(f"{len(await request.body())} bytes")

    app.add_middleware(Guard)
    async with serving(app) as address:
        yield address


async def closed(reader: asyncio.StreamReader) -> bool:
    try:
        return await reader.read(1) == b""
    except ConnectionError:
        return True


@pytest.mark.parametrize("sent", [b"", HALF, WHOLE], ids=["nothing", "half a head", "kept alive"])
async def test_idle_connections_give_way_where_there_are_too_many(monkeypatch: pytest.MonkeyPatch, sent: bytes) -> None:
    monkeypatch.setattr(connection, "most_connections", lambda: 20)
    async with served() as address, AsyncExitStack() as open_ones:
        busy_reader, busy = await open_ones.enter_async_context(connected(address))
        busy.write(BODY)
        readers = []
        for _ in range(40):
            reader, writer = await open_ones.enter_async_context(connected(address))
            writer.write(sent)
            if sent == WHOLE:
                assert (await answer(reader))[0] == 200
            readers.append(reader)
        assert await closed(readers[0])
        reader, writer = await open_ones.enter_async_context(connected(address))
        writer.write(WHOLE)
        assert await answer(reader) == (200, b"0 bytes")
        busy.write(b"cde")
        assert await answer(busy_reader) == (200, b"5 bytes")


@pytest.mark.parametrize("local", [True, False])
async def test_an_address_has_its_own_limit_but_for_this_machine(monkeypatch: pytest.MonkeyPatch, local: bool) -> None:
    monkeypatch.setattr(connection, "MAX_OF_ADDRESS", 3)
    monkeypatch.setattr(connection, "_is_local", lambda _host: local)
    async with served() as address, AsyncExitStack() as open_ones:
        pairs = [await open_ones.enter_async_context(connected(address)) for _ in range(5)]
        if not local:
            assert await closed(pairs[0][0])
        reader, writer = pairs[0] if local else pairs[-1]
        writer.write(WHOLE)
        assert (await answer(reader))[0] == 200


async def test_a_connection_that_begins_no_request_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "IDLE_S", 0.5)
    async with served() as address, connected(address) as (silent, _), connected(address) as (slow, writer):

        async def trickle() -> None:
            while True:
                writer.write(b"x")
                await asyncio.sleep(0.05)

        writer.write(HALF)
        trickling = asyncio.create_task(trickle())
        status, body = await answer(slow)
        trickling.cancel()
        assert (status, json.loads(body)["status"]) == (408, 408)
        assert await closed(silent)


async def test_slow_bodies_give_way_to_other_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "MAX_REQUESTS", 3)
    monkeypatch.setattr(guard, "_SLOW_S", 0.0)
    async with served() as address, AsyncExitStack() as open_ones:
        slow = [await open_ones.enter_async_context(connected(address)) for _ in range(3)]
        for _, writer in slow:
            writer.write(BODY)
            await asyncio.sleep(0.2)  # so that it is known which came first
        reader, writer = await open_ones.enter_async_context(connected(address))
        writer.write(WHOLE)
        assert await answer(reader) == (200, b"0 bytes")
        assert (await answer(slow[0][0]))[0] == 408
        slow[1][1].write(b"cde")
        assert await answer(slow[1][0]) == (200, b"5 bytes")


async def test_who_hangs_up_in_the_middle_of_a_body_is_no_error(caplog: pytest.LogCaptureFixture) -> None:
    async with served() as address:
        async with connected(address) as (_, writer):
            writer.write(BODY)
            await writer.drain()
        async with connected(address) as (reader, writer):
            writer.write(BODY + b"cde")
            assert await answer(reader) == (200, b"5 bytes")
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


def test_there_is_room_for_connections_within_the_limit_on_files(monkeypatch: pytest.MonkeyPatch) -> None:
    for files, most in ((1024, 768), (100, 32), (2**20, connection.MAX_CONNECTIONS)):
        monkeypatch.setattr("resource.getrlimit", lambda _which, files=files: (files, files))
        connection.most_connections.cache_clear()
        assert connection.most_connections() == most
    connection.most_connections.cache_clear()
