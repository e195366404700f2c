"""Telegram: sends messages to a group chat, or to people, as a bot.

The text is `consumers.text`'s or the template's, the calls are `consumers.telegram.bot`'s, and what Telegram's answers mean
for a delivery is the table in `consumers.telegram.answers`.

Markup goes as entities, without a parse mode: nothing in a text is read as markup. A text longer than Telegram takes goes in
parts (`consumers.telegram.sending`). Where a part fails, the next try goes on with it and does not repeat the parts before it,
as long as the same worker makes it with the same definition and the same text; otherwise the whole text is sent again: at
least once.

A bot cannot write to a person first: for `chat_id: recipient` each user sends the bot `/start` once, and has
`{"telegram": {"username": "alice", "id": 123}}` in `additional_info`.
"""

import asyncio
import hashlib
import re  # for our own constant patterns
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr

from consumers.telegram.answers import DOCUMENT_S, REQUEST_S, Moved, Unsure
from consumers.telegram.buttons import Key, keyboard
from consumers.telegram.entities import MAX_PARTS, parts_of, with_links_of_the_web
from consumers.telegram.listening import listen
from consumers.telegram.sending import FURTHER, MAX_CHAT_ID, Sending, chat_now, is_chat, made_of
from consumers.text.text import clean_marked
from notifier import (
    Consumer,
    ConsumerParameters,
    Context,
    Delivery,
    Hearing,
    Limit,
    Marked,
    Permanent,
    ProxyParameters,
    Rendered,
    Result,
    Retryable,
    User,
    at_most,
)
from notifier.answer import Button
from notifier.errors import DeliveryError, RecordError
from notifier.plain_text import is_blank
from notifier.seal import is_sealed

if TYPE_CHECKING:  # importing it takes seconds, see `_open`
    from aiohttp import ClientSession

    from consumers.telegram.bot import TelegramBot

API = "https://api.telegram.org"
_REMEMBERED = 10_000  # deliveries that were sent in part

_NUMBER = re.compile(r"[-+]?[0-9]{1,16}")
_TOKEN = re.compile(r"[0-9]+:[A-Za-z0-9_.~-]+")


def _check_token(token: SecretStr) -> SecretStr:
    text = token.get_secret_value()
    # The router has no key and sees the sealed form.
    if not is_sealed(text) and not _TOKEN.fullmatch(text):
        raise ValueError("is not a bot token; @BotFather gives one such as 123456:ABC-DEF1234")
    return token


def _check_chat(value: Any) -> Any:
    if value == "recipient":
        return value
    if (isinstance(value, str) and _NUMBER.fullmatch(value.strip())) or (
        isinstance(value, float) and value.is_integer()
    ):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < abs(value) <= MAX_CHAT_ID:
        raise ValueError(
            "must be the number of a chat, such as -1001234567890, or the word recipient; "
            "getUpdates of the Bot API shows the number, once the bot is in the chat and somebody has written there"
        )
    return value


def _check_buttons(buttons: tuple[Button, ...]) -> tuple[Button, ...]:
    if len(set(buttons)) < len(buttons):
        raise ValueError("must name each button once")
    return buttons


ChatId = Annotated[int, Field(ge=-MAX_CHAT_ID, le=MAX_CHAT_ID)]


class TelegramParameters(ProxyParameters, ConsumerParameters):
    """Parameters of a Telegram consumer."""

    bot_token: Annotated[SecretStr, AfterValidator(_check_token)] = Field(
        description="Token of the bot, from @BotFather.", examples=["123456:ABC-DEF1234"]
    )
    chat_id: Annotated[ChatId | Literal["recipient"], BeforeValidator(_check_chat)] = Field(
        description="Number of the chat that all messages go to; `recipient`: each to its receiver's own chat.",
        examples=[-1001234567890, "recipient"],
    )
    thread_id: int | None = Field(None, ge=1, description="Number of the topic within a group that has topics.")
    silent: bool = Field(False, description="Deliver without a sound.")
    listen: bool = Field(
        False,
        description="Hear what people send to the bot: `/start CODE`, `/mute`, `/hours`. One program only may listen to a bot.",
    )
    link_preview: bool = Field(True, description="Show a preview of the first link.")
    buttons: Annotated[tuple[Button, ...], Field(max_length=4), AfterValidator(_check_buttons)] = Field(
        (),
        description="Buttons under each text, in order; all but `link` have the bot hear people.",
        examples=[["acknowledge", "mute_hour", "mute_day", "link"]],
    )
    # Where Telegram begins, see core.telegram.org/bots/faq#my-bot-is-hitting-limits; what it answers counts.
    per_second: float = Field(30.0, gt=0, le=1000, description="Texts that the bot sends in a second at most.")
    chat_per_second: float = Field(1.0, gt=0, le=1000, description="The same to one chat, in the long run.")
    chat_burst: int = Field(3, ge=1, le=100, description="Texts that go to one chat at once, after a pause.")
    group_per_minute: int = Field(20, ge=1, le=10_000, description="Texts to one group or channel in a minute at most.")


class Telegram(Consumer[TelegramParameters]):
    """Sends messages to a Telegram group or, with `chat_id: recipient`, to people, as a bot."""

    type = "telegram"
    world = "telegram"
    shows_ids = False  # which are numbers that nobody knows
    Parameters = TelegramParameters

    def __init__(self, parameters: TelegramParameters) -> None:
        super().__init__(parameters)
        self._bot: TelegramBot | None = None
        # delivery → hash of its chat and text, number of parts sent
        self._sent: OrderedDict[str, tuple[int, int]] = OrderedDict()

    def fixed_address(self) -> bool:
        """Whether all messages go to one chat."""
        return self.parameters.chat_id != "recipient"

    def address(self, user: User) -> str | None:
        """The `id` of the user's first identity in the world that has one."""
        for identity in user.identities(self.world_of()):
            found = identity.get("id")
            if isinstance(found, int | str) and not isinstance(found, bool) and _is_chat(str(found)):
                return str(found)
        return None

    def addressing(self) -> object:
        """Its world: all bots reach a person in the same chat."""
        return (Telegram, self.world_of()) if type(self).address is Telegram.address else self

    def timeout_s(self) -> float:
        """Seconds that sending all parts of one text may take."""
        return (MAX_PARTS + FURTHER) * REQUEST_S + DOCUMENT_S + 15.0

    def credential(self) -> str:
        """A digest of the bot's number, which every token of the bot begins with: limits are the bot's."""
        number = self.parameters.bot_token.get_secret_value().partition(":")[0]
        return hashlib.sha256(f"telegram/{number}".encode()).hexdigest()

    def limits(self, delivery: Delivery) -> Sequence[Limit]:
        """The limits of the bot, of the chat, and of a chat that is a group."""
        parameters = self.parameters
        chat_id = self._chat_of(delivery) or 0
        chat = str(chat_now(self.moves, chat_id))
        limits = [
            at_most(parameters.per_second),
            at_most(parameters.chat_per_second, burst=parameters.chat_burst, of=chat),
        ]
        return limits if chat_id > 0 else [*limits, Limit(count=parameters.group_per_minute, seconds=60.0, of=chat)]

    async def deliver(self, deliveries: Sequence[Delivery], context: Context) -> Sequence[Result]:
        """Sends each text. Raises Retryable or Permanent as the table in `consumers.telegram.answers` says."""
        return [await self._deliver(delivery, context) for delivery in deliveries]

    def preview(self, delivery: Delivery, text: str) -> str:
        """The parts that the text is sent in, a blank line between two; the whole where it is sent as a document."""
        content = _cleaned(Marked(text))
        parts = parts_of(content)
        return content.text if parts is None else "\n\n".join(part.text for part in parts)

    def parts(self, delivery: Delivery, rendered: Rendered) -> Sequence[str]:
        """The texts that it sends; the whole where it is sent as a document."""
        content = _cleaned(rendered.body)
        parts = parts_of(content)
        return [content.text] if parts is None else [part.text for part in parts]

    def listens(self) -> bool:
        """Whether its parameters say so, or it has buttons whose presses are to be heard."""
        return self.parameters.listen or any(button != "link" for button in self.parameters.buttons)

    async def listen(self, hearing: Hearing, context: Context) -> None:
        """Hears people, see `consumers.telegram.listening`. Raises Retryable, Permanent and what Kafka raises."""
        token, base_url = self.parameters.bot_token.get_secret_value(), context.services.get("telegram", API)
        await listen(self, hearing, token, base_url, self._by_proxy(context, base_url))

    async def check(self, context: Context) -> None:
        """Asks Telegram for the chat, or for the bot with `chat_id: recipient`. Raises Permanent or Retryable."""
        bot = await self._open(context)
        chat_id = self.parameters.chat_id
        try:
            await bot.check(None if chat_id == "recipient" else chat_now(self.moves, chat_id))
        except Moved as error:
            raise Permanent("not_found", str(error)) from None
        except Unsure as error:
            raise Retryable(error.reason, str(error)) from None

    async def close(self) -> None:
        """Closes the connections."""
        bot, self._bot = self._bot, None
        if bot is not None:
            await bot.close()

    async def _deliver(self, delivery: Delivery, context: Context) -> Result:
        chat_id = self._chat_of(delivery)
        if chat_id is None:
            return Result(outcome="refused", reason="no_address", detail=f"{delivery.address!r} is no Telegram id")
        try:
            rendered = await context.rendered(delivery)
        except RecordError as error:
            return Result(outcome="refused", reason="invalid_content", detail=str(error))
        text = await made_of(rendered.body, _cleaned)
        if is_blank(text.text):
            return Result(outcome="refused", reason="invalid_content", detail="the text is empty")
        return await self._send(delivery, chat_id, text, context)

    async def _send(self, delivery: Delivery, chat_id: int, text: Marked, context: Context) -> Result:
        bot = await self._open(context)
        sending = Sending(bot, self.parameters, chat_id, self.moves, context.permit)
        sending.keys = self._keyboard(delivery, context)
        key = hash((chat_id, text))
        before, done = self._sent.pop(delivery.id, (key, 0))
        if before != key:
            done = 0  # the text has changed, with its template, or the person has another chat
        try:
            await sending.send(text, done)
        except DeliveryError as error:
            if sending.done:
                error.args = (f"{error} (part {sending.done + 1} of {sending.parts}; those before it were sent)",)
            raise
        except Unsure as error:
            return Result(outcome="unknown", reason=error.reason, detail=str(error))
        finally:
            if 0 < sending.done < sending.parts:
                self._remember(delivery.id, key, sending.done)
        return Result(detail=sending.said())

    def _keyboard(self, delivery: Delivery, context: Context) -> list[list[Key]]:
        buttons = self.parameters.buttons
        if not buttons:
            return []
        return keyboard(buttons, delivery, context.ticket(delivery), self.parameters.bot_token.get_secret_value())

    def _remember(self, id_: str, key: int, done: int) -> None:
        self._sent[id_] = key, done
        if len(self._sent) > _REMEMBERED:
            self._sent.popitem(last=False)

    def _chat_of(self, delivery: Delivery) -> int | None:
        chat_id = self.parameters.chat_id
        if chat_id != "recipient":
            return chat_id
        return int(delivery.address) if delivery.address is not None and _is_chat(delivery.address) else None

    async def _open(self, context: Context) -> "TelegramBot":
        """The bot, made when it is first needed: the API and the router have instances too, and never send."""
        if self._bot is None:
            make = await asyncio.to_thread(_import_bot)
            if self._bot is None:  # another call may have been faster
                base_url = context.services.get("telegram", API)
                token = self.parameters.bot_token.get_secret_value()
                self._bot = make(token, base_url, self._by_proxy(context, base_url))
        return self._bot

    def _by_proxy(self, context: Context, base_url: str) -> "Callable[[], ClientSession] | None":
        """Makes sessions that go by the proxy of the parameters; None where they name none."""
        proxy = self.parameters.proxy_url()
        if proxy is None:
            return None
        # The operator's address is not judged here, nor resolved: where Telegram is blocked, its name may be too.
        trusted = [urlsplit(base_url).hostname or ""]
        return lambda: context.network.open_session(proxy=proxy, trusted=trusted)


def _import_bot() -> "type[TelegramBot]":
    from consumers.telegram.bot import TelegramBot

    return TelegramBot


def _cleaned(text: Marked) -> Marked:
    return clean_marked(with_links_of_the_web(text))  # in this order: the addresses that are written out are text, too


def _is_chat(text: str) -> bool:
    return re.fullmatch("-?[0-9]{1,16}", text) is not None and is_chat(int(text))
