"""Telegram: sends messages to a group chat, or to people, as a bot. What the text is, is `consumers.text`'s and the template's.

Texts are plain, without a parse mode: nothing in them is markup. A text longer than Telegram takes goes in parts. Where a
part fails, the next try goes on with it and does not repeat the parts before it, as long as it is made by the same worker
with the same definition and the same text; otherwise the whole text is sent again: at least once.

What Telegram answers decides what becomes of the delivery:

    answer                                       reason             then
    200                                          ok
    200, but what follows cannot be read         server_error       unknown: it may have been sent; tried again
    429                                          rate_limited       tried again after exactly `retry_after`
    400 chat, user or topic not found            not_found          given up
    400 no right to write there, 403             forbidden          given up
    400, 413 of another kind                     invalid_content    given up
    400 the group became a supergroup                               sent once more, to the supergroup
    401 wrong or revoked token                   unauthorized       given up
    404 no such bot, or not a Bot API            not_found          given up
    409, 5xx, 3xx and whatever else              server_error       tried again
    no connection                                connection         tried again
    the connection broke after the request       connection         unknown: it may have been sent; tried again
    no answer in time                            timeout            unknown: it may have been sent; tried again

A bot cannot write to a person first: for `chat_id: recipient` each user sends the bot `/start` once, and has
`{"telegram": {"username": "alice", "id": 123}}` in `additional_info`.
"""

import asyncio
import re  # for our own constant patterns
from collections import OrderedDict
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr

from consumers.text.text import MAX_PARTS, clean_text, default_text, split_text
from notifier import ACCEPTED, Consumer, ConsumerParameters, Context, Delivery, Permanent, Result, Retryable, User
from notifier.errors import DeliveryError, RecordError
from notifier.outcome import Reason
from notifier.seal import is_sealed

if TYPE_CHECKING:
    from consumers.telegram.bot import TelegramBot

API = "https://api.telegram.org"
MAX_TEXT = 4096  # UTF-16 units; core.telegram.org/bots/api#sendmessage says characters, of which there are never more
REQUEST_S = 15.0
MAX_CHAT_ID = 2**52  # core.telegram.org/bots/api#chat: at most 52 significant bits
_REMEMBERED = 10_000  # deliveries of which some parts were sent

_TOKEN = re.compile(r"[0-9]+:[A-Za-z0-9_.~-]+")


def _check_token(token: SecretStr) -> SecretStr:
    text = token.get_secret_value()
    # The router has no key and sees the sealed form.
    if not is_sealed(text) and not _TOKEN.fullmatch(text):
        raise ValueError("is not a bot token; @BotFather gives one such as 123456:ABC-DEF1234")
    return token


def _check_chat(value: Any) -> Any:
    if isinstance(value, bool) or value in (0, "0"):
        raise ValueError("must be the number of a chat, such as -1001234567890, or the word recipient")
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


class Moved(Exception):
    """The group became the supergroup `chat_id`; nothing was sent."""

    def __init__(self, chat_id: int) -> None:
        super().__init__(_moved_to(chat_id))
        self.chat_id = chat_id


class Unsure(Exception):
    """It may have been sent. Holds what the attempt says."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason: Reason = reason


class Telegram(Consumer[TelegramParameters]):
    """Sends messages to a Telegram group or, with `chat_id: recipient`, to people, as a bot."""

    type = "telegram"
    world = "telegram"
    Parameters = TelegramParameters

    def __init__(self, parameters: TelegramParameters) -> None:
        super().__init__(parameters)
        self._bot: TelegramBot | None = None
        self._moved: dict[int, int] = {}  # group → the supergroup that it became
        self._sent: OrderedDict[str, tuple[int, int]] = OrderedDict()  # delivery → its text's hash, parts that are sent

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

    def timeout_s(self) -> float:
        """Seconds for all parts of one text."""
        return MAX_PARTS * REQUEST_S + 15.0

    async def deliver(self, deliveries: Sequence[Delivery], context: Context) -> Sequence[Result]:
        """Sends each text; raises Retryable or Permanent as the table above has it."""
        return [await self._deliver(delivery, context) for delivery in deliveries]

    async def check(self, context: Context) -> None:
        """Asks Telegram for the chat, or for the bot where there is no one chat. Raises Permanent or Retryable."""
        bot = await self._open(context)
        chat_id = self.parameters.chat_id
        try:
            await bot.check(None if chat_id == "recipient" else chat_id)
        except Moved as error:
            raise Permanent("not_found", str(error)) from None
        except Unsure as error:
            raise Retryable(error.reason, str(error)) from None

    async def close(self) -> None:
        """Gives the connections back."""
        bot, self._bot = self._bot, None
        if bot is not None:
            await bot.close()

    async def _deliver(self, delivery: Delivery, context: Context) -> Result:
        chat_id = self._chat_of(delivery)
        if chat_id is None:
            return Result(outcome="refused", reason="no_address", detail=f"{delivery.address!r} is no Telegram id")
        text = await context.text(delivery)
        if text is None:
            try:
                text = default_text(delivery, delivery.read_message())
            except RecordError as error:
                return Result(outcome="refused", reason="invalid_content", detail=str(error))
        parts = split_text(clean_text(text), MAX_TEXT)
        if not parts:
            return Result(outcome="refused", reason="invalid_content", detail="the text is empty")
        return await self._send(delivery.id, chat_id, parts, context)

    async def _send(self, id_: str, chat_id: int, parts: Sequence[str], context: Context) -> Result:
        bot = await self._open(context)
        key = hash(tuple(parts))
        before, done = self._sent.pop(id_, (key, 0))
        if before != key:
            done = 0  # another text: the template was changed meanwhile
        try:
            while done < len(parts):
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
        return Result(detail=_moved_to(self._moved[chat_id])) if chat_id in self._moved else ACCEPTED

    async def _send_part(self, bot: "TelegramBot", chat_id: int, text: str) -> int:
        """How many parts that sent: 1, or 0 where the group has moved and is known now by its new number."""
        try:
            await bot.send(
                self._moved.get(chat_id, chat_id),
                text,
                thread_id=self.parameters.thread_id,
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
            module = await asyncio.to_thread(import_module, "consumers.telegram.bot")
            if self._bot is None:  # another call may have been faster
                base_url = context.services.get("telegram", API)
                self._bot = module.TelegramBot(self.parameters.bot_token.get_secret_value(), base_url)
        return self._bot


def _moved_to(chat_id: int) -> str:
    return f"the group became the supergroup {chat_id}; write that as chat_id of the consumer"


def _is_chat(text: str) -> bool:
    return re.fullmatch("-?[0-9]{1,16}", text) is not None and 0 < abs(int(text)) <= MAX_CHAT_ID
