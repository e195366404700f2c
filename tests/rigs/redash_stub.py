"""Redash's API on loopback, and the producer that asks it."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from aiohttp import web

from notifier import Context, JsonObject
from producers.redash import Redash, RedashParameters
from tests.rigs.plugin_world import context_without_scripts

KEY = "canary0123456789abcdef"
QUERY = 42
RESULT = 7
JOB = "f8b7a0f4-1d7e-4c0c-9b1a-8f4e0f0c8f5d"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class RedashStub:
    """Redash. It runs each query as a job, which has ended after `waits` questions; `answer` takes over where it is set."""

    url: str = ""
    rows: list[Any] = field(default_factory=list)
    job: JsonObject = field(default_factory=lambda: {"status": 3, "error": "", "query_result_id": RESULT})  # in the end
    waits: int = 1
    cached: bool = False  # whether the result is recent enough
    answer: Handler | None = None
    asked: list[str] = field(default_factory=list)
    bodies: list[Any] = field(default_factory=list)
    keys: set[str] = field(default_factory=set)
    notices: list[str] = field(default_factory=list)
    cursor: JsonObject | None = None

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answers a request."""
        self.asked.append(f"{request.method} {request.path}")
        self.keys.add(request.headers.get("Authorization", ""))
        if self.answer is not None:
            return await self.answer(request)
        path = f"/api/queries/{QUERY}"
        match (request.method, request.path):
            case ("POST", place) if place == f"{path}/results":
                self.bodies.append(await request.json())
                return web.json_response(self.result() if self.cached else {"job": self._job(1)})
            case ("GET", place) if place == f"/api/jobs/{JOB}":
                self.waits -= 1
                return web.json_response({"job": self._job(2) if self.waits > 0 else {**self._job(3), **self.job}})
            case ("GET", place) if place in (f"{path}/results/{RESULT}.json", f"{path}/results.json"):
                return web.json_response(self.result())
            case ("GET", place) if place == path:
                return web.json_response({"id": QUERY, "name": "Late orders", "latest_query_data_id": RESULT})
        return web.json_response({"message": "Not found."}, status=404)

    def result(self) -> JsonObject:
        """The result as Redash writes it."""
        names = dict.fromkeys(name for row in self.rows if isinstance(row, dict) for name in row)
        columns = [{"name": name, "friendly_name": name, "type": None} for name in names]
        return {
            "query_result": {
                "id": RESULT,
                "query_hash": "a" * 32,
                "query": "SELECT 1",
                "data": {"columns": columns, "rows": self.rows},
                "data_source_id": 1,
                "runtime": 0.01,
                "retrieved_at": "2026-11-29T10:00:00.000Z",
            }
        }

    def producer(self, **parameters: Any) -> Redash:
        """A producer of the query."""
        return Redash(
            RedashParameters.model_validate({"url": self.url, "api_key": KEY, "query_id": QUERY, **parameters})
        )

    def context(self) -> Context:
        """The context of a run, which keeps the cursor here."""
        plain = context_without_scripts("orders")
        return replace(plain, cursor=self.cursor, keep=self._keep, notice=self.notices.append)

    async def told(self, **parameters: Any) -> list[JsonObject]:
        """The messages of one run."""
        return await self.producer(**parameters).produce(self.context())

    def _keep(self, state: JsonObject) -> None:
        self.cursor = state

    def _job(self, status: int) -> JsonObject:
        return {"id": JOB, "updated_at": 0, "status": status, "error": "", "result": None, "query_result_id": None}


@asynccontextmanager
async def redash_running() -> AsyncIterator[RedashStub]:
    """A stub of Redash while the block runs."""
    stub = RedashStub()
    app = web.Application(client_max_size=1024**2)
    app.router.add_route("*", "/{path:.*}", stub.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    stub.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield stub
    finally:
        await runner.cleanup()
