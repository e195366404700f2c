"""Session: what the SMTP door answers to each command of a client. The protocol itself is aiosmtpd's.

A mail is taken, 250, once Kafka has acknowledged what it became; 451 says that it is to be sent again. Sent again it has the
same `Message-ID`, and is recognised.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from control_api.access.actor import Actor
from control_api.mail.handing_over import hand_over
from control_api.mail.recipients import Refused, producer_of, sign_in
from control_api.parts import Parts
from notifier.errors import BrokerError, DatabaseError, NotifierError
from notifier.one_line import one_line

logger = logging.getLogger(__name__)

MAX_RECIPIENTS = 20  # of one mail
OK = "250 OK"
_UNKNOWN = "550 5.7.1 No such address here, or the token is wrong: write to PRODUCER+TOKEN@anything"
_LATER = "451 4.3.0 It cannot be taken now; send it again"


class MailSession(SMTP):
    """One connection, `life_s` seconds at most. Longer lines than the standard has are taken, as devices send them."""

    line_length_limit = 1024 * 1024

    def __init__(
        self, commands: "Commands", life_s: float, ended: Callable[["MailSession"], None], **options: Any
    ) -> None:
        # `Commands` checks what is collected here.
        super().__init__(commands, authenticator=_collected, **options)
        self._life_s = life_s
        self._ended = ended  # is called once the connection is closed
        self._end: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the event loop, and again once the connection is encrypted."""
        super().connection_made(transport)
        if self._end is None:
            self._end = self.loop.call_later(self._life_s, self.abort)

    def connection_lost(self, error: Exception | None) -> None:
        """Called by the event loop."""
        if self._end is not None:
            self._end.cancel()
        super().connection_lost(error)
        self._ended(self)

    def abort(self) -> None:
        """Closes the connection at once."""
        for transport in (self.transport, self._original_transport):
            if isinstance(transport, asyncio.WriteTransport):
                transport.abort()


def _collected(server: SMTP, session: Session, envelope: Envelope, mechanism: str, given: LoginPassword) -> AuthResult:
    return AuthResult(success=True, auth_data=given)


class Commands:
    """Answers the commands of all connections. aiosmtpd finds the methods by their names."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._working = 0  # mails that are being handed over
        self.idle = asyncio.Event()  # set while there are none
        self.idle.set()

    async def auth_PLAIN(self, server: SMTP, args: list[str]) -> AuthResult:
        """Signs in with a token as password; the name does not matter."""
        given: AuthResult = await server.auth_PLAIN(None, args)
        return await self._signed_in(given)

    async def auth_LOGIN(self, server: SMTP, args: list[str]) -> AuthResult:
        """As `auth_PLAIN`."""
        given: AuthResult = await server.auth_LOGIN(None, args)
        return await self._signed_in(given)

    async def _signed_in(self, given: AuthResult) -> AuthResult:
        if not isinstance(given.auth_data, LoginPassword):
            return given
        try:
            actor = await sign_in(self._parts, given.auth_data.password.decode(errors="replace").strip())
        except Refused:
            return AuthResult(success=False, handled=False)
        except DatabaseError:
            return AuthResult(success=False, handled=False, message="454 4.7.0 It cannot be checked now; try again")
        return AuthResult(success=True, auth_data=actor)

    async def handle_MAIL(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """Takes any sender, the empty one of automatic mails too."""
        envelope.mail_from = address or "<>"
        return OK

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """Takes the addresses of producers. The envelope then holds their names, and no token."""
        if len(envelope.rcpt_tos) >= MAX_RECIPIENTS:
            return "452 4.5.3 Too many recipients"
        actor = session.auth_data if isinstance(session.auth_data, Actor) else None
        try:
            producer = await producer_of(self._parts, address, actor)
        except Refused:
            return _UNKNOWN
        except DatabaseError:
            return _LATER
        if producer not in envelope.rcpt_tos:
            envelope.rcpt_tos.append(producer)
        return OK

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        """Hands the mail over to each producer."""
        self._working += 1
        self.idle.clear()
        try:
            return await self._take(envelope)
        finally:
            self._working -= 1
            if not self._working:
                self.idle.set()

    async def _take(self, envelope: Envelope) -> str:
        content = envelope.content
        mail = content if isinstance(content, bytes) else (content or "").encode()
        for producer in envelope.rcpt_tos:
            try:
                await hand_over(self._parts, producer, mail)
            except (BrokerError, DatabaseError) as error:
                logger.warning("A mail for the producer %s cannot be taken now: %s", producer, error, extra=_EXTRA)
                return _LATER
            except NotifierError as error:
                logger.warning("A mail for the producer %s is refused: %s", producer, error, extra=_EXTRA)
                return f"554 5.6.0 {one_line(error, 300).encode('ascii', 'replace').decode()}"
            except Exception:  # a plugin may raise anything
                logger.exception("The producer %s failed on a mail.", producer, extra=_EXTRA)
                return "554 5.3.0 The producer fails on this mail; the log says why"
        return OK

    async def handle_exception(self, error: Exception) -> str:
        """A fault of a session, in which the client may say anything."""
        logger.warning("A session of the SMTP door failed: %s", type(error).__name__, extra=_EXTRA)
        return "451 4.3.0 Something went wrong; try again"


_EXTRA = {"action": "take_mail"}
