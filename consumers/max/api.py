"""The MAX bot API: calls with the token of a bot. What the answers mean is `consumers.max.answers`'s.

Methods and limits: dev.max.ru/docs-api.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
from pydantic import SecretStr

from consumers.exchange import Answer, Exchange, Failed, failed, shown
from consumers.max.answers import NOT_READY, check_answer, code_of

_READY_S = (1.0, 2.0, 4.0)  # waits until an uploaded file may be sent


@dataclass(frozen=True, kw_only=True, slots=True)
class Chat:
    """Where a text goes: to a chat, or to a person."""

    number: int
    person: bool

    def query(self) -> dict[str, str]:
        """The query of a request that sends there."""
        return {"user_id" if self.person else "chat_id": str(self.number)}


class MaxApi:
    """The bot API as one bot. Raises `consumers.exchange.Failed`."""

    def __init__(
        self,
        exchange: Exchange,
        token: SecretStr,
        open_session: Callable[[], aiohttp.ClientSession],
        mask: Callable[[str], str],
    ) -> None:
        self._exchange = exchange
        self._token = token
        self._open_session = open_session  # for addresses that the API names
        self._mask = mask  # takes secrets out of what MAX says

    async def send(self, chat: Chat, body: Mapping[str, Any], *, link_preview: bool = True) -> None:
        """Sends a message: `{"text": …, "format": "html", "notify": true, "attachments": […]}`, all but `text` optional."""
        query = {**chat.query(), **({} if link_preview else {"disable_link_preview": "true"})}
        for wait_s in (*_READY_S, None):
            answer = await self._call("POST", "/messages", params=query, json=dict(body))
            if code_of(answer) != NOT_READY or wait_s is None:
                break
            await asyncio.sleep(wait_s)
        self._check(answer, sends=True)

    async def upload(self, content: bytes, name: str) -> dict[str, Any]:
        """Uploads a text file; returns it as an attachment of a message. Nothing is sent by that."""
        answer = await self._call("POST", "/uploads", unsure=False, params={"type": "file"})
        url = self._check(answer, sends=False).get("url")
        if not isinstance(url, str):
            raise failed("deferred", "server_error", "MAX names no address for an upload")
        form = aiohttp.FormData()
        form.add_field("data", content, filename=name, content_type="text/plain; charset=utf-8")
        uploading = Exchange("MAX's store of files", self._open_session(), url)
        try:
            answer = await uploading.ask("POST", "", unsure=False, data=form)
        except Failed:  # its text may hold the address, and that a key
            raise failed("deferred", "server_error", "MAX's store of files takes nothing at the moment") from None
        finally:
            await uploading.close()
        token = self._check(answer, sends=False).get("token")
        if not isinstance(token, str):
            raise failed("deferred", "server_error", "MAX names no token for an upload")
        return {"type": "file", "payload": {"token": token}}

    async def check(self, chat: Chat | None) -> None:
        """Asks for the chat, or for the bot itself. Sends nothing."""
        path = "/me" if chat is None else f"/chats/{chat.number}"
        self._check(await self._call("GET", path, unsure=False), sends=False)

    async def close(self) -> None:
        """Closes the connections."""
        await self._exchange.close()

    async def _call(self, method: str, path: str, *, unsure: bool = True, **options: Any) -> Answer:
        headers = {"Authorization": self._token.get_secret_value()}
        try:
            return await self._exchange.ask(method, path, unsure=unsure, headers=headers, **options)
        except Failed as failure:
            raise Failed(shown(failure.result, self._mask)) from None

    def _check(self, answer: Answer, *, sends: bool) -> dict[str, Any]:
        try:
            return check_answer(answer, sends=sends)
        except Failed as failure:
            raise Failed(shown(failure.result, self._mask)) from None
