"""Email: sends messages as mails, at a mail server that its parameters name.

The mail is `consumers.email.mail`'s, the session `consumers.email.mailer`'s, and what replies mean is the table in
`consumers.email.answers`. A mail is as long as its text: nothing is split. Each recipient gets a mail of the own, and sees no
other's address.
"""

import asyncio
import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import AfterValidator, Field, SecretStr, StringConstraints, model_validator

from consumers.email.address import mailbox, named_mailbox
from consumers.email.answers import COMMAND_S, DATA_S, Unsure
from consumers.email.mail import mail_of, thread_of
from notifier import (
    ACCEPTED,
    Consumer,
    ConsumerParameters,
    Context,
    Delivery,
    Limit,
    ProxyParameters,
    Result,
    User,
    at_most,
)
from notifier.errors import RecordError

if TYPE_CHECKING:  # importing it takes time, see `_open`
    from consumers.email.mailer import Mailer, Server

_TLS_PORT = 465  # RFC 8314: TLS from the first byte on


def _check_host(host: str) -> str:
    if not host.isprintable() or any(character.isspace() or character in "/@" for character in host):
        raise ValueError("is the name or the address of a mail server, such as smtp.example.org")
    return host


def _check_sender(sender: str) -> str:
    if named_mailbox(sender) is None:
        raise ValueError("is an address such as noreply@example.org, or Notifier <noreply@example.org>")
    return sender


def _check_recipient(recipient: str) -> str:
    if mailbox(recipient) is None:
        raise ValueError("is an address such as team@example.org")
    return recipient


class EmailParameters(ProxyParameters, ConsumerParameters):
    """Parameters of an e-mail consumer."""

    # The proxy sees the password only where nothing is encrypted.
    addresses = dict.fromkeys(("host", "port", "security", "proxy"), ("password",))

    host: Annotated[str, StringConstraints(min_length=1, max_length=253), AfterValidator(_check_host)] = Field(
        description="Name or address of the mail server.", examples=["smtp.example.org"]
    )
    port: int = Field(587, ge=1, le=65535, description="Port of the mail server.")
    security: Literal["auto", "tls", "starttls", "none"] = Field(
        "auto",
        description="`tls`: from the first byte on; `starttls`: by that command; `auto`: `tls` at port 465, else `starttls`;"
        " `none`: nothing is encrypted, neither mail nor password.",
    )
    username: Annotated[str, StringConstraints(min_length=1, max_length=320)] | None = Field(
        None, description="Name to sign in with; absent: nobody signs in."
    )
    password: SecretStr | None = Field(None, description="Password of `username`.")
    sender: Annotated[str, StringConstraints(max_length=500), AfterValidator(_check_sender)] = Field(
        description="Address that mails come from, perhaps with a name.", examples=["Notifier <noreply@example.org>"]
    )
    to: Annotated[str, StringConstraints(max_length=320), AfterValidator(_check_recipient)] | None = Field(
        None,
        description="Address that all messages go to; absent: each to its receiver's own.",
        examples=["team@example.org"],
    )
    thread_by: tuple[Annotated[str, StringConstraints(min_length=1, max_length=200)], ...] = Field(
        (), max_length=10, description="Labels whose values mails of one thread share.", examples=[["alertname"]]
    )
    per_second: float = Field(10.0, gt=0, le=1000, description="Mails that are handed in in a second at most.")

    @model_validator(mode="after")
    def _check_sign_in(self) -> Self:
        if self.password is not None and self.username is None:
            raise ValueError("a password needs the username that it is of")
        return self


class Email(Consumer[EmailParameters]):
    """Sends messages as mails, each to its receiver's own address or, with `to`, all to one, at a mail server (SMTP)."""

    type = "email"
    world = "email"
    shows_ids = False
    Parameters = EmailParameters

    def __init__(self, parameters: EmailParameters) -> None:
        super().__init__(parameters)
        self._mailer: Mailer | None = None

    def fixed_address(self) -> bool:
        """Whether all messages go to one address."""
        return self.parameters.to is not None

    def address(self, user: User) -> str | None:
        """The user's first name in the world that is an address."""
        return next(filter(None, map(mailbox, user.names_in(self.world_of()))), None)

    def addressing(self) -> object:
        """Its world: all mail servers reach a person at the same address."""
        return (Email, self.world_of()) if type(self).address is Email.address else self

    def name_of(self, user: User) -> str | None:
        """What it calls a user: a username in its world that is no address. None where there is none."""
        name = user.username_in(self.world_of())
        return None if name is not None and "@" in name else name

    def timeout_s(self) -> float:
        """Seconds that a session and a mail may take."""
        return 4 * COMMAND_S + DATA_S

    def credential(self) -> str:
        """A digest of the account at the mail server: limits are the account's."""
        parameters = self.parameters
        account = f"email/{parameters.host}/{parameters.username or parameters.sender}"
        return hashlib.sha256(account.encode()).hexdigest()

    def limits(self, delivery: Delivery) -> Sequence[Limit]:
        """The limit of the account."""
        return [at_most(self.parameters.per_second)]

    async def deliver(self, deliveries: Sequence[Delivery], context: Context) -> Sequence[Result]:
        """Sends each mail. Raises Retryable or Permanent as the table in `consumers.email.answers` says."""
        return [await self._deliver(delivery, context) for delivery in deliveries]

    async def check(self, context: Context) -> None:
        """Signs in at the mail server and names sender and recipient. Raises Permanent or Retryable."""
        mailer = await self._open(context)
        await mailer.check(self._sender()[1], None if self.parameters.to is None else mailbox(self.parameters.to))

    async def close(self) -> None:
        """Ends the sessions."""
        mailer, self._mailer = self._mailer, None
        if mailer is not None:
            await mailer.close()

    async def _deliver(self, delivery: Delivery, context: Context) -> Result:
        recipient = mailbox(self.parameters.to or delivery.address or "")
        if recipient is None:
            return Result(outcome="refused", reason="no_address", detail="the recipient has no e-mail address")
        try:
            rendered = await context.rendered(delivery)
            thread = thread_of(delivery, delivery.read_message(), self.parameters.thread_by)
            # A long text takes its time, and others must not wait for it.
            mail = await asyncio.to_thread(mail_of, delivery, rendered, self._sender(), recipient, thread)
        except (RecordError, ValueError) as error:
            return Result(outcome="refused", reason="invalid_content", detail=str(error))
        mailer = await self._open(context)
        try:
            await mailer.send(self._sender()[1], recipient, mail)
        except Unsure as error:
            return Result(outcome="unknown", reason=error.reason, detail=self.mask(str(error)))
        return ACCEPTED

    def _sender(self) -> tuple[str, str]:
        found = named_mailbox(self.parameters.sender)
        assert found is not None  # the parameters were checked
        return found

    async def _open(self, context: Context) -> "Mailer":
        """The mailer, made when it is first needed: the API and the router have instances too, and never send."""
        if self._mailer is None:
            make, server = await asyncio.to_thread(_import_mailer)
            parameters = self.parameters
            security = parameters.security
            if security == "auto":
                security = "tls" if parameters.port == _TLS_PORT else "starttls"
            if self._mailer is None:  # another call may have been faster
                self._mailer = make(
                    server(
                        host=parameters.host,
                        port=parameters.port,
                        tls=security == "tls",
                        start_tls=security == "starttls",
                        username=parameters.username,
                        password=None if parameters.password is None else parameters.password.get_secret_value(),
                        proxy=parameters.proxy_url(),
                    ),
                    context.network,
                )
        return self._mailer


def _import_mailer() -> "tuple[type[Mailer], type[Server]]":
    from consumers.email.mailer import Mailer, Server

    return Mailer, Server
