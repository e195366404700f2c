"""Service: a stand-in for what a plugin speaks to, over HTTP on loopback. What becomes of its answers is left to the tables."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Literal

from aiohttp import web

Fault = Literal["hang up", "cut", "silent"]


@dataclass(frozen=True, kw_only=True)
class Reply:
    """One answer of a service, or one way in which none comes."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    # `hang up`: the connection ends without an answer. `cut`: it ends in the middle of one. `silent`: nothing comes.
    fault: Fault | None = None


@dataclass(frozen=True, kw_only=True)
class Request:
    """A request that the service got."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


class Service:
    """A service on loopback that gives `replies` in turn, the last one for ever, and keeps its `requests`."""

    def __init__(self) -> None:
        self.url = ""
        self.replies: deque[Reply] = deque()
        self.requests: list[Request] = []

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answers one request."""
        body = await request.read()
        self.requests.append(
            Request(method=request.method, path=request.path_qs, headers=dict(request.headers), body=body)
        )
        reply = self.replies.popleft() if len(self.replies) > 1 else self.replies[0]
        if reply.fault == "silent":
            await asyncio.sleep(3600)
        if reply.fault is None:
            return web.Response(status=reply.status, body=reply.body, headers=reply.headers)
        response = web.StreamResponse(status=reply.status, headers={"Content-Length": "1000"})
        if reply.fault == "cut":
            await response.prepare(request)
            await response.write(b'{"beginning": ')
        assert request.transport is not None
        request.transport.close()
        return response


@asynccontextmanager
async def serving() -> AsyncIterator[Service]:
    """A service while the block runs. It takes any method and path."""
    service = Service()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", service.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    service.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield service
    finally:
        await runner.cleanup()
