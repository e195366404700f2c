"""Listening: what people send to a Telegram bot, handed on, and what they are told.

    /start CODE          links who has the code to this chat
    /mute, /mute 2h      nothing is sent to who asks for an hour, or for so long; `tomorrow` is an end too
    /unmute              ends that
    /hours               says when who asks works; with hours behind it, changes that
    anything else        says what can be said
    a button             is an `Answer`; a mute is also a `Wish` of who pressed it

A command counts in a private chat only: an address is a person's. Telegram is told to forget an update once what it asked for is
kept. Who sends more than some a minute is not heard for a while, and not answered: nobody can have the bot flood a
chat, or `status`.
"""

import asyncio
import logging
import re  # for our own constant patterns
import time
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from aiohttp import ClientSession
from msgspec.structs import replace

from consumers.telegram.buttons import press_of
from consumers.telegram.mutes import USUAL, shown, tomorrow, until_of
from consumers.telegram.updates import Updates, open_updates_session
from notifier import Delivery, User
from notifier.answer import Answer
from notifier.errors import DeliveryError, RecordError
from notifier.one_line import one_line
from notifier.plugin import Hearing
from notifier.record import now
from notifier.wish import LINK, WISH, Wanted, Wish, code_digest

if TYPE_CHECKING:
    from consumers.telegram.telegram import Telegram

logger = logging.getLogger(__name__)

_CODE = re.compile(r"[A-Za-z0-9_-]{16,64}")  # core.telegram.org/bots/features#deep-linking: at most 64 of these
_MOST_COMMANDS, _MOST_PRESSES, _WITHIN_S = 6, 30, 60.0  # of one person
_MOST_PEOPLE = 10_000  # whose commands are counted
_PRESS_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_MUTES = ("mute_hour", "mute_day")
_PAUSE_S = 1.0  # after an answer without an update that can be used

_MUTE_HELP = "Send /mute 30m, /mute 2h, /mute 3d or /mute tomorrow; at most 90 days. /unmute ends it."
_HELP = "Send /start and the code that you were given, and your messages come here."


@dataclass(frozen=True, kw_only=True)
class _Command:
    """A command of one person."""

    number: int  # of the update
    chat_id: int
    word: str  # in lower case, without `/` and the bot's name
    rest: str
    called: str | None  # username


@dataclass(frozen=True, kw_only=True)
class _Pressed:
    """A press of one person."""

    number: int  # of the update
    id: str  # Telegram's own, of the press
    person: int
    called: str | None  # username
    data: object


class Flood:
    """Counts what people send; at most so many a minute are heard."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._at: defaultdict[int, deque[float]] = defaultdict(deque)  # by person, `time.monotonic()`

    def may(self, person: int) -> bool:
        """Whether a person is heard now."""
        at = time.monotonic()
        if len(self._at) > _MOST_PEOPLE:
            self._at.clear()
        sent = self._at[person]
        while sent and sent[0] <= at - _WITHIN_S:
            sent.popleft()
        if len(sent) >= self._most:
            return False
        sent.append(at)
        return True


async def listen(
    consumer: "Telegram",
    hearing: Hearing,
    token: str,
    base_url: str,
    opened: Callable[[], ClientSession] | None = None,
) -> None:
    """Hears people until it is cancelled. Raises Retryable, Permanent and what handing on raises.

    `opened` makes the session where it does not go as programs of this machine do.
    """
    async with (opened or open_updates_session)() as session:
        updates = Updates(session, token, base_url, by_proxy=opened is not None)
        listener = _Listener(consumer, hearing, updates, token)
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

    def __init__(self, consumer: "Telegram", hearing: Hearing, updates: Updates, token: str) -> None:
        self._consumer = consumer
        self._hearing = hearing
        self._updates = updates
        self._token = token
        self._commands, self._presses = Flood(_MOST_COMMANDS), Flood(_MOST_PRESSES)

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
            chat_id = chat_in(wish.address)
            if not wish.silent and wish.detail and chat_id is not None:
                await self._say(chat_id, wish.detail)
            await self._hearing.told(wish)

    async def _take(self, update: dict[str, Any]) -> None:
        """Does what one update asks. What it is not expected to be costs it alone."""
        try:
            command, pressed = _command(update), _pressed(update)
            if command is not None and self._commands.may(command.chat_id):
                await self._obey(command)
            if pressed is not None and self._presses.may(pressed.person):
                await self._show(pressed, await self._press(pressed))
        except (ValueError, TypeError, LookupError, ArithmeticError) as error:  # else it would come again for ever
            text = "Something that was sent to a bot is passed over: %s: %s"
            logger.warning(text, type(error).__name__, one_line(error), extra=self._extra)

    async def _show(self, pressed: _Pressed, text: str) -> None:
        try:
            await self._updates.show(pressed.id, text)
        except DeliveryError as error:
            logger.info("Who pressed a button was not told so: %s", error, extra=self._extra)

    async def _obey(self, command: _Command) -> None:
        if command.word == "start" and _CODE.fullmatch(command.rest):
            digest = code_digest(command.rest)
            await self._hearing.ask(self._wish(command.chat_id, command.called, LINK, digest, "link"))
            return
        user = self._hearing.user(str(command.chat_id))
        if user is None:
            await self._say(command.chat_id, _HELP)
        elif command.word == "mute":
            until = until_of(command.rest, user, now())
            if until is None:
                await self._say(command.chat_id, _MUTE_HELP)
            else:
                told = f"Nothing comes to you until {shown(user, until)}. /unmute ends that."
                await self._ask(command, "mute", until=until, detail=told)
        elif command.word == "unmute":
            await self._ask(command, "unmute")
        elif command.word == "hours" and command.rest:
            await self._ask(command, "hours", hours=command.rest)
        else:
            await self._say(command.chat_id, _known(user))

    async def _ask(self, command: _Command, wants: Wanted, **fields: Any) -> None:
        name = f"{self._hearing.name}/{command.number}"
        await self._hearing.ask(replace(self._wish(command.chat_id, command.called, WISH, name, wants), **fields))

    async def _press(self, pressed: _Pressed) -> str:
        """Hands on that somebody pressed a button; returns what that person is told."""
        press = press_of(pressed.data)
        delivery = None if press is None else await self._hearing.delivery(press.ticket)
        if press is None or delivery is None or not press.is_of(delivery, self._token):
            return "This message is too old to be answered."
        user, at, until = self._hearing.user(str(pressed.person)), now(), None
        if user is not None and press.button in _MUTES:
            until = tomorrow(user, at) if press.button == "mute_day" else at + USUAL
        answer = Answer(
            id=f"{self._hearing.name}/{pressed.id}",
            delivery=delivery.id,
            producer=read_producer(delivery),
            message=delivery.message_id,
            configuration=delivery.configuration,
            consumer=delivery.consumer,
            button=press.button,
            at=at,
            user=None if user is None else user.username,
            called=pressed.called,
            recipient=delivery.recipient,
            until=until,
        )
        await self._hearing.answer(answer, delivery)
        if press.button not in _MUTES:
            return "Acknowledged."
        if user is None or until is None:
            return f"You are not known here, so nothing is muted. {_HELP}"
        wish = self._wish(pressed.person, pressed.called, WISH, f"{self._hearing.name}/{pressed.number}", "mute")
        await self._hearing.ask(replace(wish, configuration=delivery.configuration, until=until, silent=True))
        return f"Nothing more of {delivery.configuration} comes to you until {shown(user, until)}."

    def _wish(self, person: int, called: str | None, kind: Literal["link", "wish"], name: str, wants: Wanted) -> Wish:
        user = self._hearing.user(str(person))
        return Wish(
            kind=kind,
            name=name,
            state="asked",
            at=now(),
            consumer=self._hearing.name,
            world=self._consumer.world_of(),
            address=str(person),
            wants=wants,
            called=called,
            user=None if user is None else user.username,
        )

    async def _say(self, chat_id: int, text: str) -> None:
        """Sends a text; where Telegram does not take it, the person is not told."""
        try:
            await self._updates.say(chat_id, text)
        except DeliveryError as error:
            logger.info("Somebody was not told what became of a command: %s", error, extra=self._extra)

    @property
    def _extra(self) -> dict[str, str]:
        return {"action": "listen", "consumer": self._hearing.name}


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
        rest=rest.strip().encode(errors="replace").decode(),  # no record can hold a lone surrogate
        called=called_in(sender),
    )


def _known(user: User) -> str:
    """What somebody who is known here can say."""
    hours = "always" if user.working_time is None else str(user.working_time)
    end = user.muted_until
    muted = f"\nNothing comes to you until {shown(user, end)}." if end is not None and end > now() else ""
    return (
        f"You are {user.username}, and work {hours}.{muted}\n"
        "/mute 2h, /mute tomorrow: nothing comes to you meanwhile; /unmute ends it.\n"
        "/hours 09:00-18:00 mon-fri Europe/Moscow, /hours always: when you work."
    )


def _pressed(update: dict[str, Any]) -> _Pressed | None:
    """The press that an update is; None where it is none."""
    number, query = _number(update.get("update_id")), update.get("callback_query")
    sender = query.get("from") if isinstance(query, dict) else None
    if number is None or not isinstance(query, dict) or not isinstance(sender, dict):
        return None
    id_, person = query.get("id"), _number(sender.get("id"))
    if not isinstance(id_, str) or not _PRESS_ID.fullmatch(id_) or not person or sender.get("is_bot") is True:
        return None
    return _Pressed(number=number, id=id_, person=person, called=called_in(sender), data=query.get("data"))


def read_producer(delivery: Delivery) -> str:
    """The producer of a delivery's message; empty where it cannot be read."""
    try:
        return delivery.read_message().producer
    except RecordError:
        return ""


def chat_in(address: str) -> int | None:
    """The number of a person's chat; None where the address is none, as any client of Kafka may write."""
    return int(address) if re.fullmatch("[0-9]{1,16}", address) else None


def called_in(sender: dict[str, Any]) -> str | None:
    """The username in what Telegram says of a person; None where there is none."""
    found = sender.get("username")
    return found if isinstance(found, str) and re.fullmatch("[A-Za-z0-9_]{1,64}", found) else None
