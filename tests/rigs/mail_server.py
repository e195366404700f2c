"""A mail server on loopback (aiosmtpd) that keeps what it takes and replies as it is told, and the consumer that calls it."""

import asyncio
import gc
import ssl
import warnings
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from email import policy
from email.message import EmailMessage
from email.parser import BytesParser
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from consumers.email import Email

USERNAME, PASSWORD = "notifier", "CANARY-password"
SILENT, HANG_UP = "silent", "hang up"  # in place of a reply


@dataclass(frozen=True)
class Mail:
    """A mail that the server took."""

    sender: str
    recipients: list[str]
    raw: bytes

    @property
    def read(self) -> EmailMessage:
        """Its headers and parts, as a mail program reads them."""
        return BytesParser(policy=policy.default).parsebytes(self.raw)

    def part(self, kind: str) -> str:
        """The content of the part `plain` or `html`, with line feeds."""
        found = self.read.get_body((kind,))
        assert found is not None
        return str(found.get_content()).replace("\r\n", "\n")


class MailServer:
    """Replies to MAIL, RCPT, DATA and AUTH as it is told, in turn, then as usual."""

    def __init__(self) -> None:
        self.port = 0
        self.mails: list[Mail] = []
        self.replies: defaultdict[str, list[str]] = defaultdict(list)
        self.sessions = 0
        self.signed_in = 0

    def told(self, *replies: tuple[str, str]) -> None:
        """Takes replies, each with its command."""
        for command, reply in replies:
            self.replies[command].append(reply)

    async def handle_MAIL(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        reply = await self._reply("MAIL", server)
        if reply == "250 OK":
            envelope.mail_from = address
            envelope.mail_options.extend(options)
        return reply

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        reply = await self._reply("RCPT", server)
        if reply == "250 OK":
            envelope.rcpt_tos.append(address)
        return reply

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        reply = await self._reply("DATA", server)
        if reply == "250 OK":
            content = envelope.content
            assert isinstance(content, bytes)
            self.mails.append(Mail(str(envelope.mail_from), list(envelope.rcpt_tos), content))
        return reply

    async def handle_RSET(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        return await self._reply("RSET", server)

    def authenticate(self, server: SMTP, session: Session, envelope: Envelope, method: str, data: Any) -> AuthResult:
        if self.replies["AUTH"]:
            return AuthResult(success=False, handled=False, message=self.replies["AUTH"].pop(0))
        assert isinstance(data, LoginPassword)
        good = (data.login, data.password) == (USERNAME.encode(), PASSWORD.encode())
        self.signed_in += good
        return AuthResult(success=good, handled=False)

    async def _reply(self, command: str, server: SMTP) -> str:
        replies = self.replies[command]
        reply = replies.pop(0) if replies else "250 OK"
        if reply == SILENT:
            await asyncio.sleep(60)
        if reply == HANG_UP:
            assert server.transport is not None
            server.transport.close()
        return reply


@asynccontextmanager
async def serving(
    certificate: ssl.SSLContext | None = None, *, tls: bool = False, sign_in: bool = False, greeting: str | None = None
) -> AsyncIterator[MailServer]:
    """A mail server while the block runs: with a certificate by STARTTLS, or with `tls` from the first byte on.

    `greeting`: what it says in place of its greeting, and then no more.
    """
    server = MailServer()
    sessions: list[SMTP] = []

    def session() -> asyncio.Protocol:
        server.sessions += 1
        if greeting is not None:
            return _Greeting(greeting)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it advises against signing in without TLS, and does not see TLS below it
            one = SMTP(
                server,
                hostname="localhost",
                tls_context=None if tls else certificate,
                auth_require_tls=certificate is not None and not tls,
                auth_required=sign_in,
                authenticator=server.authenticate if sign_in else None,
                loop=asyncio.get_running_loop(),
            )
        sessions.append(one)
        return one

    listening = await asyncio.get_running_loop().create_server(
        session, "127.0.0.1", 0, ssl=certificate if tls else None
    )
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listening.close()
        await listening.wait_closed()
        for one in sessions:  # closing the server ends no session, nor does a STARTTLS that the client breaks off
            for transport in (one.transport, one._original_transport):
                if isinstance(transport, asyncio.WriteTransport):
                    transport.abort()
        await asyncio.sleep(0.05)
        if certificate is not None:  # aiosmtpd drops the transport of a handshake that fails
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ResourceWarning)
                gc.collect()


class _Greeting(asyncio.Protocol):
    def __init__(self, greeting: str) -> None:
        self._greeting = greeting

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        if self._greeting != SILENT:
            transport.write(self._greeting.encode() + b"\r\n")
            transport.close()


@asynccontextmanager
async def mailing(server: MailServer, **parameters: Any) -> AsyncIterator[Email]:
    """The consumer at that server, without encryption unless it says so; closed at the end."""
    given = {"host": "localhost", "port": server.port, "security": "none", "sender": "Notifier <noreply@example.org>"}
    consumer = Email(Email.Parameters.model_validate({**given, **parameters}))
    try:
        yield consumer
    finally:
        await consumer.close()
