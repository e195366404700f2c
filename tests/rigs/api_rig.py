"""A control API with plugins of the tests' own, over HTTP on a real server; and what routes it has."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from control_api.access import tokens
from control_api.access.actor import COMMAND_LINE, SCOPES
from control_api.app import create_app
from control_api.definitions.services import Services
from control_api.definitions.spec import name_field
from control_api.migrate import upgrade
from control_api.serve import listen, serve
from filters.keywords import SkipKeywords
from notifier.database import Database
from notifier.outcome import KINDS
from notifier.plugin import Consumer, ConsumerParameters, Parameters, Producer
from notifier.registry import Registry
from notifier.seal import load_seal
from notifier.settings import Settings
from tests.rigs.kafka_tools import WAIT_S, delete_topics, wait_until


class Pushed(Producer[Parameters]):
    """Takes pushes."""

    type = "pushed"
    Parameters = Parameters
    pull = False


class Pulled(Producer[Parameters]):
    """Fetches its messages."""

    type = "pulled"
    Parameters = Parameters


class Nowhere(Consumer[ConsumerParameters]):
    """Delivers nothing."""

    type = "nowhere"
    Parameters = ConsumerParameters


REGISTRY = Registry([Pushed, Pulled, Nowhere, SkipKeywords])


async def define(settings: Settings) -> None:
    """A producer of each kind and a configuration, straight into the database."""
    await upgrade(settings)
    database = Database(settings)
    try:
        services = Services(database, REGISTRY, load_seal(settings))
        await services.create(COMMAND_LINE, "producer", {"name": "ci", "type": "pushed"})
        await services.create(COMMAND_LINE, "producer", {"name": "reviews", "type": "pulled"})
        await services.create(COMMAND_LINE, "consumer", {"name": "chat", "type": "nowhere"})
        await services.create(
            COMMAND_LINE, "configuration", {"name": "to-chat", "producers": ["ci", "reviews"], "consumers": ["chat"]}
        )
    finally:
        await database.close()


@asynccontextmanager
async def running(settings: Settings, **options: Any) -> AsyncIterator[str]:
    """The address of an API served in this event loop."""
    listener = listen("127.0.0.1", 0)
    app = create_app(settings, **{"registry": REGISTRY, **options})
    server = serve(app, listener)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        await wait_until(lambda: server.started or task.done())
        assert server.started, task
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        await task
        listener.close()


def client(url: str, token: str | None = None) -> httpx.AsyncClient:
    """A client with a token, for HTTP: to read the authorities of HTTPS takes longer than a request."""
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    return httpx.AsyncClient(base_url=url, headers=headers, timeout=120, verify=False)


@dataclass
class Api:
    """An API that runs in a thread for all tests of a file that do nothing to it."""

    url: str
    settings: Settings
    tokens: dict[str, str] = field(default_factory=dict)

    def client(self, scope: str = "admin") -> httpx.AsyncClient:
        """A client that may do what that scope says."""
        return client(self.url, self.tokens[scope])


async def is_ready(asking: httpx.AsyncClient) -> bool:
    return (await asking.get("/health/ready")).status_code == 200


NAMES = {kind: name_field(kind) for kind in KINDS}


SCOPE_OF = {
    **{f"GET /api/v1/{kind}s": "read" for kind in NAMES},
    **{f"GET /api/v1/{kind}s/{{{name}}}": "read" for kind, name in NAMES.items()},
    **{f"POST /api/v1/{kind}s": "admin" if kind == "script" else "write" for kind in NAMES},
    **{
        f"{method} /api/v1/{kind}s/{{{name}}}": "admin" if kind == "script" else "write"
        for kind, name in NAMES.items()
        for method in ("PUT", "PATCH", "DELETE")
    },
    **{f"GET /api/v1/{kind}s/{{{name}}}/history": "read" for kind, name in NAMES.items()},
    **{
        f"POST /api/v1/{kind}s/{{{name}}}/rollback": "admin" if kind == "script" else "write"
        for kind, name in NAMES.items()
    },
    "POST /api/v1/definitions": "write",
    "POST /api/v1/consumers/{name}/pause": "write",
    "POST /api/v1/producers/{name}/pause": "write",
    "POST /api/v1/producers/{name}/resume": "write",
    "POST /api/v1/consumers/{name}/test": "run",
    "POST /api/v1/consumers/{name}/resume": "write",
    "POST /hooks/json/{producer}": "push",
    "POST /hooks/{door}/{producer}": "push",
    "POST /api/v1/messages": "push",
    "POST /api/v1/configurations/{name}/run": "run",
    "POST /hooks/github/{producer}": "push",
    "GET /api/v1/configurations/{name}/schedule": "read",
    "POST /api/v1/configurations/{name}/dry_run": "run",
    "GET /api/v1/dry_runs/{id}": "read",
    "DELETE /api/v1/dry_runs/{id}": "run",
    "POST /api/v1/explain": "read",
    "POST /api/v1/configurations/{name}/explain": "read",
    "POST /api/v1/configurations/{name}/preview": "read",
    "POST /api/v1/producers/{name}/preview": "read",
    "GET /api/v1/users/{username}/working": "read",
    "POST /api/v1/users/{username}/link": "write",
    "GET /api/v1/attempts": "read",
    "GET /api/v1/answers": "read",
    "GET /api/v1/counters": "read",
    "GET /api/v1/messages": "read",
    "GET /api/v1/messages/{producer}/{id}": "read",
    "GET /api/v1/dead_letters": "read",
    "GET /api/v1/dead_letters/{id}": "read",
    "POST /api/v1/dead_letters/redrive": "run",
    "GET /api/v1/deliveries": "read",
    "GET /api/v1/deliveries/{id}": "read",
    "DELETE /api/v1/deliveries/{id}": "run",
    "GET /api/v1/jobs": "read",
    "GET /api/v1/jobs/{id}": "read",
    "DELETE /api/v1/jobs/{id}": "run",
    "GET /api/v1/runs": "read",
    "GET /api/v1/runs/{configuration}/{scheduled_at}": "read",
    "GET /api/v1/plugins": "read",
    "GET /api/v1/status": "read",
    "GET /api/v1/schemas": "read",
    "GET /api/v1/asyncapi.json": "read",
    "GET /api/v1/schemas/definitions": "read",
    "GET /api/v1/schemas/{name}": "read",
    "GET /api/v1/tokens": "admin",
    "POST /api/v1/tokens": "admin",
    "GET /api/v1/tokens/{id}": "admin",
    "DELETE /api/v1/tokens/{id}": "admin",
    "GET /api/v1/accounts": "admin",
    "POST /api/v1/accounts": "admin",
    "GET /api/v1/accounts/{name}": "admin",
    "PATCH /api/v1/accounts/{name}": "admin",
    "DELETE /api/v1/accounts/{name}": "admin",
    "GET /api/v1/audit": "admin",
    "GET /openapi.json": "read",
    "GET /health/live": None,
    "GET /health/ready": None,
}


GOOD = {"producer": "ci", "content": "hello"}


@contextmanager
def served_in_a_thread(settings: Settings, **options: Any) -> Iterator[Api]:
    """An API in a thread, with `define` done and a token for each scope; ready when it is given.

    `options` are those of `create_app`.
    """
    api = Api("", settings)
    up, down = threading.Event(), threading.Event()
    failed: list[BaseException] = []

    async def main() -> None:
        await define(settings)
        for scope in SCOPES:
            api.tokens[scope] = await tokens.create_token(settings, name=f"all of {scope}", scopes=[scope])
        async with running(settings, **options) as api.url:
            async with client(api.url) as asking:
                await wait_until(lambda: is_ready(asking))
            up.set()
            await asyncio.to_thread(down.wait)
        await delete_topics(settings)

    def work() -> None:
        try:
            asyncio.run(main())
        except BaseException as error:
            failed.append(error)
            up.set()
            raise

    thread = threading.Thread(target=work, name="api")
    thread.start()
    assert up.wait(WAIT_S)
    assert not failed, failed
    yield api
    down.set()
    thread.join(WAIT_S)
    assert not thread.is_alive()
