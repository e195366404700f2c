"""The process of the role `api`: a socket, a uvicorn server that drains, and the refusal to be open while nobody can sign in.

The app itself is `control_api.app`.
"""

import asyncio
import ipaddress
import logging
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import uvicorn
from fastapi import FastAPI

from control_api.access.accounts import anybody
from control_api.app import create_app
from control_api.migrate import upgrade_database
from notifier import log
from notifier.database import Database
from notifier.errors import NotifierError, SettingsError
from notifier.settings import Settings, variable

logger = logging.getLogger(__name__)

DRAIN_S = 20  # for running requests after SIGTERM, in seconds


class _Server(uvicorn.Server):
    """uvicorn that ends with status 0 on SIGTERM and SIGINT, once it has drained; its own way raises the signal again."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield  # only the main thread gets signals; a caller in another thread sets `should_exit`
            return
        before = {number: signal.signal(number, self._stop) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, old in before.items():
                signal.signal(number, old)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self.force_exit = self.should_exit and number == signal.SIGINT  # a second Ctrl-C does not drain
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
