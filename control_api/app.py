"""The control API: one app made of parts, and the process that serves it.

    request ─► guard (limits, headers, ids) ─► problems ─► auth ─► rest, graphql ─► services ─► database, intake
                                                             relay ─► definitions     attempts, … ─► history

The app lives whether the broker is there or not: what writes to Kafka answers 503 meanwhile, everything else works.
"""

import asyncio
import ipaddress
import logging
import signal
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from importlib.metadata import version
from types import FrameType
from typing import Any

import uvicorn
from fastapi import FastAPI, Response

from control_api import health, rest
from control_api.access.accounts import anybody
from control_api.access.sign_in_limit import SignInLimit
from control_api.console import assets, home, sign_in
from control_api.definitions.relay import Relay
from control_api.definitions.services import Services
from control_api.graphql import endpoint as graphql
from control_api.graphql.schema import build_schema
from control_api.history.follower import History
from control_api.http import problems
from control_api.http.auth import ReadActor, check_guarded
from control_api.http.guard import REQUEST_LIMIT_S, Guard
from control_api.http.page import json_response
from control_api.intake.intake import Intake
from control_api.migrate import upgrade_database
from control_api.parts import Parts
from control_api.registry import load_registry
from control_api.rest import definitions
from control_api.retention import keep_pruning
from notifier import log
from notifier.database import Database
from notifier.errors import NotifierError, SettingsError
from notifier.registry import Registry
from notifier.seal import Seal, load_seal
from notifier.settings import Settings, variable

logger = logging.getLogger(__name__)

DRAIN_S = 20  # that running requests are given at the end


def create_app(
    settings: Settings,
    *,
    registry: Registry | None = None,
    seal: Seal | None = None,
    instance: str | None = None,
    request_limit_s: float = REQUEST_LIMIT_S,
) -> FastAPI:
    """The app. Reads the key; connects to nothing until it is started, when it upgrades the database and follows topics.

    `instance` names the process among those of this installation (see `control_api.intake.intake`). Raises SecretError when the
    key is missing, and NotifierError when two plugins have the same type.
    """
    registry = load_registry() if registry is None else registry
    seal = load_seal(settings) if seal is None else seal

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            database = Database(settings)
            stack.push_async_callback(database.close)
            await upgrade_database(database)
            relay = Relay(settings, database)
            parts = Parts(
                settings=settings,
                database=database,
                registry=registry,
                seal=seal,
                intake=Intake(settings, instance),
                relay=relay,
                services=Services(database, registry, seal, changed=relay.wake),
                history=History(settings, database),
                sign_in_limit=SignInLimit(),
            )
            for part in (parts.relay, parts.history, parts.intake):  # stopped in the opposite order
                await part.start()
                stack.push_async_callback(part.stop)
            pruning = asyncio.create_task(keep_pruning(database), name="retention")
            stack.push_async_callback(_end, pruning)
            app.state.parts = parts
            yield

    app = FastAPI(
        title="Notifier",
        version=version("notifier"),
        description=(
            "The control API of Notifier. Every error is a problem detail (RFC 9457). Lists are pages of at most 500 items."
            " Every POST takes an Idempotency-Key."
        ),
        lifespan=lifespan,
        openapi_url=None,  # below, for those who may read
        docs_url=None,  # FastAPI's page loads its scripts from elsewhere; `control_api.console` has ours
        redoc_url=None,
        redirect_slashes=False,
    )
    app.add_middleware(Guard, limit_s=request_limit_s)
    problems.install(app)
    app.include_router(health.router)
    for router in rest.ROUTERS:
        app.include_router(router, prefix=rest.PREFIX)
    for router in rest.HOOKS:
        app.include_router(router)
    for router in (graphql.router, assets.router, sign_in.router, home.router):
        app.include_router(router)

    @app.get(
        "/openapi.json", summary="Get this description", tags=["schemas"], response_class=Response,
        responses=problems.documented(401, 403),
    )  # fmt: skip
    async def openapi(actor: ReadActor) -> Response:
        """OpenAPI 3.1."""
        return json_response(app.openapi())

    _describe(app)
    check_guarded(app)
    build_schema()  # of GraphQL; it checks the same of its fields
    return app


def _describe(app: FastAPI) -> None:
    """Puts the schema of problems into the description, where the routes refer to it."""
    generate = app.openapi

    def described() -> dict[str, Any]:
        schema = generate()
        components = schema.setdefault("components", {}).setdefault("schemas", {})
        components |= {"Problem": problems.SCHEMA, **definitions.SCHEMAS}
        for operations in schema["paths"].values():
            for operation in operations.values():
                # FastAPI adds its own form of 422 where there are parameters; ours is another, and it is said where it is.
                answer = operation["responses"].get("422", {}).get("content", {})
                if "application/json" in answer:
                    operation["responses"]["422"] = problems.documented(422)[422]
        for name in ("HTTPValidationError", "ValidationError"):
            schema["components"]["schemas"].pop(name, None)
        return schema

    app.openapi = described  # type: ignore[method-assign]  # FastAPI's documented way


async def _end(task: "asyncio.Task[None]") -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


class _Server(uvicorn.Server):
    """uvicorn that ends with status 0 on SIGTERM and SIGINT, once it has drained; its own way raises the signal again."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield  # only the main thread is given signals; whoever runs us in another sets `should_exit`
            return
        before = {number: signal.signal(number, self._stop) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, old in before.items():
                signal.signal(number, old)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self.force_exit = self.should_exit and number == signal.SIGINT  # a second Ctrl-C waits for nobody
        self.should_exit = True


def serve(app: FastAPI, listener: socket.socket) -> uvicorn.Server:
    """A server of the app on a socket that listens already; `await server.serve(sockets=[listener])` runs it."""
    return _Server(
        uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            lifespan="on",
            ws="none",
            timeout_graceful_shutdown=DRAIN_S,
            timeout_keep_alive=15,
            backlog=512,
        )
    )


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens; port 0 takes a free one. Raises SettingsError that says what mends it."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise SettingsError(f"{variable('http_host')}={host} is no address here: {error.strerror or error}") from None
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(512)
    except OSError as error:
        listener.close()
        raise SettingsError(
            f"{host}:{port} cannot be listened on: {error.strerror}; set {variable('http_host')} or {variable('http_port')}"
        ) from None
    listener.setblocking(False)
    return listener


def _is_local(address: str) -> bool:
    try:
        return ipaddress.ip_address(address.split("%")[0]).is_loopback
    except ValueError:
        return False


async def _run(settings: Settings) -> None:
    listener = listen(settings.http_host, settings.http_port)
    try:
        host, port = listener.getsockname()[:2]
        database = Database(settings)
        try:
            await upgrade_database(database)
            if not _is_local(host) and not await anybody(database):
                raise SettingsError(
                    f"{variable('http_host')}={settings.http_host} is open to others, and nobody can sign in yet:"
                    " make a token first, `notifier token create --name me --scope admin`"
                )
        finally:
            await database.close()
        app = create_app(settings, instance=f"{socket.gethostname()}-{port}")
        server = serve(app, listener)
        place = f"[{host}]" if ":" in host else host
        logger.info("The control API listens on http://%s:%s", place, port, extra={"action": "start", "port": port})
        await server.serve(sockets=[listener])
        logger.info("The control API has stopped.", extra={"action": "stop"})
    finally:
        listener.close()


def run_api_process(settings: Settings) -> int:
    """Serves the control API until SIGTERM or SIGINT, drains, and answers the exit status.

    Raises SettingsError where it cannot or must not listen, DatabaseError and SecretError.
    """
    log.configure(settings, "api")
    try:
        asyncio.run(_run(settings))
    except NotifierError as error:
        logger.critical("%s", error, extra={"action": "start"})  # the command line prints it for people too
        raise
    return 0
