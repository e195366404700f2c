"""Sending: the way of one text to one chat, in parts or as a document, with what is tried once more where Telegram refuses it.

Telegram refuses   then
the chat's number  the group became a supergroup: sent there, and the move is kept for all that follows
the topic          sent to the chat itself
the markup         sent without it
a button's address sent without that button
the document       sent in parts, and what does not fit into them is left out

Each happens once for a text, and the attempt says so. What all other answers mean is the table in `consumers.telegram.answers`.
"""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from consumers.telegram.answers import DocumentRefused, MarkupRefused, Moved, TopicRefused, moved_to
from consumers.telegram.buttons import Key, without_links
from consumers.telegram.entities import (
    MAX_TEXT,
    caption_of,
    content_of,
    parts_of,
    parts_with_rest_left_out,
    without_markup,
)
from notifier import Marked, Moves, Permanent

if TYPE_CHECKING:  # importing it takes seconds
    from consumers.telegram.bot import TelegramBot
    from consumers.telegram.telegram import TelegramParameters

T = TypeVar("T")

_GENERAL = 1  # the topic General: Telegram numbers it so, and takes texts for it only without a number
MAX_CHAT_ID = 2**52  # core.telegram.org/bots/api#chat: at most 52 significant bits
FURTHER = 5  # calls that one text may take beside its parts: one for each line of the table


def is_chat(number: int) -> bool:
    """Whether a number may be a chat's."""
    return 0 < abs(number) <= MAX_CHAT_ID


def chat_now(moves: Moves, chat_id: int) -> int:
    """The number that a chat has now; its own where what is on record is no number of a chat."""
    became = moves.now(str(chat_id))
    digits = became.removeprefix("-")
    return int(became) if digits.isascii() and digits.isdigit() and is_chat(int(became)) else chat_id


async def made_of(text: Marked, make: Callable[[Marked], T]) -> T:
    """What a function makes of a text; of a long one in a thread, since it takes so long that all else would wait."""
    return make(text) if len(text.text) <= MAX_TEXT else await asyncio.to_thread(make, text)


class Sending:
    """One text on its way. `permit` waits until another call is within the limits; the first call has its permit."""

    def __init__(
        self,
        bot: "TelegramBot",
        parameters: "TelegramParameters",
        chat_id: int,
        moves: Moves,
        permit: Callable[[], Awaitable[None]],
    ) -> None:
        self._bot = bot
        self._parameters = parameters
        self._chat_id = chat_id
        self._thread_id = None if parameters.thread_id == _GENERAL else parameters.thread_id
        self._moves = moves
        self._permit = permit
        self._called = False
        self._plain = False
        self.keys: list[list[Key]] = []  # rows of buttons under the last part
        self.notes: list[str] = []  # for the attempt
        self.done = 0  # parts that were sent
        self.parts = 1

    async def send(self, text: Marked, done: int = 0) -> None:
        """Sends a text whose first `done` parts were sent before. Raises as the bot does, but for what is tried once more."""
        self._plain = not text.spans
        parts = await made_of(text, parts_of)
        if parts is None:
            try:
                return await self._call(partial(self._send_document, text))
            except Permanent as error:
                if not isinstance(error, DocumentRefused) and error.reason != "invalid_content":
                    raise
                self.notes.append(f"it was too long, and Telegram did not take the document, so it was cut ({error})")
                parts = await made_of(text, parts_with_rest_left_out)
        self.done, self.parts = done, len(parts)
        while self.done < self.parts:
            await self._call(partial(self._send_part, parts[self.done]))
            self.done += 1
        return None

    async def _call(self, call: Callable[[], Awaitable[None]]) -> None:
        """Calls until nothing is left that can be tried once more."""
        while True:
            if self._called:
                await self._permit()
            self._called = True
            try:
                return await call()
            except Moved as error:
                self._follow(error)
            except TopicRefused as error:
                if self._thread_id is None:
                    raise
                self.notes.append(
                    f"the topic {self._thread_id} did not take it, so it went to the chat itself ({error})"
                )
                self._thread_id = None
            except MarkupRefused as error:
                if self._plain:
                    raise
                self.notes.append(f"its markup was refused, so it went without ({error})")
                self._plain = True
            except Permanent as error:
                left = without_links(self.keys)
                if left == self.keys or "button" not in str(error).lower():
                    raise
                self.notes.append(f"the button with its address was refused, so it went without ({error})")
                self.keys = left

    def _follow(self, moved: Moved) -> None:
        if self._moves.has(str(self._chat_id)) or not is_chat(moved.chat_id):
            raise Permanent("not_found", str(moved)) from None
        self._moves.moved(str(self._chat_id), str(moved.chat_id))

    async def _send_part(self, part: Marked) -> None:
        await self._bot.send(
            self._chat_now(),
            without_markup(part) if self._plain else part,
            thread_id=self._thread_id,
            silent=self._parameters.silent,
            link_preview=self._parameters.link_preview,
            keys=self.keys if self.done == self.parts - 1 else (),
        )

    async def _send_document(self, text: Marked) -> None:
        caption = await made_of(text, caption_of)
        await self._bot.send_document(
            self._chat_now(),
            await made_of(text, content_of),
            Marked(caption.text) if self._plain else caption,
            thread_id=self._thread_id,
            silent=self._parameters.silent,
            keys=self.keys,
        )

    def _chat_now(self) -> int:
        return chat_now(self._moves, self._chat_id)

    def said(self) -> str | None:
        """What the attempt says of a text that was sent; None where there is nothing to say."""
        moved = [moved_to(self._chat_now())] if self._moves.has(str(self._chat_id)) else []
        return "; ".join([*moved, *self.notes]) or None
