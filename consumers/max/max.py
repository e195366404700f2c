"""MAX: sends messages to a chat, or to people, as a bot.

The text is `consumers.text`'s or the template's, the calls are `consumers.max.api`'s, and what MAX's answers mean for a delivery
is the table in `consumers.max.answers`.

Texts go in the HTML that MAX takes (`consumers.max.markup`); where it refuses that, once plain. A text longer than MAX takes goes
in parts, one that is too long for ten parts as a file. Where a part fails, the next try goes on with it, as long as the same
worker makes it with the same definition and the same text; otherwise the whole text is sent again: at least once, since MAX
knows nothing of our ids.

A bot cannot write to a person first: for `chat_id: recipient` each user starts it once, and has
`{"max": {"username": "alice", "id": 123}}` in `additional_info`.
"""

import asyncio
import hashlib
import re  # for our own constant patterns
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr

from consumers.exchange import REQUEST_S, Failed, open_exchange
from consumers.max.api import Chat, MaxApi
from consumers.max.markup import harmless, html_of
from consumers.text.splitting import cut_marked, split_marked
from notifier import (
    ACCEPTED,
    Consumer,
    ConsumerParameters,
    Context,
    Delivery,
    Limit,
    Marked,
    ProxyParameters,
    Rendered,
    Result,
    User,
    at_most,
)
from notifier.errors import RecordError
from notifier.plain_text import is_blank, plain_text
from notifier.seal import is_sealed

API = "https://platform-api2.max.ru"
MAX_TEXT = 4000  # characters; dev.max.ru/docs-api/objects/NewMessageBody
MAX_ID = 2**63 - 1
PARTS = 10
_HEAD = 1000  # UTF-16 units of the text that go with a file
_REMEMBERED = 10_000  # deliveries that were sent in part

_NUMBER = re.compile(r"[-+]?[0-9]{1,19}")
_TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]{8,1000}")


def _check_token(token: SecretStr) -> SecretStr:
    text = token.get_secret_value()
    # The router has no key and sees the sealed form.
    if not is_sealed(text) and not _TOKEN.fullmatch(text):
        raise ValueError("is not a token of a bot; MAX shows one at business.max.ru, Chat bots, Settings")
    return token


def _check_chat(value: Any) -> Any:
    if value == "recipient":
        return value
    if isinstance(value, str) and _NUMBER.fullmatch(value.strip()):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < abs(value) <= MAX_ID:
        raise ValueError(
            "must be the number of a chat that the bot is in, such as -70000000000001, or the word recipient"
        )
    return value


ChatId = Annotated[int, Field(ge=-MAX_ID, le=MAX_ID)]


class MaxParameters(ProxyParameters, ConsumerParameters):
    """Parameters of a MAX consumer."""

    token: Annotated[SecretStr, AfterValidator(_check_token)] = Field(
        description="Token of the bot.", examples=["f9LHodD0cOL5-abcDEF_123"]
    )
    chat_id: Annotated[ChatId | Literal["recipient"], BeforeValidator(_check_chat)] = Field(
        description="Number of the chat that all messages go to; `recipient`: each to its receiver.",
        examples=[-70000000000001, "recipient"],
    )
    silent: bool = Field(False, description="Deliver without a notification.")
    link_preview: bool = Field(True, description="Show what the first link of a text leads to.")
    markup: bool = Field(True, description="Show bold, code and links as such; else all is plain text.")
    # Where MAX begins: dev.max.ru/docs-api and dev.max.ru/docs-api/methods/POST/messages; what it answers counts.
    per_second: float = Field(30.0, gt=0, le=1000, description="Texts that the bot sends in a second at most.")
    chat_per_second: float = Field(2.0, gt=0, le=1000, description="The same to one chat or person.")


class Max(Consumer[MaxParameters]):
    """Sends messages to a chat of the messenger MAX or, with `chat_id: recipient`, to people, as a bot."""

    type = "max"
    world = "max"
    shows_ids = False  # which are numbers that nobody knows
    Parameters = MaxParameters

    def __init__(self, parameters: MaxParameters) -> None:
        super().__init__(parameters)
        self._api: MaxApi | None = None
        # delivery → hash of its chat and text, number of parts sent
        self._sent: OrderedDict[str, tuple[int, int]] = OrderedDict()

    def fixed_address(self) -> bool:
        """Whether all messages go to one chat."""
        return self.parameters.chat_id != "recipient"

    def address(self, user: User) -> str | None:
        """The `id` of the user's first identity in the world that has one."""
        for identity in user.identities(self.world_of()):
            found = identity.get("id")
            if isinstance(found, int | str) and not isinstance(found, bool) and _is_person(str(found)):
                return str(found)
        return None

    def addressing(self) -> object:
        """Its world: all bots reach a person at the same number."""
        return (Max, self.world_of()) if type(self).address is Max.address else self

    def timeout_s(self) -> float:
        """Seconds that sending all parts of one text may take."""
        return PARTS * REQUEST_S + 15.0

    def credential(self) -> str:
        """A digest of the token."""
        return hashlib.sha256(f"max/{self.parameters.token.get_secret_value()}".encode()).hexdigest()

    def limits(self, delivery: Delivery) -> Sequence[Limit]:
        """The limits of the bot, and of the chat or the person."""
        chat = self._chat_of(delivery)
        parameters = self.parameters
        of = str(chat.number if chat is not None else 0)
        return [at_most(parameters.per_second), at_most(parameters.chat_per_second, of=of)]

    async def deliver(self, deliveries: Sequence[Delivery], context: Context) -> Sequence[Result]:
        """Sends each text, one after another."""
        return [await self._deliver(delivery, context) for delivery in deliveries]

    def preview(self, delivery: Delivery, text: str) -> str:
        """The parts that the text is sent in, a blank line between two; the head where it goes as a file."""
        whole = _clean(Marked(text))
        parts = self._parts(whole)
        if parts is None:
            return f"{_head(whole).text}\n\n(all of it as a file)"
        return "\n\n".join(part.text for part in parts)

    def parts(self, delivery: Delivery, rendered: Rendered) -> Sequence[str]:
        """The parts that the text is sent in; the head where it goes as a file."""
        whole = _clean(rendered.body)
        parts = self._parts(whole)
        return [_head(whole).text] if parts is None else [part.text for part in parts]

    async def check(self, context: Context) -> None:
        """Asks MAX for the chat, or for the bot with `chat_id: recipient`. Raises Permanent or Retryable."""
        chat_id = self.parameters.chat_id
        try:
            await self._open(context).check(None if chat_id == "recipient" else Chat(number=chat_id, person=False))
        except Failed as failure:
            raise failure.error() from None

    async def close(self) -> None:
        """Closes the connections."""
        api, self._api = self._api, None
        if api is not None:
            await api.close()

    async def _deliver(self, delivery: Delivery, context: Context) -> Result:
        chat = self._chat_of(delivery)
        if chat is None:
            return Result(outcome="refused", reason="no_address", detail=f"{delivery.address!r} is no number of MAX")
        try:
            rendered = await context.rendered(delivery)
        except RecordError as error:
            return Result(outcome="refused", reason="invalid_content", detail=str(error))
        # A long text takes its time, and others must not wait for it.
        text, parts = await asyncio.to_thread(self._cut, rendered.body)
        if parts is not None and not parts:
            return Result(outcome="refused", reason="invalid_content", detail="the text is empty")
        try:
            if parts is None:
                return await self._send_file(chat, text, context)
            return await self._send_parts(delivery.id, chat, parts, context)
        except Failed as failure:
            return failure.result

    async def _send_parts(self, id_: str, chat: Chat, parts: Sequence[Marked], context: Context) -> Result:
        """Sends the parts that were not sent before. Raises Failed, whose text says which part it was."""
        key = hash((chat, *parts))
        before, done = self._sent.pop(id_, (key, 0))
        if before != key:
            done = 0  # the text has changed, with its template, or the person has another number
        first, told = done, ACCEPTED
        try:
            while done < len(parts):
                if done > first:
                    await context.permit()
                told = await self._send_part(chat, parts[done], context, told)
                done += 1
        except Failed as failure:
            if done:
                where = f"(part {done + 1} of {len(parts)}; those before it were sent)"
                raise Failed(replace(failure.result, detail=f"{failure.result.detail} {where}")) from None
            raise
        finally:
            if 0 < done < len(parts):
                self._remember(id_, key, done)
        return told

    async def _send_part(self, chat: Chat, part: Marked, context: Context, told: Result) -> Result:
        """Sends one part; the Result says where MAX has refused the markup of this one, or `told` that of another."""
        try:
            await self._send(chat, self._body(part), context)
        except Failed as failure:
            if failure.result.reason != "invalid_content" or not self.parameters.markup or not part.spans:
                raise
            await context.permit()
            await self._send(chat, self._body(Marked(part.plain())), context)
            return Result(detail=f"sent plain, since MAX refused the markup ({failure.result.detail})")
        return told

    async def _send_file(self, chat: Chat, text: Marked, context: Context) -> Result:
        """Sends the beginning, with the whole as a file."""
        attachment = await self._open(context).upload(text.plain().encode(), "message.txt")
        await self._send(chat, {**self._body(_head(text)), "attachments": [attachment]}, context)
        return Result(detail=f"sent as a file, since it does not fit into {PARTS} parts")

    async def _send(self, chat: Chat, body: dict[str, Any], context: Context) -> None:
        await self._open(context).send(chat, body, link_preview=self.parameters.link_preview)

    def _body(self, part: Marked) -> dict[str, Any]:
        marked = self.parameters.markup and bool(part.spans)
        body: dict[str, Any] = {"text": html_of(part) if marked else part.plain()}
        return {
            **body,
            **({"format": "html"} if marked else {}),
            **({"notify": False} if self.parameters.silent else {}),
        }

    def _cut(self, body: Marked) -> tuple[Marked, Sequence[Marked] | None]:
        text = _clean(body)
        return text, [] if is_blank(text.text) else self._parts(text)

    def _parts(self, text: Marked) -> Sequence[Marked] | None:
        """The parts that a text goes in; None where it does not fit into them."""
        if not self.parameters.markup:
            return split_marked(Marked(text.plain()), MAX_TEXT, parts=PARTS)
        # Whether tags count is not stated, so they do.
        return split_marked(text, MAX_TEXT, parts=PARTS, write=html_of)

    def _remember(self, id_: str, key: int, done: int) -> None:
        self._sent[id_] = key, done
        if len(self._sent) > _REMEMBERED:
            self._sent.popitem(last=False)

    def _chat_of(self, delivery: Delivery) -> Chat | None:
        chat_id = self.parameters.chat_id
        if chat_id != "recipient":
            return Chat(number=chat_id, person=False)
        if delivery.address is None or not _is_person(delivery.address):
            return None
        return Chat(number=int(delivery.address), person=True)

    def _open(self, context: Context) -> MaxApi:
        if self._api is None:
            parameters = self.parameters
            exchange = open_exchange("MAX", context, context.services.get("max", API), parameters.proxy_url())
            self._api = MaxApi(
                exchange,
                parameters.token,
                lambda: context.network.open_session(proxy=parameters.proxy_url()),
                self.mask,
            )
        return self._api


def _clean(text: Marked) -> Marked:
    """The text as MAX may be told it. One that is not plain, as no template and no default text is, loses its marks."""
    plain = plain_text(text.text)
    return harmless(text if plain == text.text else Marked(plain_text(text.plain())))


def _head(text: Marked) -> Marked:
    """The beginning of a text, without its marks."""
    (head,) = cut_marked(Marked(text.plain()), _HEAD, parts=1, note=lambda left: "…")
    return head


def _is_person(text: str) -> bool:
    return re.fullmatch("[0-9]{1,19}", text) is not None and 0 < int(text) <= MAX_ID
