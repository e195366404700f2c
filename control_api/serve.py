"""The process of the role `api`: a socket, a uvicorn server that drains, and the refusal to be open while nobody can sign in.

The app itself is `control_api.app`.
"""

import asyncio
import gc
import ipaddress
import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
import uvloop
from fastapi import FastAPI

from control_api.access.accounts import anybody
from control_api.app import create_app
from control_api.http.connection import LimitedConnection, allow_many_files
from control_api.migrate import upgrade_database
from notifier.database import Database
from notifier.errors import SettingsError
from notifier.role import run_role
from notifier.settings import Settings, variable

logger = logging.getLogger(__name__)

DRAIN_S = 20  # for running requests after SIGTERM, in seconds


class _Server(uvicorn.Server):
    """uvicorn without signal handlers of its own: `notifier.role` has them, and says when to stop."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def serve(app: FastAPI, listener: socket.socket) -> uvicorn.Server:
    """A server of the app on a socket that listens already; `await server.serve(sockets=[listener])` runs it."""
    return _Server(
        uvicorn.Config(
            app,
            log_config=None,
            http=LimitedConnection,
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


async def _run(settings: Settings, stop: asyncio.Event) -> None:
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
        # What is there now stays; to look through it again and again for cycles would take longer than what requests leave.
        gc.freeze()
        gc.set_threshold(10_000, 5, 5)
        place = f"[{host}]" if ":" in host else host
        logger.info("The control API listens on http://%s:%s", place, port, extra={"action": "start", "port": port})
        await _serve_until(server, listener, stop)
        logger.info("The control API has stopped.", extra={"action": "stop"})
    finally:
        listener.close()


async def _serve_until(server: uvicorn.Server, listener: socket.socket, stop: asyncio.Event) -> None:
    """Serves until `stop` is set, then drains."""
    serving = asyncio.create_task(server.serve(sockets=[listener]), name="serve")
    stopping = asyncio.create_task(stop.wait(), name="stop")
    await asyncio.wait([serving, stopping], return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    server.should_exit = True
    await serving


def run_api_process(settings: Settings) -> int:
    """Serves the control API as this process; returns the exit status."""
    allow_many_files()
    return run_role(settings, "api", lambda stop: _run(settings, stop), uvloop.new_event_loop)
