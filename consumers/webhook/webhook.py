"""Webhook: sends each message as a request of its own, signed as Standard Webhooks asks.

The body, unless the parameter `body` makes another:

    {"type": "message", "timestamp": "2026-11-29T18:00:00Z",
     "data": {"id": "ci/42/all/hook/alice", "sender": "octocat", "receiver": "alice", "recipients": null,
              "configuration": "all", "subject": "Build", "text": "From octocat to alice: build failed",
              "message": {"producer": "ci", "content": "build failed", "severity": "error", "labels": {"team": "infra"}}}}

`timestamp` is when it happened, else when it is sent. `sender` and `receiver` are names in the consumer's world. A message to
everyone in the configuration has no receiver, and `recipients`. `message` is what the producer wrote, with every field.
"""

import asyncio
import logging
import re  # for our own constant patterns
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from traceback import format_exception
from typing import Annotated, ClassVar

import aiohttp
import msgspec
from pydantic import AfterValidator, Field, SecretStr
from yarl import URL

from consumers.pieces import without_pieces
from consumers.webhook.answers import REQUEST_S, NoAnswer, result_of
from consumers.webhook.posting import post
from consumers.webhook.signature import headers_of, id_of, key_of
from notifier import Consumer, ConsumerParameters, Context, Delivery, ProxyParameters, Result
from notifier.errors import InputError, RecordError, TemplateFailed
from notifier.record import now
from notifier.rendered import Rendered
from notifier.seal import is_sealed

logger = logging.getLogger(__name__)

JSON = "application/json"

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}")  # RFC 9110, a token
_VALUE = re.compile(r"[\t\x20-\x7e]{0,4096}")
# What decides where a request ends and who takes it, and what is ours.
_OWN = frozenset(
    {
        "connection", "content-length", "content-type", "expect", "host", "keep-alive", "proxy-authorization",
        "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade", "webhook-id", "webhook-signature",
        "webhook-timestamp",
    }
)  # fmt: skip


def check_url(text: str) -> str:
    """The address of a request. Raises ValueError."""
    try:
        url = URL(text)
        good = url.scheme in ("http", "https") and bool(url.raw_host) and url.port != 0 and text.isprintable()
    except ValueError:
        good = False
    if not good or " " in text:
        raise ValueError("must be an address such as https://example.com/hook")
    if url.raw_user is not None or url.raw_password is not None:
        raise ValueError(
            "holds a name or a password, which everybody could read; write the header Authorization instead"
        )
    return text


def as_written(text: str) -> URL:
    """An address that was checked, to be asked for as it is: one that holds a signature must keep its `%2F`."""
    return URL(text, encoded=text.isascii())


def _check_secret(secret: SecretStr) -> SecretStr:
    if not is_sealed(secret.get_secret_value()):  # as the router sees it, which has no key
        key_of(secret.get_secret_value())
    return secret


def _check_headers(headers: Mapping[str, SecretStr]) -> Mapping[str, SecretStr]:
    for name, value in headers.items():
        if not _NAME.fullmatch(name) or name.lower() in _OWN:
            raise ValueError(f"{name[:100]!r} is no header that may be set")
        text = value.get_secret_value()
        if not is_sealed(text) and (not _VALUE.fullmatch(text) or text != text.strip()):
            raise ValueError(f"the value of {name} is not one line of at most 4096 ASCII characters")
    return headers


def _check_body(source: str) -> str:
    from consumers.text.template import check_template  # Jinja takes long to import

    try:
        check_template(source)
    except InputError as error:
        raise ValueError(error.errors[0].detail) from None
    return source


Secret = Annotated[SecretStr, Field(min_length=1, max_length=1000), AfterValidator(_check_secret)]


class WebhookParameters(ConsumerParameters, ProxyParameters):
    """Parameters of a webhook."""

    # The proxy sees what is sent to an address without TLS; of the secrets that sign, nothing is sent.
    addresses: ClassVar[Mapping[str, Sequence[str]] | None] = {
        "url": ["secret", "secret_old", "headers"],
        "proxy": ["headers"],
    }

    url: Annotated[str, Field(max_length=2000), AfterValidator(check_url)] = Field(
        description="Address that each message is sent to. Everybody who reads definitions sees it.",
        examples=["https://example.com/hooks/notifier"],
    )
    secret: Secret | None = Field(
        None,
        description="Secret that requests are signed with: `whsec_` and base64, or any text. Without one they are not signed.",
        examples=["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"],
    )
    secret_old: Secret | None = Field(
        None, description="The secret before: requests are signed with both, until the receiver knows the new one."
    )
    headers: Annotated[dict[str, SecretStr], Field(max_length=20), AfterValidator(_check_headers)] = Field(
        default_factory=dict,
        description="More headers of each request; their values are secrets.",
        examples=[{"Authorization": "Bearer …"}],
    )
    body: Annotated[str, Field(min_length=1, max_length=65_536), AfterValidator(_check_body)] | None = Field(
        None,
        description="Template of the body, as texts have one, in place of the usual JSON.",
        examples=['{"summary": {{ message.title | tojson }}, "text": {{ message.content | tojson }}}'],
    )
    content_type: Annotated[str, Field(pattern=r"^[\x21-\x7e]+/[\x20-\x7e]+$", max_length=200)] = Field(
        JSON, description="What `body` makes. What is called JSON must be JSON, or it is not sent."
    )
    at_once: int = Field(
        1,
        ge=1,
        le=100,
        description="Requests under way at a time. With more than one, messages may overtake each other.",
    )


class _Data(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    id: str
    sender: str | None
    receiver: str | None
    recipients: tuple[str, ...] | None
    configuration: str
    subject: str
    text: str
    message: msgspec.Raw


class _Body(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    type: str
    timestamp: datetime
    data: _Data


_ENCODER = msgspec.json.Encoder()


class Webhook(Consumer[WebhookParameters]):
    """Sends each message as JSON, or as a template makes it, to an address, signed as Standard Webhooks asks."""

    type = "webhook"
    Parameters = WebhookParameters

    def __init__(self, parameters: WebhookParameters) -> None:
        super().__init__(parameters)
        self._session: aiohttp.ClientSession | None = None
        self._url = as_written(parameters.url)
        self._headers = {name.title(): value.get_secret_value() for name, value in parameters.headers.items()}
        self._headers.setdefault("User-Agent", "Notifier")
        secrets = (parameters.secret, parameters.secret_old)
        self._keys = [key_of(secret.get_secret_value()) for secret in secrets if secret is not None]

    def mask(self, text: str) -> str:
        """The text without the secrets; of a header such as `Bearer …` also without the words of its value."""
        text = super().mask(text)
        for value in self.parameters.headers.values():
            text = without_pieces(text, value.get_secret_value())
        return text

    def batch(self) -> int:
        """The parameter `at_once`."""
        return self.parameters.at_once

    def timeout_s(self) -> float:
        """Seconds that requests sent at once may take, their texts included."""
        return REQUEST_S + 30.0

    async def deliver(self, deliveries: Sequence[Delivery], context: Context) -> Sequence[Result]:
        """Sends each delivery by a request of its own, all at once; their Results are as `consumers.webhook.answers` says."""
        if len(deliveries) == 1:
            return [await self._deliver(deliveries[0], context)]
        sent = (self._deliver(delivery, context) for delivery in deliveries)
        return list(map(self._result, await asyncio.gather(*sent, return_exceptions=True)))

    async def check(self, context: Context) -> None:
        """Connects to the address without sending a request. Raises Permanent or Retryable."""
        await reach(self._url, self.parameters.proxy_url(), context)

    async def close(self) -> None:
        """Closes the connections."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _deliver(self, delivery: Delivery, context: Context) -> Result:
        made, failed = None, None
        try:
            if self.parameters.body is not None:
                made = await self._by_template(self.parameters.body, delivery, context)
        except TemplateFailed as error:  # the message goes out all the same
            failed = f"the template of the body failed, so the usual one was sent: {error}"
        try:
            body = made or body_of(delivery, await context.rendered(delivery))
        except RecordError as error:
            return Result(outcome="refused", reason="invalid_content", detail=str(error))
        result = await self._post(delivery, body, JSON if made is None else self.parameters.content_type, context)
        if failed is None:
            return result
        return replace(result, detail="; ".join(filter(None, (result.detail, failed))))

    async def _by_template(self, template: str, delivery: Delivery, context: Context) -> bytes:
        """The body that the template makes. Raises TemplateFailed, also for what should be JSON and is not."""
        body = (await context.render(template, delivery)).encode(errors="replace")
        if "json" in self.parameters.content_type.lower():
            try:
                msgspec.json.decode(body)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                raise TemplateFailed(f"it makes no JSON: {error}") from None
        return body

    async def _post(self, delivery: Delivery, body: bytes, content_type: str, context: Context) -> Result:
        headers = {
            **self._headers,
            "Content-Type": content_type,
            **headers_of(self._keys, id_of(delivery.id), int(time.time()), body),
        }
        try:
            answer = await post(self._open(context), self._url, body, headers, mask=self.mask)
        except NoAnswer as error:
            return error.result
        return result_of(answer, self.mask)

    def _result(self, found: Result | BaseException) -> Result:
        """Each delivery has its own Result, also where one of them meets a fault of ours."""
        if isinstance(found, Result):
            return found
        if not isinstance(found, Exception):
            raise found
        logger.error("A webhook failed: %s", self.mask("".join(format_exception(found))), extra={"action": "deliver"})
        return Result(outcome="unknown", reason="server_error", detail=f"it failed by a {type(found).__name__}")

    def _open(self, context: Context) -> aiohttp.ClientSession:
        """The session, made when it is first needed: the API and the router have instances too, and never send."""
        if self._session is None:
            self._session = context.network.open_session(proxy=self.parameters.proxy_url())
        return self._session


async def reach(url: URL, proxy: str | None, context: Context) -> None:
    """Connects to where requests go, by the way that they go, and sends none. Raises Permanent or Retryable."""
    connected = await context.network.connect(url.raw_host or "", url.port or 0, proxy=proxy, url=str(url))
    connected.close()


def body_of(delivery: Delivery, rendered: Rendered) -> bytes:
    """The usual body, as at the top of this file. Raises RecordError for a message that cannot be read."""
    dated = b'"occurred_at"' in bytes(delivery.message)  # reading it once more costs, and most are not
    occurred_at = delivery.read_message().occurred_at if dated else None
    data = _Data(
        id=delivery.id,
        sender=delivery.sender,
        receiver=delivery.receiver or delivery.recipient,
        recipients=delivery.recipients,
        configuration=delivery.configuration,
        subject=rendered.subject,
        text=rendered.body.plain(),
        message=delivery.message,
    )
    return _ENCODER.encode(_Body(type="message", timestamp=occurred_at or now(), data=data))
