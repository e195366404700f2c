"""Mailer: sessions with one mail server through aiosmtplib. What the replies mean is `consumers.email.answers`'s.

A session is kept for the next mail, since servers count connections and sign-ins. One that the server has ended meanwhile is
found out by RSET, before anything is sent.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

from aiosmtplib import SMTP
from aiosmtplib.errors import (
    SMTPConnectError,
    SMTPException,
    SMTPResponseException,
    SMTPServerDisconnected,
    SMTPTimeoutError,
)

from consumers.email.answers import COMMAND_S, CONNECT_S, DATA_S, Stage, Unsure, failure_of
from notifier import Permanent, Retryable
from notifier.network import Network
from notifier.one_line import one_line
from notifier.outside import authorities

SESSIONS = 4  # at once; servers refuse more than a handful from one address
_RSET_S = 5.0
_QUIT_S = 2.0
_HELLO = "notifier.invalid"  # RFC 2606; the machine's own name is nobody's business


@dataclass(frozen=True, kw_only=True, slots=True)
class Server:
    """Where mails are handed in, and as whom."""

    host: str
    port: int
    tls: bool  # from the first byte on
    start_tls: bool  # by STARTTLS, or not at all
    username: str | None = None
    password: str | None = None
    proxy: str | None = None

    def __repr__(self) -> str:
        return f"Server({self.host}:{self.port})"


class Mailer:
    """Sends mails at one server. Raises Retryable, Permanent and Unsure; what the server says is in their texts."""

    def __init__(self, server: Server, network: Network) -> None:
        self._server = server
        self._network = network
        self._idle: list[SMTP] = []
        self._free = asyncio.Semaphore(SESSIONS)

    async def send(self, sender: str, recipient: str, mail: bytes) -> None:
        """Hands in one mail for one recipient."""
        async with self._session() as session:
            await _envelope(session, sender, recipient)
            try:
                await session.data(mail, timeout=DATA_S)
            except SMTPResponseException as error:
                raise failure_of("mail", error.code, error.message) from None
            except SMTPTimeoutError:
                text = f"the mail server did not answer the mail within {DATA_S:g} s; it may have been sent"
                raise Unsure("timeout", text) from None
            except (SMTPServerDisconnected, OSError) as error:
                raise Unsure(
                    "connection", f"the session broke off; the mail may have been sent ({_shown(error)})"
                ) from None

    async def check(self, sender: str, recipient: str | None) -> None:
        """Signs in and says who would send, and to whom. Sends nothing."""
        async with self._session() as session:
            await _envelope(session, sender, recipient)

    async def close(self) -> None:
        """Ends the sessions that are kept."""
        while self._idle:
            session = self._idle.pop()
            try:
                await session.quit(timeout=_QUIT_S)
            except (SMTPException, OSError):
                pass  # it is as good as ended
            _drop(session)

    @asynccontextmanager
    async def _session(self) -> AsyncIterator[SMTP]:
        """A session for one caller alone, kept afterwards unless it broke."""
        async with self._free:
            session = await self._kept() or await self._open()
            try:
                yield session
            except (Retryable, Permanent):  # a refusal ends no session
                raise
            except BaseException:
                _drop(session)
                raise
            finally:
                if session.is_connected:
                    self._idle.append(session)

    async def _kept(self) -> SMTP | None:
        while self._idle:
            session = self._idle.pop()
            try:
                await session.rset(timeout=_RSET_S)
                return session
            except (SMTPException, OSError):
                _drop(session)
            except BaseException:
                _drop(session)
                raise
        return None

    async def _open(self) -> SMTP:
        """A new session, signed in."""
        server = self._server
        sock = await self._network.connect(server.host, server.port, proxy=server.proxy, timeout_s=CONNECT_S)
        session = SMTP(
            hostname=server.host,
            sock=sock,
            local_hostname=_HELLO,
            timeout=COMMAND_S,
            use_tls=server.tls,
            start_tls=server.start_tls,
            tls_context=authorities() if server.tls or server.start_tls else None,
        )
        try:
            with _told("greeting"):
                await session.connect()
            if server.username is not None and server.password is not None:
                await _sign_in(session, server.username, server.password)
        except BaseException:
            _drop(session)  # which has the socket
            raise
        return session


def _drop(session: SMTP) -> None:
    """Closes the connection at once; a peer that says no goodbye would keep it."""
    transport = session.transport
    session.close()
    if isinstance(transport, asyncio.WriteTransport):
        transport.abort()


async def _sign_in(session: SMTP, username: str, password: str) -> None:
    with _told("sign-in"):
        await session.ehlo()
        if not session.supported_auth_methods:
            text = "the mail server offers no way to sign in that is known here (PLAIN, LOGIN, CRAM-MD5); does it want TLS?"
            raise Permanent("unauthorized", text)
        await session.login(username, password)


async def _envelope(session: SMTP, sender: str, recipient: str | None) -> None:
    with _told("sender"):
        await session.mail(sender)
    if recipient is not None:
        with _told("recipient"):
            await session.rcpt(recipient)


@contextmanager
def _told(stage: Stage) -> Iterator[None]:
    """Raises what a reply, or none, means before the mail itself."""
    try:
        yield
    except SMTPResponseException as error:
        failure = failure_of(stage, error.code, error.message)
        assert not isinstance(failure, Unsure)
        raise failure from None
    except SMTPTimeoutError:
        raise Retryable(
            "connection", f"the mail server did not answer within {COMMAND_S:g} s; nothing was sent"
        ) from None
    except (SMTPConnectError, SMTPServerDisconnected, OSError) as error:
        cause = error if isinstance(error, ssl.SSLError) else error.__cause__
        if isinstance(cause, ssl.SSLCertVerificationError):
            text = f"the mail server's certificate is not trusted: {_shown(cause.verify_message)}"
            mend = "SSL_CERT_FILE may name the authority that this machine does not know"
            raise Retryable("connection", f"{text}; {mend}") from None
        text = f"the session with the mail server broke off: {_shown(cause or error)}"
        raise Retryable("connection", text) from None
    except (SMTPException, ValueError) as error:  # it offers no STARTTLS, or answers what is no challenge
        raise Retryable("connection", f"there is no session with the mail server: {_shown(error)}") from None


def _shown(error: object) -> str:
    return one_line(error, 200)
