"""A server on loopback that takes webhooks and answers as it is told, in turn, then with 200; it keeps what it was sent."""

import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from notifier import Consumer, Context, Delivery, Result
from notifier.errors import DeliveryError
from notifier.plugin import result_of

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class Sent:
    """One request."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body."""
        return json.loads(self.body)


class HookServer:
    """A server at `url`. `limit` sees each request before it is answered, and may answer itself: a service's own rules."""

    def __init__(self) -> None:
        self.url = ""
        self.port = 0
        self.answers: list[Answer] = []
        self.sent: list[Sent] = []
        self.connections: set[Any] = set()
        self.limit: Callable[[Sent], web.StreamResponse | None] = lambda sent: None

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.connections.add(request.transport)
        sent = Sent(request.method, request.raw_path, dict(request.headers), await request.read())
        self.sent.append(sent)
        if self.answers:
            return await self.answers.pop(0)(request)
        return self.limit(sent) or web.Response(text="ok")


@asynccontextmanager
async def hooks(certificate: ssl.SSLContext | None = None) -> AsyncIterator[HookServer]:
    """A server while the block runs."""
    server = HookServer()
    app = web.Application(client_max_size=10 * 1024 * 1024)
    app.router.add_route("*", "/{path:.*}", server.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=certificate).start()
    server.port = runner.addresses[0][1]
    server.url = f"http://127.0.0.1:{server.port}" if certificate is None else f"https://localhost:{server.port}"
    try:
        yield server
    finally:
        await runner.cleanup()


async def result(consumer: Consumer[Any], delivery: Delivery, context: Context) -> Result:
    """What the delivery worker makes of one call."""
    try:
        (found,) = await consumer.deliver([delivery], context)
    except DeliveryError as error:
        return result_of(error)
    return found
