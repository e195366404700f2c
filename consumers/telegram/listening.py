"""Listening: what people send to a Telegram bot, handed on, and what they are told.

    /start CODE          links who has the code to this chat
    anything else        says what can be said

A command counts in a private chat only: an address is a person's. Telegram is told to forget an update once what it asked for is
kept. Who sends more than `_MOST` commands a minute is not heard for a while, and not answered: nobody can have the bot flood a
chat, or `status`.
"""

import asyncio
import logging
import re  # for our own constant patterns
import time
from collections import defaultdict, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from consumers.telegram.updates import Updates, open_updates_session
from notifier.errors import DeliveryError
from notifier.plugin import Hearing
from notifier.record import now
from notifier.wish import LINK, Wish, code_digest

if TYPE_CHECKING:
    from consumers.telegram.telegram import Telegram

logger = logging.getLogger(__name__)

_CODE = re.compile(r"[A-Za-z0-9_-]{16,64}")  # core.telegram.org/bots/features#deep-linking: at most 64 of these
_MOST, _WITHIN_S = 6, 60.0  # commands of one person
_MOST_PEOPLE = 10_000  # whose commands are counted
_PAUSE_S = 1.0  # after an answer without an update that can be used

_HELP = "Send /start and the code that you were given, and your messages come here."


@dataclass(frozen=True, kw_only=True)
class _Command:
    """A command of one person."""

    number: int  # of the update
    chat_id: int
    word: str  # in lower case, without `/` and the bot's name
    rest: str
    called: str | None  # username


class Flood:
    """Counts what people send."""

    def __init__(self) -> None:
        self._at: defaultdict[int, deque[float]] = defaultdict(deque)  # by person, `time.monotonic()`

    def may(self, person: int) -> bool:
        """Whether a person is heard now."""
        at = time.monotonic()
        if len(self._at) > _MOST_PEOPLE:
            self._at.clear()
        sent = self._at[person]
        while sent and sent[0] <= at - _WITHIN_S:
            sent.popleft()
        if len(sent) >= _MOST:
            return False
        sent.append(at)
        return True


async def listen(consumer: "Telegram", hearing: Hearing, token: str, base_url: str) -> None:
    """Hears people until it is cancelled. Raises Retryable, Permanent and what handing on raises."""
    async with open_updates_session() as session:
        listener = _Listener(consumer, hearing, Updates(session, token, base_url))
        tasks = [asyncio.create_task(listener.hear()), asyncio.create_task(listener.reply())]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


class _Listener:
    """Listens for one bot."""

    def __init__(self, consumer: "Telegram", hearing: Hearing, updates: Updates) -> None:
        self._consumer = consumer
        self._hearing = hearing
        self._updates = updates
        self._flood = Flood()

    async def hear(self) -> None:
        """Takes updates for ever."""
        offset: int | None = None
        while True:
            found = await self._updates.next(offset)
            self._hearing.works()
            numbers = [number for one in found if (number := _number(one.get("update_id"))) is not None]
            for update in found:
                await self._take(update)
            if numbers:
                offset = max(numbers) + 1
            elif found:
                await asyncio.sleep(_PAUSE_S)

    async def reply(self) -> None:
        """Tells people what became of what they asked, for ever."""
        while True:
            wish = await self._hearing.next_reply()
            if not wish.silent and wish.detail and wish.address.lstrip("-").isdigit():
                await self._say(int(wish.address), wish.detail)
            await self._hearing.told(wish)

    async def _take(self, update: dict[str, Any]) -> None:
        """Does what one update asks. What it is not expected to be costs it alone."""
        command = _command(update)
        if command is not None and self._flood.may(command.chat_id):
            await self._obey(command)

    async def _obey(self, command: _Command) -> None:
        if command.word == "start" and _CODE.fullmatch(command.rest):
            digest = code_digest(command.rest)
            user = self._hearing.user(str(command.chat_id))
            await self._hearing.ask(
                Wish(
                    kind=LINK,
                    name=digest,
                    state="asked",
                    at=now(),
                    consumer=self._hearing.name,
                    world=self._consumer.world_of(),
                    address=str(command.chat_id),
                    wants="link",
                    called=command.called,
                    user=None if user is None else user.username,
                )
            )
        else:
            await self._say(command.chat_id, _HELP)

    async def _say(self, chat_id: int, text: str) -> None:
        """Sends a text; where Telegram does not take it, the person is not told."""
        try:
            await self._updates.say(chat_id, text)
        except DeliveryError as error:
            extra = {"action": "listen", "consumer": self._hearing.name}
            logger.info("Somebody was not told what became of a command: %s", error, extra=extra)


def _number(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53 else None


def _command(update: dict[str, Any]) -> _Command | None:
    """The command that an update is; None where it is none, or not of a person in a private chat."""
    number, message = _number(update.get("update_id")), update.get("message")
    if number is None or not isinstance(message, dict):
        return None
    chat, sender, text = message.get("chat"), message.get("from"), message.get("text")
    if not isinstance(chat, dict) or not isinstance(sender, dict) or not isinstance(text, str):
        return None
    chat_id = _number(chat.get("id"))
    if chat.get("type") != "private" or not chat_id or sender.get("is_bot") is True or not text.startswith("/"):
        return None
    word, _, rest = text[1:500].partition(" ")
    return _Command(
        number=number,
        chat_id=chat_id,
        word=word.partition("@")[0].lower(),
        rest=rest.strip(),
        called=called_in(sender),
    )


def called_in(sender: dict[str, Any]) -> str | None:
    """The username in what Telegram says of a person; None where there is none."""
    found = sender.get("username")
    return found if isinstance(found, str) and re.fullmatch("[A-Za-z0-9_]{1,64}", found) else None
