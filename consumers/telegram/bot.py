"""The Telegram bot: calls of the Bot API through aiogram, and what its answers mean (the table is in `consumers.telegram`).

A module of its own because aiogram takes seconds to import: `consumers.telegram` does so when the first text is sent, and a
process that sends none never does.
"""

import json
import re  # for our own constant patterns
from typing import NoReturn, cast

import aiohttp
from aiogram import Bot
from aiogram.client.session.aiohttp import AiohttpSession
from aiogram.client.telegram import TelegramAPIServer
from aiogram.exceptions import (
    ClientDecodeError,
    TelegramAPIError,
    TelegramBadRequest,
    TelegramEntityTooLarge,
    TelegramForbiddenError,
    TelegramMigrateToChat,
    TelegramNotFound,
    TelegramRetryAfter,
    TelegramUnauthorizedError,
)
from aiogram.methods import TelegramMethod
from aiogram.methods.base import TelegramType

from consumers.telegram.telegram import REQUEST_S, Moved, Unsure
from consumers.text.text import clean_text
from notifier import Permanent, Retryable
from notifier.errors import DeliveryError
from notifier.outcome import Reason

CONNECT_S = 10.0
MAX_ANSWER_BYTES = 1024 * 1024
_SHOWN = 300  # characters of what Telegram says

# 400 has one type of error for everything, so here the words decide; they have been the same for years.
_NOT_FOUND = ("not found", "chat_id is empty", "peer_id_invalid", "chat was deleted")
_FORBIDDEN = (
    "not enough rights", "have no rights", "need administrator rights", "kicked", "blocked", "deactivated",
    "chat_write_forbidden", "chat_restricted", "topic_closed", "chat_admin_required",
)  # fmt: skip


class TelegramBot:
    """One bot at one Bot API, its connections kept until `close`. Raises Retryable, Permanent, Unsure and Moved."""

    def __init__(self, token: str, base_url: str) -> None:
        self._bot = Bot(token, session=_Session(TelegramAPIServer.from_base(base_url)))

    async def send(self, chat_id: int, text: str, *, thread_id: int | None = None, silent: bool = False) -> None:
        """Sends a text of at most 4096 UTF-16 units, as it is."""
        await self._bot.send_message(
            chat_id, text, message_thread_id=thread_id, disable_notification=True if silent else None
        )

    async def check(self, chat_id: int | None) -> None:
        """Asks for a chat, or for the bot itself. Sends nothing."""
        if chat_id is None:
            await self._bot.get_me()
        else:
            await self._bot.get_chat(chat_id)

    async def close(self) -> None:
        """Gives the connections back."""
        await self._bot.session.close()


class _Session(AiohttpSession):
    """aiogram's session with limits: on time, on the size of an answer, and no redirects, which would carry the token away.

    Raises Retryable, Permanent, Unsure and Moved; none of them holds the token or the address.
    """

    def __init__(self, server: TelegramAPIServer) -> None:
        super().__init__(api=server, timeout=REQUEST_S)

    async def close(self) -> None:
        """Ends the connections. aiogram's own way waits a moment for TLS to end, which plain HTTP has no use for."""
        if self.api.base.startswith("https:"):
            await super().close()
        elif self._session is not None:
            await self._session.close()

    async def make_request(
        self, bot: Bot, method: TelegramMethod[TelegramType], timeout: int | None = None
    ) -> TelegramType:
        """One call of the Bot API; `timeout` is not used."""
        session = await self.create_session()
        status = 0  # none yet
        try:
            async with session.post(
                self.api.api_url(token=bot.token, method=method.__api_method__),
                data=self.build_form_data(bot=bot, method=method),
                timeout=aiohttp.ClientTimeout(total=REQUEST_S, connect=CONNECT_S),
                allow_redirects=False,
            ) as answer:
                status = answer.status
                retry_after = answer.headers.get("Retry-After")
                content = await _read(answer)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise Retryable("connection", f"Telegram cannot be reached: {_words(error, bot)}") from None
        except TimeoutError:
            if status >= 300:  # it had refused already
                _refuse(status, None, "")
            raise Retryable(
                "timeout", f"Telegram did not answer within {REQUEST_S:g} s; it may have been sent"
            ) from None
        except aiohttp.ClientError as error:
            if status >= 300:
                _refuse(status, None, "")
            reason: Reason = "server_error" if status else "connection"
            text = f"Telegram's answer broke off; it may have been sent ({_words(error, bot)})"
            raise Unsure(reason, text) from None
        if status >= 500:
            _refuse(status, retry_after, _description(content, bot))  # aiogram stumbles over one without a description
        try:
            return cast("TelegramType", self.check_response(bot, method, status, content).result)
        except TelegramMigrateToChat as error:
            raise Moved(error.migrate_to_chat_id) from None
        except TelegramAPIError as error:
            raise _fault_of(error, status, retry_after, _description(content, bot)) from None
        except ClientDecodeError as error:
            if status >= 300:
                _refuse(status, retry_after, "")
            if isinstance(error.data, dict) and error.data.get("ok") is True:
                # Telegram took it, and says more of it than aiogram knows. Nobody here needs that.
                return cast("TelegramType", None)
            raise Unsure("server_error", "Telegram's answer cannot be read; it may have been sent") from None


async def _read(answer: aiohttp.ClientResponse) -> str:
    content = bytearray()
    async for chunk in answer.content.iter_chunked(64 * 1024):
        content += chunk
        if len(content) > MAX_ANSWER_BYTES:
            raise aiohttp.ClientPayloadError("the answer is too large")
    return content.decode(errors="replace")


def _fault_of(error: TelegramAPIError, status: int, retry_after: str | None, said: str) -> DeliveryError:
    """What an error of aiogram means for the delivery, by its type."""
    text = f"Telegram answered {status}{said}"
    match error:
        case TelegramRetryAfter():
            return Retryable("rate_limited", text, float(error.retry_after))
        case TelegramUnauthorizedError():
            return Permanent("unauthorized", f"{text}; is the bot_token right?")
        case TelegramForbiddenError():
            return Permanent("forbidden", text)
        case TelegramNotFound():
            return Permanent("not_found", f"{text}; is the bot_token right, and NOTIFIER_TELEGRAM_API a Bot API?")
        case TelegramEntityTooLarge():
            return Permanent("invalid_content", text)
        case TelegramBadRequest():
            return Permanent(_reason_of_400(said.lower()), text)
    return _by_status(status, retry_after, said)


def _reason_of_400(said: str) -> Reason:
    if any(words in said for words in _FORBIDDEN):
        return "forbidden"
    return "not_found" if any(words in said for words in _NOT_FOUND) else "invalid_content"


def _by_status(status: int, retry_after: str | None, said: str) -> DeliveryError:
    """The same for an answer that is not the Bot API's, by its status."""
    text = f"Telegram answered {status}{said}"
    if status == 429:
        return Retryable("rate_limited", text, _seconds(retry_after))
    permanent: dict[int, Reason] = {
        400: "invalid_content",
        401: "unauthorized",
        403: "forbidden",
        404: "not_found",
        413: "invalid_content",
    }
    if status in permanent:
        return Permanent(permanent[status], text)
    return Retryable("server_error", text, _seconds(retry_after) if status == 503 else None)


def _refuse(status: int, retry_after: str | None, said: str) -> NoReturn:
    raise _by_status(status, retry_after, said) from None


def _seconds(retry_after: str | None) -> float | None:
    return float(retry_after) if retry_after is not None and re.fullmatch("[0-9]{1,9}", retry_after.strip()) else None


def _description(content: str, bot: Bot) -> str:
    """`: ` and what Telegram says in words, if anything, on one line."""
    try:
        answer = json.loads(content)
    except (ValueError, RecursionError):
        return ""
    said = answer.get("description") if isinstance(answer, dict) else None
    return f": {_masked(said, bot)}" if isinstance(said, str) and said.strip() else ""


def _words(error: Exception, bot: Bot) -> str:
    return f"{type(error).__name__}: {_masked(str(error), bot)}"


def _masked(text: str, bot: Bot) -> str:
    return " ".join(clean_text(text).replace(bot.token, "***").split())[:_SHOWN]
