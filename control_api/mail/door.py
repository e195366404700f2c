"""Door: listens for mails, in the process of the API. Off unless `NOTIFIER_MAIL_PORT` is set.

Sizes, numbers and times are limited here; what is answered is `control_api.mail.session`'s.
"""

import asyncio
import logging
import socket
import ssl
from contextlib import suppress
from typing import TYPE_CHECKING

from control_api.parts import Parts
from notifier.errors import SettingsError
from notifier.settings import Settings, variable

if TYPE_CHECKING:
    from control_api.mail.session import Commands, MailSession

logger = logging.getLogger(__name__)

MAX_BYTES = 10 * 1024 * 1024  # of a mail
MAX_CONNECTIONS = 32  # each may hold a mail in memory
IDLE_S = 60.0  # from one command to the next, and for the whole of a mail
SESSION_S = 300.0  # of a connection
_CLOSE_S = 5.0


class MailDoor:
    """The SMTP door of one API process. `start` once, `stop` at the end."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._server: asyncio.Server | None = None
        self._commands: Commands | None = None
        self._sessions: set[MailSession] = set()
        self.port: int | None = None  # that it listens on

    async def start(self) -> None:
        """Listens, if it is to. Raises SettingsError."""
        settings = self._parts.settings
        if settings.mail_port is None:
            return
        from control_api.mail.session import Commands  # aiosmtpd takes long to import, and few need it

        # It logs each line of a session, and with it tokens.
        logging.getLogger("mail.log").disabled = True
        self._commands = Commands(self._parts)
        certificate = _certificate(settings)
        try:
            self._server = await asyncio.get_running_loop().create_server(
                lambda: self._connection(certificate), settings.mail_host, settings.mail_port
            )
        except OSError as error:
            raise SettingsError(
                f"{settings.mail_host}:{settings.mail_port} cannot be listened on: {error.strerror or error}; set"
                f" {variable('mail_host')} or {variable('mail_port')}"
            ) from None
        self.port = self._server.sockets[0].getsockname()[1]
        place = f"{settings.mail_host}:{self.port}"
        logger.info("Mails are taken at %s.", place, extra={"action": "start", "port": self.port})

    async def stop(self) -> None:
        """Takes no more connections; what is being written may end within some seconds."""
        server, self._server = self._server, None
        if server is None or self._commands is None:
            return
        server.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_S):
                await self._commands.idle.wait()
        for session in list(self._sessions):
            session.abort()
        await server.wait_closed()

    def _connection(self, certificate: ssl.SSLContext | None) -> asyncio.BaseProtocol:
        from control_api.mail.session import MailSession

        if len(self._sessions) >= MAX_CONNECTIONS or self._commands is None:
            return _Full()
        session = MailSession(
            self._commands,
            SESSION_S,
            self._sessions.discard,
            data_size_limit=MAX_BYTES,
            enable_SMTPUTF8=True,
            hostname=socket.gethostname(),
            ident="Notifier",
            tls_context=certificate,
            auth_require_tls=certificate is not None,
            timeout=IDLE_S,
            loop=asyncio.get_running_loop(),
        )
        self._sessions.add(session)
        return session


class _Full(asyncio.Protocol):
    """A connection more than there may be."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Says so, and closes it."""
        assert isinstance(transport, asyncio.WriteTransport)
        transport.write(b"421 4.7.0 Too many connections; try again\r\n")
        transport.close()


def _certificate(settings: Settings) -> ssl.SSLContext | None:
    """What STARTTLS is done with; None: it is not offered. Raises SettingsError."""
    if settings.mail_cert_file is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(settings.mail_cert_file, settings.mail_key_file)
    except (OSError, ValueError) as error:  # an SSLError is an OSError
        raise SettingsError(
            f"{variable('mail_cert_file')} or {variable('mail_key_file')} cannot be used: {error}"
        ) from None
    return context
