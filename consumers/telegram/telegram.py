"""Telegram: sends messages to a group chat, or to people, as a bot.

The text is `consumers.text`'s or the template's, the calls are `consumers.telegram.bot`'s, and what Telegram's answers mean
for a delivery is the table in `consumers.telegram.answers`.

Texts are plain, without a parse mode: nothing in them is markup. A text longer than Telegram takes goes in parts. Where a
part fails, the next try goes on with it and does not repeat the parts before it, as long as the same worker makes it with
the same definition and the same text; otherwise the whole text is sent again: at least once.

A bot cannot write to a person first: for `chat_id: recipient` each user sends the bot `/start` once, and has
`{"telegram": {"username": "alice", "id": 123}}` in `additional_info`.
"""

import asyncio
import hashlib
import re  # for our own constant patterns
from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr

from consumers.telegram.answers import REQUEST_S, Moved, Unsure, moved_to
from consumers.telegram.listening import listen
from consumers.text.text import MAX_PARTS, clean_text, split_text
from notifier import (
    ACCEPTED,
    Consumer,
    ConsumerParameters,
    Context,
    Delivery,
    Hearing,
    Limit,
    Permanent,
    Rendered,
    Result,
    Retryable,
    User,
    at_most,
)
from notifier.errors import DeliveryError, RecordError
from notifier.seal import is_sealed

if TYPE_CHECKING:  # importing it takes seconds, see `_open`
    from consumers.telegram.bot import TelegramBot

API = "https://api.telegram.org"
MAX_TEXT = 4096  # UTF-16 units; core.telegram.org/bots/api#sendmessage says characters, which are never more
MAX_CHAT_ID = 2**52  # core.telegram.org/bots/api#chat: at most 52 significant bits
_GENERAL = 1  # the topic General: Telegram numbers it so, and takes texts for it only without a number
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


ChatId = Annotated[int, Field(ge=-MAX_CHAT_ID, le=MAX_CHAT_ID)]


class TelegramParameters(ConsumerParameters):
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
        self._moved: dict[int, int] = {}  # group → the supergroup that it became
        # delivery → hash of its text, number of parts sent
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
        return MAX_PARTS * REQUEST_S + 15.0

    def credential(self) -> str:
        """A digest of the bot's number, which every token of the bot begins with: limits are the bot's."""
        number = self.parameters.bot_token.get_secret_value().partition(":")[0]
        return hashlib.sha256(f"telegram/{number}".encode()).hexdigest()

    def limits(self, delivery: Delivery) -> Sequence[Limit]:
        """The limits of the bot, of the chat, and of a chat that is a group."""
        parameters = self.parameters
        chat_id = self._chat_of(delivery) or 0
        chat = str(self._moved.get(chat_id, chat_id))
        limits = [
            at_most(parameters.per_second),
            at_most(parameters.chat_per_second, burst=parameters.chat_burst, of=chat),
        ]
        return limits if chat_id > 0 else [*limits, Limit(count=parameters.group_per_minute, seconds=60.0, of=chat)]

    async def deliver(self, deliveries: Sequence[Delivery], context: Context) -> Sequence[Result]:
        """Sends each text. Raises Retryable or Permanent as the table in `consumers.telegram.answers` says."""
        return [await self._deliver(delivery, context) for delivery in deliveries]

    def preview(self, delivery: Delivery, text: str) -> str:
        """The parts that the text is sent in, a blank line between two."""
        return "\n\n".join(_parts(text))

    def parts(self, delivery: Delivery, rendered: Rendered) -> Sequence[str]:
        """The texts that it sends."""
        return _parts(rendered.body.plain())

    def listens(self) -> bool:
        """Whether its parameters say so."""
        return self.parameters.listen

    async def listen(self, hearing: Hearing, context: Context) -> None:
        """Hears people, see `consumers.telegram.listening`. Raises Retryable, Permanent and what Kafka raises."""
        token = self.parameters.bot_token.get_secret_value()
        await listen(self, hearing, token, context.services.get("telegram", API))

    async def check(self, context: Context) -> None:
        """Asks Telegram for the chat, or for the bot with `chat_id: recipient`. Raises Permanent or Retryable."""
        bot = await self._open(context)
        chat_id = self.parameters.chat_id
        try:
            await bot.check(None if chat_id == "recipient" else chat_id)
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
        parts = _parts(rendered.body.plain())
        if not parts:
            return Result(outcome="refused", reason="invalid_content", detail="the text is empty")
        return await self._send(delivery.id, chat_id, parts, context)

    async def _send(self, id_: str, chat_id: int, parts: Sequence[str], context: Context) -> Result:
        bot = await self._open(context)
        key = hash(tuple(parts))
        before, done = self._sent.pop(id_, (key, 0))
        if before != key:
            done = 0  # the text has changed, with its template
        asked = False
        try:
            while done < len(parts):
                if asked:
                    await context.permit()
                asked = True
                done += await self._send_part(bot, chat_id, parts[done])
        except DeliveryError as error:
            if done:
                error.args = (f"{error} (part {done + 1} of {len(parts)}; those before it were sent)",)
            raise
        except Unsure as error:
            return Result(outcome="unknown", reason=error.reason, detail=str(error))
        finally:
            if 0 < done < len(parts):
                self._remember(id_, key, done)
        return Result(detail=moved_to(self._moved[chat_id])) if chat_id in self._moved else ACCEPTED

    async def _send_part(self, bot: "TelegramBot", chat_id: int, text: str) -> int:
        """The number of parts sent: 1, or 0 where the group has moved; its new number is known then."""
        try:
            await bot.send(
                self._moved.get(chat_id, chat_id),
                text,
                thread_id=None if self.parameters.thread_id == _GENERAL else self.parameters.thread_id,
                silent=self.parameters.silent,
            )
        except Moved as error:
            if chat_id in self._moved:
                raise Permanent("not_found", str(error)) from None
            self._moved[chat_id] = error.chat_id
            return 0
        return 1

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
                self._bot = make(self.parameters.bot_token.get_secret_value(), base_url)
        return self._bot


def _import_bot() -> "type[TelegramBot]":
    from consumers.telegram.bot import TelegramBot

    return TelegramBot


def _parts(text: str) -> Sequence[str]:
    return split_text(clean_text(text), MAX_TEXT)


def _is_chat(text: str) -> bool:
    return re.fullmatch("-?[0-9]{1,16}", text) is not None and 0 < abs(int(text)) <= MAX_CHAT_ID
