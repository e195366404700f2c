"""What people send to a bot, as a Bot API on loopback hands it out, and what the bot tells them."""

import asyncio
from typing import Any

from aiohttp import web

from tests.rigs.kafka_tools import wait_until

PERSON = 4242


class Inbox:
    """Updates until they are confirmed, one reader at a time; `said` is what the bot sent as JSON, method by method."""

    def __init__(self) -> None:
        self.updates: list[Any] = []
        self.said: list[tuple[str, dict[str, Any]]] = []
        self.offsets: list[int | None] = []
        self.conflicts = 0
        self._number = 1000
        self._reader: asyncio.Event | None = None  # set: another one has come

    async def answer(self, method: str, asked: dict[str, Any]) -> web.StreamResponse:
        """The answer to a call with a JSON body."""
        if method != "getUpdates":
            self.said.append((method, asked))
            return web.json_response({"ok": True, "result": True})
        assert 0 < asked["limit"] <= 100
        assert asked["timeout"] > 0
        if self._reader is not None:
            self._reader.set()  # the one before is ended, as Telegram does
        mine = self._reader = asyncio.Event()
        self.offsets.append(asked.get("offset"))
        if "offset" in asked:
            self.updates = [one for one in self.updates if not self._is_before(one, asked["offset"])]
        for _ in range(asked["timeout"] * 20):
            if mine.is_set():
                self.conflicts += 1
                text = "Conflict: terminated by other getUpdates request"
                return web.json_response({"ok": False, "error_code": 409, "description": text}, status=409)
            if self.updates:
                break
            await asyncio.sleep(0.05)
        self._reader = None
        return web.json_response({"ok": True, "result": self.updates[: asked["limit"]]})

    @staticmethod
    def _is_before(update: Any, offset: int) -> bool:
        return (
            not isinstance(update, dict) or not isinstance(update.get("update_id"), int) or update["update_id"] < offset
        )

    def write(self, text: str, *, person: int = PERSON, chat: dict[str, Any] | None = None) -> None:
        """Somebody writes to the bot."""
        self._number += 1
        sender = {"id": person, "is_bot": False, "first_name": "Alice", "username": "alice_t"}
        message = {"message_id": 1, "date": 1, "chat": chat or {"id": person, "type": "private"}, "from": sender}
        self.updates.append({"update_id": self._number, "message": {**message, "text": text}})

    def press(self, data: str, *, person: int = PERSON) -> None:
        """Somebody presses a button."""
        self._number += 1
        sender = {"id": person, "is_bot": False, "first_name": "Alice", "username": "alice_t"}
        query = {"id": f"press-{self._number}", "from": sender, "chat_instance": "1", "data": data}
        self.updates.append({"update_id": self._number, "callback_query": query})

    def texts(self, method: str = "sendMessage") -> list[str]:
        """The texts that the bot sent so."""
        return [asked["text"] for said, asked in self.said if said == method]

    async def told(self, beginning: str, method: str = "sendMessage") -> str:
        """The text that begins so, once it was sent."""

        def find() -> str | None:
            return next((text for text in self.texts(method) if text.startswith(beginning)), None)

        found: str = await wait_until(find, otherwise=lambda: f"{beginning} among {self.said}")
        return found
