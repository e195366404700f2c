"""Incoming: what the forms for chats have in common. A chat gives an address, and takes JSON of its own form there.

The address is the secret. A text that is longer than one message goes in parts; where one fails, the next try goes on with it as
long as the same worker makes it with the same definition and text. What answers mean is said by the words of a form, else by
its statuses, else by the table in `consumers.webhook.answers`.
"""

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, ClassVar, TypeVar

import aiohttp
import msgspec
from pydantic import AfterValidator, Field, SecretStr
from yarl import URL

from consumers.pieces import without_pieces
from consumers.text.splitting import cut_marked, split_marked
from consumers.webhook.answers import REQUEST_S, Answer, NoAnswer, result_of, result_of_reason
from consumers.webhook.posting import exchange, post
from consumers.webhook.runs import without_marks
from consumers.webhook.webhook import JSON, as_written, check_url, reach
from notifier import (
    ACCEPTED,
    Consumer,
    ConsumerParameters,
    Context,
    Delivery,
    JsonObject,
    Limit,
    Marked,
    Permanent,
    ProxyParameters,
    Rendered,
    Result,
    Retryable,
    at_most,
)
from notifier.errors import RecordError
from notifier.outcome import Reason
from notifier.plain_text import is_blank, plain_marked
from notifier.seal import is_sealed

_SHORT = 4000  # characters of a text that is cut at once, a mark counted as `_MARK` and with its address
_MARK = 100
_MOST_MARKS = 1000  # of one text: each costs time at every place where it may be cut
_REMEMBERED = 10_000  # deliveries that were sent in part
_HEADERS = {"Content-Type": JSON, "User-Agent": "Notifier"}


def _check_url(url: SecretStr) -> SecretStr:
    if not is_sealed(url.get_secret_value()):  # as the router sees it, which has no key
        check_url(url.get_secret_value())
    return url


Address = Annotated[SecretStr, Field(max_length=2000), AfterValidator(_check_url)]


class IncomingParameters(ConsumerParameters, ProxyParameters):
    """Parameters of the forms for chats."""

    # The proxy sees an address without TLS, and is nothing to the chat.
    addresses: ClassVar[Mapping[str, Sequence[str]] | None] = {"proxy": ["url"]}

    url: Address = Field(description="Address that the chat gave for messages from outside; it is the secret.")
    per_second: float = Field(1.0, gt=0, le=100, description="Messages that go to it in a second at most.")


Message = bytes | aiohttp.FormData  # JSON, or a form that holds a file too

F = TypeVar("F", bound=IncomingParameters)


class Incoming(Consumer[F]):
    """The base of the forms for chats. A form says how it writes a text, how long that may be and what answers mean."""

    service: ClassVar[str]  # what people call it
    limit: ClassVar[int]  # of a message, see `size`
    most_parts: ClassVar[int] = 20  # that one text makes at most
    words: ClassVar[
        Mapping[str, Reason]
    ] = {}  # in an answer that refuses, in small letters without blanks; the first found counts
    statuses: ClassVar[Mapping[int, Reason]] = {}
    empty: ClassVar[int | None] = 400  # the status of an empty object at a right address; none: it is not tried

    def __init__(self, parameters: F) -> None:
        super().__init__(parameters)
        self._session: aiohttp.ClientSession | None = None
        self._url = as_written(parameters.url.get_secret_value())
        self._sent: OrderedDict[str, tuple[int, int]] = OrderedDict()  # delivery → hash of its text, parts sent

    def mask(self, text: str) -> str:
        """The text without the address, and without what follows its host: gateways repeat the path of what they refuse."""
        url = self.parameters.url.get_secret_value()
        return without_pieces(super().mask(text), url.partition("://")[2].partition("/")[2])

    def write(self, part: Marked) -> JsonObject:
        """The message that a text makes."""
        raise NotImplementedError

    def measured(self, part: Marked) -> str:
        """What `limit` counts of a text, by `size`; by default the text itself."""
        return part.text

    def size(self, text: str) -> int:
        """How long a text is for `limit`; by default in characters."""
        return len(text)

    def parts_of(self, text: Marked) -> Sequence[Marked] | None:
        """The text in parts that the service takes; None where there are too many."""
        return split_marked(text, self.limit, parts=self.most_parts, measure=self.size, write=self.measured)

    def cut_parts_of(self, text: Marked, parts: int | None = None) -> Sequence[Marked]:
        """The same of a text that is longer; the last one says how much is left out."""
        return cut_marked(text, self.limit, parts=parts or self.most_parts, measure=self.size, write=self.measured)

    def messages(self, text: Marked) -> Sequence[Message]:
        """What is sent, one after another; what is too long for all of them is cut."""
        parts = self.parts_of(text)
        return [msgspec.json.encode(self.write(part)) for part in parts or self.cut_parts_of(text)]

    def target(self) -> URL:
        """Where messages are sent to; by default the address."""
        return self._url

    def timeout_s(self) -> float:
        """Seconds that sending all parts of one text may take."""
        return self.most_parts * REQUEST_S + 15.0

    def credential(self) -> str:
        """A digest of the address."""
        return hashlib.sha256(f"{self.type}/{self._url}".encode()).hexdigest()

    def limits(self, delivery: Delivery) -> Sequence[Limit]:
        """The parameter `per_second`."""
        return [at_most(self.parameters.per_second)]

    def preview(self, delivery: Delivery, text: str) -> str:
        """The parts that the text is sent in, a blank line between two."""
        whole = cleaned(Marked(text))
        return "\n\n".join(part.text for part in self.parts_of(whole) or self.cut_parts_of(whole))

    def parts(self, delivery: Delivery, rendered: Rendered) -> Sequence[str]:
        """The parts that the text is sent in."""
        whole = cleaned(rendered.body)
        return [part.text for part in self.parts_of(whole) or self.cut_parts_of(whole)]

    async def deliver(self, deliveries: Sequence[Delivery], context: Context) -> Sequence[Result]:
        """Sends each text, in order."""
        return [await self._deliver(delivery, context) for delivery in deliveries]

    async def check(self, context: Context) -> None:
        """Sends an empty object, which a right address refuses as such. Raises Permanent or Retryable."""
        if self.empty is None:
            await reach(self._url, self.parameters.proxy_url(), context)
            return
        await self._try(context, "POST", data=b"{}", headers=_HEADERS, right=self.empty)

    async def close(self) -> None:
        """Closes the connections."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _try(self, context: Context, method: str, *, right: int, **options: Any) -> None:
        """A request that sends nothing to people. Raises Permanent or Retryable for another status than that which is right."""
        try:
            answer = await exchange(
                self._open(context), method, self._url, mask=self.mask, service=self.service, **options
            )
            result = ACCEPTED if answer.status == right else self.meaning(answer)
        except NoAnswer as error:
            result = error.result
        detail = result.detail or ""
        if result.outcome == "refused":
            raise Permanent(result.reason, detail)
        if result.outcome != "accepted":
            raise Retryable(result.reason, detail, result.retry_after_s)

    def meaning(self, answer: Answer) -> Result:
        """The Result that an answer means."""
        reason: Reason | None = None
        if answer.status >= 400:
            said = answer.text.lower().replace(" ", "")
            reason = next((reason for words, reason in self.words.items() if words in said), None)
            reason = reason or self.statuses.get(answer.status)
        result = result_of(answer, self.mask, self.service)
        return result if reason is None else result_of_reason(reason, result)

    async def _deliver(self, delivery: Delivery, context: Context) -> Result:
        try:
            rendered = await context.rendered(delivery)
        except RecordError as error:
            return Result(outcome="refused", reason="invalid_content", detail=str(error))
        text = cleaned(rendered.body)
        if is_blank(text.text):
            return Result(outcome="refused", reason="invalid_content", detail="the text is empty")
        # Cutting any other text takes so long that all else would wait.
        parts = self.messages(text) if _is_short(text) else await asyncio.to_thread(self.messages, text)
        key = hash(text)
        before, done = self._sent.pop(delivery.id, (key, 0))
        if before != key:
            done = 0  # the text has changed, with its template
        first, result = done, ACCEPTED
        try:
            for number in range(first, len(parts)):  # those before were sent by another try
                if number > first:
                    await context.permit()
                result = await self._send(parts[number], context)
                if result.outcome != "accepted":
                    return _of_part(result, number, len(parts))
                done = number + 1
        finally:
            if 0 < done < len(parts):
                self._remember(delivery.id, key, done)
        return result

    async def _send(self, message: Message, context: Context) -> Result:
        headers = _HEADERS if isinstance(message, bytes) else {"User-Agent": _HEADERS["User-Agent"]}
        session = self._open(context)
        try:
            answer = await post(session, self.target(), message, headers, mask=self.mask, service=self.service)
        except NoAnswer as error:
            return error.result
        return self.meaning(answer)

    def _remember(self, id_: str, key: int, done: int) -> None:
        self._sent[id_] = key, done
        if len(self._sent) > _REMEMBERED:
            self._sent.popitem(last=False)

    def _open(self, context: Context) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = context.network.open_session(proxy=self.parameters.proxy_url())
        return self._session


def cleaned(text: Marked) -> Marked:
    """The text, plain, and without marks where there are more than anybody means."""
    text = plain_marked(text)
    return text if len(text.spans) <= _MOST_MARKS else without_marks(text)


def _is_short(text: Marked) -> bool:
    """Whether a text is cut in milliseconds: a thousand marks take seconds, however short it is."""
    return len(text.text) + sum(_MARK + len(span.value) for span in text.spans) <= _SHORT


def _of_part(result: Result, number: int, count: int) -> Result:
    if number == 0:
        return result
    return replace(result, detail=f"{result.detail} (part {number + 1} of {count}; those before it were sent)")
