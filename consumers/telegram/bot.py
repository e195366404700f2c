"""The Telegram bot: calls of the Bot API through aiogram. What the answers mean is `consumers.telegram.answers`'s.

Importing aiogram takes seconds, so `consumers.telegram.telegram` imports this module when it sends the first text; a process
that sends none never does.
"""

from collections.abc import Callable, Sequence
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
from aiogram.types import (
    BufferedInputFile,
    InlineKeyboardButton,
    InlineKeyboardMarkup,
    LinkPreviewOptions,
    MessageEntity,
)

from consumers.telegram.answers import (
    DOCUMENT_S,
    REQUEST_S,
    DocumentRefused,
    Moved,
    Unsure,
    asked_wait_s,
    description_in,
    error_code_in,
    failure_of_status,
    failure_of_words,
    failure_text,
)
from consumers.telegram.buttons import Key
from consumers.telegram.entities import entities_of
from consumers.text.text import clean_text
from notifier import Marked, Permanent, Retryable
from notifier.errors import DeliveryError
from notifier.one_line import one_line
from notifier.outcome import Reason
from notifier.outside import open_session, proxy_of, unreachable

CONNECT_S = 10.0
FILE_NAME = "message.txt"  # of a text that is too long for messages
MAX_ANSWER_BYTES = 1024 * 1024
_SHOWN = 300  # characters of what Telegram says


class TelegramBot:
    """One bot at one Bot API, its connections kept until `close`. Raises Retryable, Permanent, Unsure and Moved."""

    def __init__(self, token: str, base_url: str, opened: Callable[[], aiohttp.ClientSession] | None = None) -> None:
        """`opened` makes the session where it does not go as programs of this machine do."""
        self._bot = Bot(token, session=_Session(TelegramAPIServer.from_base(base_url), opened))

    async def send(
        self,
        chat_id: int,
        text: Marked,
        *,
        thread_id: int | None = None,
        silent: bool = False,
        link_preview: bool = True,
        keys: Sequence[Sequence[Key]] = (),
    ) -> None:
        """Sends a text of at most 4096 UTF-16 units, its spans as entities; `keys` are rows of buttons under it."""
        await self._bot.send_message(
            chat_id,
            text.text,
            message_thread_id=thread_id,
            entities=_entities(text),
            link_preview_options=None if link_preview else LinkPreviewOptions(is_disabled=True),
            disable_notification=True if silent else None,
            reply_markup=_markup(keys),
        )

    async def send_document(
        self,
        chat_id: int,
        content: str,
        caption: Marked,
        *,
        thread_id: int | None = None,
        silent: bool = False,
        keys: Sequence[Sequence[Key]] = (),
    ) -> None:
        """Sends a text as a file, with a caption of at most 1024 UTF-16 units."""
        await self._bot.send_document(
            chat_id,
            BufferedInputFile(content.encode(), FILE_NAME),
            message_thread_id=thread_id,
            caption=caption.text,
            caption_entities=_entities(caption),
            disable_notification=True if silent else None,
            reply_markup=_markup(keys),
            request_timeout=DOCUMENT_S,
        )

    async def check(self, chat_id: int | None) -> None:
        """Asks Telegram for the chat, or for the bot itself where there is no `chat_id`. Sends nothing."""
        if chat_id is None:
            await self._bot.get_me()
        else:
            await self._bot.get_chat(chat_id)

    async def close(self) -> None:
        """Closes the connections."""
        await self._bot.session.close()


class _Session(AiohttpSession):
    """aiogram's session with limits on the time and the size of an answer. Follows no redirects, which would leak the token.

    Raises Retryable, Permanent, Unsure and Moved; none of them holds the token or the address.
    """

    def __init__(self, server: TelegramAPIServer, opened: Callable[[], aiohttp.ClientSession] | None) -> None:
        super().__init__(api=server, timeout=REQUEST_S)
        self._opened = opened

    async def create_session(self) -> aiohttp.ClientSession:
        """Our session, which is kept. aiogram's own trusts certifi alone, knows no proxies, and keeps addresses for an hour."""
        if self._session is None or self._session.closed:
            self._session = open_session() if self._opened is None else self._opened()
        return self._session

    async def close(self) -> None:
        """Closes the connections. aiogram's own method also waits for TLS to end, which plain HTTP need not."""
        if self.api.base.startswith("https:"):
            await super().close()
        elif self._session is not None:
            await self._session.close()

    async def make_request(
        self, bot: Bot, method: TelegramMethod[TelegramType], timeout: int | None = None
    ) -> TelegramType:
        """One call of the Bot API, within REQUEST_S where it gives no `timeout` in seconds."""
        session = await self.create_session()
        url = self.api.api_url(token=bot.token, method=method.__api_method__)
        limit_s = timeout or REQUEST_S
        status = 0  # no answer yet
        try:
            async with session.post(
                url,
                data=self.build_form_data(bot=bot, method=method),
                timeout=aiohttp.ClientTimeout(total=limit_s, connect=CONNECT_S),
                allow_redirects=False,
                **(proxy_of(url) if self._opened is None else {}),
            ) as answer:
                status = answer.status
                retry_after = answer.headers.get("Retry-After")
                content = await _read(answer)
        except Permanent as error:  # the address of the proxy; it can be mended, so what waits is not given up
            raise Retryable("connection", f"the proxy cannot be used: {error}") from None
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.ClientHttpProxyError) as error:
            raise Retryable("connection", f"Telegram cannot be reached: {_masked(unreachable(error), bot)}") from None
        except TimeoutError:
            if status >= 300:  # Telegram had refused already
                _refuse(status, None, "")
            raise Retryable("timeout", f"Telegram did not answer within {limit_s:g} s; it may have been sent") from None
        except aiohttp.ClientError as error:
            if status >= 300:
                _refuse(status, None, "")
            reason: Reason = "server_error" if status else "connection"
            text = f"Telegram's answer broke off; it may have been sent ({_masked(unreachable(error), bot)})"
            raise Unsure(reason, text) from None
        if 200 <= status < 300:
            status = error_code_in(content) or status
        wait_s = asked_wait_s(content, retry_after) if status >= 400 else None
        if status >= 500 or status == 429:
            # aiogram fails on one without a description, and on a wait that is not whole seconds.
            _refuse(status, wait_s, _said(content, bot))
        try:
            return cast("TelegramType", self.check_response(bot, method, status, content).result)
        except TelegramMigrateToChat as error:
            raise Moved(error.migrate_to_chat_id) from None
        except TelegramAPIError as error:
            raise _failure_of(error, status, wait_s, _said(content, bot)) from None
        except ClientDecodeError as error:
            if status >= 300:
                _refuse(status, wait_s, "")
            if isinstance(error.data, dict) and error.data.get("ok") is True:
                # Telegram accepted it with fields that aiogram does not know; the result is not used.
                return cast("TelegramType", None)
            raise Unsure("server_error", "Telegram's answer cannot be read; it may have been sent") from None


def _entities(text: Marked) -> list[MessageEntity] | None:
    return [MessageEntity(**entity) for entity in entities_of(text)] or None


def _markup(keys: Sequence[Sequence[Key]]) -> InlineKeyboardMarkup | None:
    if not keys:
        return None
    rows = [[InlineKeyboardButton(text=key.title, callback_data=key.data, url=key.url) for key in row] for row in keys]
    return InlineKeyboardMarkup(inline_keyboard=rows)


async def _read(answer: aiohttp.ClientResponse) -> str:
    content = bytearray()
    async for chunk in answer.content.iter_chunked(64 * 1024):
        content += chunk
        if len(content) > MAX_ANSWER_BYTES:
            raise aiohttp.ClientPayloadError("the answer is too large")
    return content.decode(errors="replace")


def _failure_of(error: TelegramAPIError, status: int, wait_s: float | None, said: str) -> DeliveryError:
    """aiogram's error as one of ours, by its type."""
    text = failure_text(status, said)
    match error:
        case TelegramRetryAfter():
            return Retryable("rate_limited", text, error.retry_after)
        case TelegramUnauthorizedError():
            return Permanent("unauthorized", f"{text}; is the bot_token right?")
        case TelegramForbiddenError():
            return Permanent("forbidden", text)
        case TelegramNotFound():
            return Permanent("unauthorized", f"{text}; is the bot_token right, and NOTIFIER_TELEGRAM_API a Bot API?")
        case TelegramEntityTooLarge():
            return DocumentRefused("invalid_content", text)
        case TelegramBadRequest():
            return failure_of_words(text, said)
    return failure_of_status(status, wait_s, said)


def _refuse(status: int, wait_s: float | None, said: str) -> NoReturn:
    raise failure_of_status(status, wait_s, said) from None


def _said(content: str, bot: Bot) -> str:
    """`: ` and the description in an answer, on one line; empty where there is none."""
    description = description_in(content)
    return f": {_masked(description, bot)}" if description else ""


def _masked(text: str, bot: Bot) -> str:
    return one_line(clean_text(text).replace(bot.token, "***"), _SHOWN)
