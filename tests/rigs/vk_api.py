"""A VK API on loopback that keeps to the documented limits and answers as it is told, and the VK consumer that calls it."""

import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from aiohttp import web
from pydantic import SecretStr

from consumers.vk.vk import Vk, VkParameters
from notifier import Context, Delivery, Marked, Rendered
from notifier.rendered import content_of
from tests.rigs.bot_api import Answer
from tests.rigs.plugin_world import context_without_scripts, make_delivery

TOKEN = "vk1.a.CANARY-token_of-a-community"
CHAT = 2_000_000_001


def fails(code: int, said: str = "it failed") -> Answer:
    """The answer that the whole call fails."""

    async def answer(request: web.Request) -> web.StreamResponse:
        return _error(code, said)

    return answer


def _error(code: int, said: str) -> web.Response:
    params = [{"key": "method", "value": "messages.send"}, {"key": "v", "value": "5.199"}]
    return web.json_response({"error": {"error_code": code, "error_msg": said, "request_params": params}})


class VkStub:
    """A VK API: what it was asked, and what arrived at each recipient. `answers` are given in turn before its own."""

    def __init__(self) -> None:
        self.url = ""
        self.answers: list[Answer | None] = []  # None: its own
        self.calls: list[tuple[str, dict[str, str]]] = []
        self.arrived: dict[int, list[str]] = {}
        self.refuses: dict[int, int] = {}  # recipient → code
        self.longest = 9000  # characters
        self.a_second: int | None = None  # calls that it takes
        self.too_many = 0
        self._taken: set[tuple[int, int]] = set()  # recipient, random_id
        self._called: deque[float] = deque()

    @property
    def sent(self) -> list[tuple[str, str]]:
        """Recipients and text of each call that sends."""
        return [(form["peer_ids"], form["message"]) for method, form in self.calls if method == "messages.send"]

    async def answer(self, request: web.Request) -> web.StreamResponse:
        method = request.match_info["method"]
        form = {name: str(value) for name, value in (await request.post()).items()}
        if form.pop("access_token", "") != TOKEN:
            return _error(5, "User authorization failed: invalid access_token (4).")
        if form.pop("v", None) != "5.199":
            return _error(100, "One of the parameters specified was missing or invalid: v")
        self.calls.append((method, form))
        own = await self._own(method, form) if not self.answers or self.answers[0] is None else None
        answer = self.answers.pop(0) if self.answers else None
        if own is not None:
            return own
        assert answer is not None
        return await answer(request)

    async def _own(self, method: str, form: dict[str, str]) -> web.Response:
        if self.a_second is not None and not self._in_time(self.a_second):
            self.too_many += 1
            return _error(6, "Too many requests per second")
        if method == "messages.send":
            return self.send(form)
        if method == "messages.getConversationsById":
            peer = int(form["peer_ids"])
            can_write = {"allowed": peer not in self.refuses, "reason": self.refuses.get(peer, 0)}
            return web.json_response(
                {"response": {"count": 1, "items": [{"peer": {"id": peer}, "can_write": can_write}]}}
            )
        return web.json_response({"response": {"count": 0, "items": []}})

    def send(self, form: dict[str, str]) -> web.Response:
        """`messages.send`."""
        peers = [int(peer) for peer in form["peer_ids"].split(",")]
        random_id = int(form["random_id"])
        if len(peers) > 100 or not -(2**31) <= random_id < 2**31 or random_id == 0 or not form["message"]:
            return _error(100, "One of the parameters specified was missing or invalid")
        if len(form["message"]) > self.longest:
            return _error(914, "Message is too long")
        items: list[dict[str, Any]] = []
        for peer in peers:
            if peer in self.refuses:
                error = {"code": self.refuses[peer], "description": "not to this one"}
                items.append({"peer_id": peer, "message_id": 0, "error": error})
                continue
            if (peer, random_id) not in self._taken:
                self._taken.add((peer, random_id))
                self.arrived.setdefault(peer, []).append(form["message"])
            items.append({"peer_id": peer, "message_id": len(self._taken), "conversation_message_id": 1})
        return web.json_response({"response": items})

    async def take_silently(self, request: web.Request) -> web.StreamResponse:
        """Sends, and then the connection ends without an answer."""
        self.send({name: str(value) for name, value in (await request.post()).items()})
        assert request.transport is not None
        request.transport.close()
        return web.Response()

    def _in_time(self, count: int) -> bool:
        at = time.monotonic()
        while self._called and self._called[0] <= at - 1.0:
            self._called.popleft()
        if len(self._called) >= count:
            return False
        self._called.append(at)
        return True


@asynccontextmanager
async def serving() -> AsyncIterator[VkStub]:
    """A VK API while the block runs."""
    stub = VkStub()
    app = web.Application()
    app.router.add_post("/method/{method}", stub.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    stub.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield stub
    finally:
        await runner.cleanup()


@asynccontextmanager
async def community(token: str = TOKEN, peer_id: int | str = CHAT, **parameters: Any) -> AsyncIterator[Vk]:
    """The consumer, closed at the end."""
    consumer = Vk(VkParameters(token=SecretStr(token), peer_id=peer_id, **parameters))
    try:
        yield consumer
    finally:
        await consumer.close()


def at(url: str, text: str | None = None) -> Context:
    """A context whose VK is at that address, where everything says `text`; None: its content."""

    async def rendered(delivery: Delivery) -> Rendered:
        if text is None:
            return await content_of(delivery)
        return Rendered(subject="", body=Marked(text), templated=True)

    return replace(context_without_scripts("chat", vk=url), rendered=rendered)


def make(content: str = "build failed", number: int = 1, **fields: Any) -> Delivery:
    """A delivery of the consumer `chat`."""
    return make_delivery(content, number=number, **fields)
