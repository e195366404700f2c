"""Updates: what people send to a bot, as the Bot API hands it out, and the short texts that they are answered with.

Not through aiogram: it reads an answer strictly and as a whole, so that one odd update would hide all others for ever.
"""

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import aiohttp

from consumers.telegram.answers import REQUEST_S, asked_wait_s, description_in, failure_of_status
from notifier import Permanent, Retryable
from notifier.one_line import one_line
from notifier.outside import open_session, proxy_of, unreachable

POLL_S = 25  # that Telegram holds a request open while nothing happens
MOST = 8  # updates in one answer, so that the largest ones fit into it: one that is too large would come again for ever
# An update has less than 128 KiB: a text of 4096 characters, each escaped in six bytes, with its 100 entities, and as much of
# the message that it answers.
_MAX_BYTES = 1024 * 1024
_SHOWN = 300  # characters of what Telegram says
_KINDS = ["message", "callback_query"]


class Updates:
    """The calls of one bot that listens. Raises Retryable and Permanent; neither holds the token."""

    def __init__(self, session: aiohttp.ClientSession, token: str, base_url: str, *, by_proxy: bool = False) -> None:
        """`by_proxy`: the session goes by a proxy of its own, not by that of the environment."""
        self._session = session
        self._by_proxy = by_proxy
        self._token = token
        self._url = f"{base_url.rstrip('/')}/bot{token}/"

    async def next(self, offset: int | None) -> Sequence[dict[str, Any]]:
        """Waits for updates from that number on, which tells Telegram to forget those before. Empty: there were none."""
        asked: dict[str, Any] = {"timeout": POLL_S, "limit": MOST, "allowed_updates": _KINDS}
        if offset is not None:
            asked["offset"] = offset
        found = await self._call("getUpdates", asked, POLL_S + REQUEST_S)
        return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []

    async def say(self, chat_id: int, text: str) -> None:
        """Sends a short text to a chat."""
        await self._call("sendMessage", {"chat_id": chat_id, "text": text[:4000]}, REQUEST_S)

    async def show(self, press: str, text: str) -> None:
        """Shows a text to who pressed a button; `press` is the id of that."""
        await self._call("answerCallbackQuery", {"callback_query_id": press, "text": text[:200]}, REQUEST_S)

    async def _call(self, method: str, asked: dict[str, Any], limit_s: float) -> Any:
        url = self._url + method
        try:
            async with asyncio.timeout(limit_s), self._session.post(
                url,
                json=asked,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=limit_s),
                **({} if self._by_proxy else proxy_of(url)),
            ) as answer:  # fmt: skip
                content = await _read(answer)
                status, header = answer.status, answer.headers.get("Retry-After")
        except TimeoutError:
            raise Retryable("timeout", f"Telegram did not answer within {limit_s:g} s") from None
        except Permanent as error:  # the address of the proxy; it can be mended
            raise Retryable("connection", f"the proxy cannot be used: {error}") from None
        except (aiohttp.ClientError, OSError) as error:
            text = f"Telegram cannot be reached: {self._masked(unreachable(error))}"
            raise Retryable("connection", text) from None
        if status != 200:
            said = self._masked(description_in(content))
            wait_s = asked_wait_s(content, header) if status in (429, 503) else None
            raise failure_of_status(status, wait_s, f": {said}" if said else "")
        try:
            found = json.loads(content)
        except (ValueError, RecursionError):
            raise Retryable("server_error", "Telegram's answer cannot be read") from None
        return found.get("result") if isinstance(found, dict) else None

    def _masked(self, text: str) -> str:
        return one_line(text.replace(self._token, "***"), _SHOWN)


async def _read(answer: aiohttp.ClientResponse) -> str:
    content = bytearray()
    async for chunk in answer.content.iter_chunked(64 * 1024):
        content += chunk
        if len(content) > _MAX_BYTES:
            raise aiohttp.ClientPayloadError("the answer is too large")
    return content.decode(errors="replace")


def open_updates_session() -> aiohttp.ClientSession:
    """The session of `Updates`; the caller closes it."""
    return open_session()
