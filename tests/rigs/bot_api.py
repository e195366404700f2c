"""A Bot API on loopback that answers as it is told, and the Telegram consumer that calls it."""

import asyncio
import json
import math
import ssl
import time
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from aiohttp import web
from pydantic import SecretStr

from consumers.telegram.telegram import Telegram, TelegramParameters
from consumers.text.texts import default_rendered
from notifier import Context, Delivery, Marked, Rendered, Result
from notifier.errors import DeliveryError
from notifier.plugin import result_of
from tests.rigs.bot_api_rules import wrong_with
from tests.rigs.bot_inbox import Inbox
from tests.rigs.plugin_world import context_without_scripts, make_delivery

TOKEN = "123456:CANARY-token_of-a-bot"
GROUP = -1001234567890
Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


def says(status: int, description: str | None = None, **parameters: int) -> Answer:
    """An answer as the Bot API gives it."""

    async def answer(request: web.Request) -> web.StreamResponse:
        if status == 200:
            return web.json_response({"ok": True, "result": sent_message()})
        body: dict[str, Any] = {"ok": False, "error_code": status}
        if description is not None:
            body["description"] = description
        if parameters:
            body["parameters"] = parameters
        return web.json_response(body, status=status)

    return answer


def raw(status: int, body: bytes, headers: dict[str, str] | None = None) -> Answer:
    """An answer of whatever stands between the bot and Telegram."""

    async def answer(request: web.Request) -> web.StreamResponse:
        return web.Response(status=status, body=body, headers=headers)

    return answer


def cut(status: int) -> Answer:
    """The beginning of an answer, and then the connection ends."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(status=status, headers={"Content-Length": "1000"})
        await response.prepare(request)
        await response.write(b'{"ok": true, "res')
        assert request.transport is not None
        request.transport.close()
        return response

    return answer


async def hang_up(request: web.Request) -> web.StreamResponse:
    """No answer at all: the connection ends."""
    assert request.transport is not None
    request.transport.close()
    return web.Response()


async def stay_silent(request: web.Request) -> web.StreamResponse:
    """No answer, and the connection stays."""
    await asyncio.sleep(60)
    return web.Response()


def sent_message() -> dict[str, Any]:
    """What Telegram says about a message that it took."""
    return {"message_id": 1, "date": 1_790_000_000, "chat": {"id": GROUP, "type": "supergroup", "title": "Team"}}


OK = says(200)


class BotLimits:
    """The limits of a bot, enforced over sliding windows: all chats, each chat, each group; (count, seconds) of each."""

    def __init__(
        self,
        overall: tuple[int, float] = (30, 1.0),
        chat: tuple[int, float] = (3, 3.0),
        group: tuple[int, float] = (20, 60.0),
    ) -> None:
        self._limits = {"": overall, "chat": chat, "group": group}
        self._sent: defaultdict[tuple[str, str], deque[float]] = defaultdict(deque)
        self.refused = 0

    def wait_s(self, chat_id: str, at: float) -> float:
        """Counts a text and returns 0, or refuses it and returns the seconds until there is room for one."""
        scopes = [("", ""), ("chat", chat_id), *([("group", chat_id)] if chat_id.startswith("-") else [])]
        wait_s = 0.0
        for scope in scopes:
            count, seconds = self._limits[scope[0]]
            sent = self._sent[scope]
            while sent and sent[0] <= at - seconds:
                sent.popleft()
            if len(sent) >= count:
                wait_s = max(wait_s, sent[-count] + seconds - at)
        if wait_s:
            self.refused += 1
        else:
            for scope in scopes:
                self._sent[scope].append(at)
        return wait_s


class BotApi:
    """A Bot API that answers as it is told, in turn, then as Telegram does; it keeps what it was asked."""

    def __init__(self) -> None:
        self.limits: BotLimits | None = None
        self.inbox = Inbox()
        self.url = ""
        self.port = 0
        self.answers: list[Answer] = []
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.files: list[tuple[str, str]] = []  # name and content of what was sent as a document
        self.connections: set[Any] = set()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.connections.add(request.transport)
        token, method = request.match_info["token"], request.match_info["method"]
        if request.content_type == "application/json" and token == TOKEN:
            return await self.inbox.answer(method, await request.json())
        posted = (await request.post()).items()
        form = {name: value for name, value in posted if isinstance(value, str)}
        files: dict[str, tuple[str, bytes]] = {}
        for name, field in posted:
            if isinstance(field, web.FileField):
                with field.file as opened:
                    files[name] = field.filename, opened.read()
        if token != TOKEN:
            return await says(401, "Unauthorized")(request)
        self.calls.append((method, form))
        self.files += [(name, content.decode()) for name, content in files.values()]
        if self.answers:
            return await self.answers.pop(0)(request)
        if method == "getMe":
            return web.json_response({"ok": True, "result": {"id": 123456, "is_bot": True, "first_name": "Bot"}})
        if method == "getChat":
            chat = {"id": GROUP, "type": "supergroup", "accent_color_id": 1, "max_reaction_count": 11}
            gifts = dict.fromkeys(
                ("unlimited_gifts", "limited_gifts", "unique_gifts", "premium_subscription", "gifts_from_channels"),
                True,
            )
            return web.json_response({"ok": True, "result": {**chat, "accepted_gift_types": gifts}})
        if self.limits is not None and (wait_s := self.limits.wait_s(form["chat_id"], time.monotonic())):
            return await says(429, "Too Many Requests", retry_after=math.ceil(wait_s))(request)
        wrong = wrong_with(method, form, {name: content for name, (_, content) in files.items()})
        return await (OK if wrong is None else says(400, wrong))(request)

    def entities(self, number: int) -> list[dict[str, Any]]:
        """The entities of a call, counted from 0, in order."""
        form = self.calls[number][1]
        found: list[dict[str, Any]] = json.loads(form.get("entities") or form.get("caption_entities") or "[]")
        return found

    @property
    def texts(self) -> list[str]:
        """The texts that were sent, in order."""
        return [form["text"] for method, form in self.calls if method == "sendMessage"]


@asynccontextmanager
async def serving(
    host: str = "127.0.0.1", port: int = 0, certificate: ssl.SSLContext | None = None
) -> AsyncIterator[BotApi]:
    """A Bot API while the block runs, with a certificate at `https://localhost`."""
    api = BotApi()
    app = web.Application()
    app.router.add_post("/bot{token}/{method}", api.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, host, port, ssl_context=certificate).start()
    api.port = runner.addresses[0][1]
    api.url = f"http://{host}:{api.port}" if certificate is None else f"https://localhost:{api.port}"
    try:
        yield api
    finally:
        await runner.cleanup()


@asynccontextmanager
async def bot(token: str = TOKEN, chat_id: int | str = GROUP, **parameters: Any) -> AsyncIterator[Telegram]:
    """The consumer, closed at the end."""
    consumer = Telegram(TelegramParameters(bot_token=SecretStr(token), chat_id=chat_id, **parameters))
    try:
        yield consumer
    finally:
        await consumer.close()


def at(url: str, text: Marked | str | None = None) -> Context:
    """A context whose Telegram is at that address, with a template that makes `text` of everything, or with none."""

    async def rendered(delivery: Delivery) -> Rendered:
        if text is None:
            return default_rendered(delivery)
        return Rendered(subject="", body=Marked(text) if isinstance(text, str) else text, templated=True)

    return replace(context_without_scripts("chat", telegram=url), rendered=rendered)


def make(content: str = "build failed", number: int = 1, **fields: Any) -> Delivery:
    """A delivery of the consumer `chat`."""
    return make_delivery(content, number=number, **fields)


async def result(consumer: Telegram, delivery: Delivery, context: Context) -> Result:
    """What the delivery worker makes of one call."""
    try:
        (found,) = await consumer.deliver([delivery], context)
    except DeliveryError as error:
        return result_of(error)
    return found
