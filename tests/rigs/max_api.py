"""A MAX bot API on loopback that keeps to the documented limits and answers as it is told, and the consumer that calls it."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

from aiohttp import web
from pydantic import SecretStr

from consumers.max.max import Max, MaxParameters
from notifier import Context, Delivery, Marked, Rendered
from notifier.rendered import content_of
from tests.rigs.bot_api import Answer
from tests.rigs.plugin_world import context_without_scripts, make_delivery

TOKEN = "f9LHodD0cOL5-CANARY_token-of-a-bot"
CHAT = -70000000000001
TAGS = frozenset({"b", "i", "code", "pre", "a"})


def says(status: int, code: str | None = None, message: str = "it failed", **headers: str) -> Answer:
    """A refusal as the bot API gives it; without a code, an answer of something else."""

    async def answer(request: web.Request) -> web.StreamResponse:
        if code is None:
            return web.Response(status=status, text="<html>", headers=headers)
        return web.json_response({"code": code, "message": message}, status=status, headers=headers)

    return answer


class _Tags(HTMLParser):
    """Reads HTML; `wrong` says what is not well formed or not MAX's, `text` what is shown."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.wrong = ""
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        allowed = [("href", value) for _, value in attrs if tag == "a"]
        if tag not in TAGS or attrs != allowed:
            self.wrong = tag
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.wrong = f"/{tag}"

    def handle_data(self, data: str) -> None:
        self.text += data


class MaxStub:
    """A MAX bot API: what it was asked, and what arrived where. `answers` are given in turn before its own."""

    def __init__(self) -> None:
        self.url = ""
        self.answers: list[Answer | None] = []  # None: its own
        self.calls: list[tuple[str, str, dict[str, str]]] = []  # method, path, query
        self.bodies: list[dict[str, Any]] = []  # of messages
        self.files: dict[str, str] = {}
        self.ready_after = 0  # tries with a file before it may be sent
        self.store = ""  # address for uploads, where it is not its own

    @property
    def shown(self) -> list[str]:
        """What people see of each message."""
        return [shown_of(body) for body in self.bodies]

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Authorization") != TOKEN:
            return await says(401, "verify.token", "Invalid access_token")(request)
        self.calls.append((request.method, request.path, dict(request.query)))
        answer = self.answers.pop(0) if self.answers else None
        return await (answer or self._own)(request)

    async def _own(self, request: web.Request) -> web.StreamResponse:
        if request.path == "/uploads":
            return web.json_response({"url": self.store or f"{self.url}/store?sig=CANARY-key"})
        if request.path != "/messages":
            return web.json_response({"user_id": 1, "chat_id": CHAT})
        body = json.loads(await request.text())
        wrong = self._wrong(body, dict(request.query))
        if wrong:
            return await says(400, "proto.payload", wrong)(request)
        for attachment in body.get("attachments", ()):
            if attachment["payload"]["token"] not in self.files:
                return await says(400, "proto.payload", "no such file")(request)
            if self.ready_after:
                self.ready_after -= 1
                return await says(400, "attachment.not.ready", "Key: errors.process.attachment.file.not.processed")(
                    request
                )
        self.bodies.append(body)
        return web.json_response({"message": {"body": {"mid": "mid.1", "text": body["text"]}}})

    def _wrong(self, body: dict[str, Any], query: dict[str, str]) -> str:
        if len({"user_id", "chat_id"} & query.keys()) != 1:
            return "where to?"
        if not 0 < len(body["text"]) <= 4000:
            return "text: size must be between 0 and 4000"
        if body.get("format") not in (None, "html"):
            return "format"
        if "format" in body:
            parser = _Tags()
            parser.feed(body["text"])
            parser.close()
            return parser.wrong or "".join(parser.open)
        return ""

    async def take_file(self, request: web.Request) -> web.StreamResponse:
        """The store of files."""
        reader = await request.multipart()
        part = await reader.next()
        assert part is not None
        token = f"file-{len(self.files)}"
        self.files[token] = (await part.read()).decode()  # type: ignore[union-attr]  # it has no parts within
        return web.json_response({"fileId": 1, "token": token})


def shown_of(body: dict[str, Any]) -> str:
    """What people see of a message."""
    if "format" not in body:
        return str(body["text"])
    parser = _Tags()
    parser.feed(body["text"])
    parser.close()
    return parser.text


@asynccontextmanager
async def serving() -> AsyncIterator[MaxStub]:
    """A bot API while the block runs."""
    stub = MaxStub()
    app = web.Application()
    app.router.add_post("/store", stub.take_file)
    app.router.add_route("*", "/{path:.*}", stub.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    stub.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield stub
    finally:
        await runner.cleanup()


@asynccontextmanager
async def bot(token: str = TOKEN, chat_id: int | str = CHAT, **parameters: Any) -> AsyncIterator[Max]:
    """The consumer, closed at the end."""
    consumer = Max(MaxParameters(token=SecretStr(token), chat_id=chat_id, **parameters))
    try:
        yield consumer
    finally:
        await consumer.close()


def at(url: str, text: Marked | None = None) -> Context:
    """A context whose MAX is at that address, where everything says `text`; None: its content."""

    async def rendered(delivery: Delivery) -> Rendered:
        if text is None:
            return await content_of(delivery)
        return Rendered(subject="", body=text, templated=True)

    return replace(context_without_scripts("chat", max=url), rendered=rendered)


def make(content: str = "build failed", number: int = 1, **fields: Any) -> Delivery:
    """A delivery of the consumer `chat`."""
    return make_delivery(content, number=number, **fields)
