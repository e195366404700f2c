"""Granting: does what a person asked in a chat, as a change of that person's definition under the consumer's name.

Asked twice it is done once: the second time nothing changes. Hostile texts reach no definition: an address and a username come
from the service, and everything else is checked as what people write in definitions is.
"""

import logging
from datetime import datetime
from typing import Any

from msgspec.structs import replace

from control_api.access.actor import Actor
from control_api.definitions.services import Services, Stored
from control_api.wishes.codes import use_up, username_of
from control_api.wishes.hours import USAGE, NotUnderstood, hours_of
from notifier.database import Database
from notifier.errors import DatabaseError, InputError, NotifierError
from notifier.one_line import one_line
from notifier.record import JsonObject, now, rfc3339
from notifier.wish import Wish

logger = logging.getLogger(__name__)


class Refused(Exception):
    """It is not done; says why to the person."""


class Granting:
    """Does wishes."""

    def __init__(self, database: Database, services: Services) -> None:
        self._database = database
        self._services = services

    async def grant(self, wish: Wish) -> Wish:
        """The wish as it was answered. Raises DatabaseError; then nothing is done, or all of it may be done again."""
        try:
            detail = await self._do(wish)
        except Refused as error:
            return replace(wish, state="refused", detail=str(error), at=now())
        except DatabaseError:
            raise
        except Exception as error:  # what cannot be done must not come again for ever, before all others
            fault = None if isinstance(error, NotifierError) else error
            extra = {"action": "grant", "consumer": wish.consumer[:100]}
            logger.warning("A wish is refused: %s", one_line(error), extra=extra, exc_info=fault)
            return replace(wish, state="refused", detail="That did not work; please tell your administrator.", at=now())
        logger.info("Did what somebody asked: %s.", wish.wants, extra={"action": "grant", "consumer": wish.consumer})
        return replace(wish, state="done", detail=wish.detail or detail, at=now())

    async def _do(self, wish: Wish) -> str:
        if wish.wants == "link":
            return await self._link(wish)
        if wish.user is None:
            raise Refused("You are not known here. Ask for a code, and send /start and that code.")
        stored = await self._services.get("user", wish.user)
        if wish.wants == "mute":
            patch, said = _mute(wish, stored.spec.get("muted", {}))
        elif wish.wants == "unmute":
            patch, said = {"muted_until": None, "muted": None}, "Messages come to you again."
        else:
            return await self._hours(wish, stored)
        await self._services.patch(self._actor(wish), "user", stored.name, patch)
        return said

    async def _hours(self, wish: Wish, stored: Stored) -> str:
        try:
            hours = hours_of(wish.hours or "", stored.spec.get("working_time"))
            document = {name: value for name, value in stored.document.items() if name != "username"}
            document["working_time"] = hours
            await self._services.replace(self._actor(wish), "user", stored.name, document, stored.revision)
        except (NotUnderstood, InputError):
            raise Refused(f"I do not understand these hours. {USAGE}") from None
        return "You work always now." if hours is None else "Your hours are changed."

    async def _link(self, wish: Wish) -> str:
        username = await username_of(self._database, wish.name)
        if username is None:
            raise Refused("This code is not valid, or was used already. Please ask for a new one.")
        if wish.user not in (None, username):
            raise Refused(
                f"This chat belongs to {wish.user} already. Please ask your administrator to take it out first."
            )
        stored = await self._services.get("user", username)
        info = stored.spec.get("additional_info", {})
        patch = {"additional_info": {wish.world: linked(info.get(wish.world), wish.address, wish.called)}}
        await self._services.patch(self._actor(wish), "user", username, patch)
        await use_up(self._database, wish.name)
        return f"Done. Messages for {username} come here from now on."

    def _actor(self, wish: Wish) -> Actor:
        return Actor(f"consumer {wish.consumer}"[:200], frozenset({"write"}))


def _mute(wish: Wish, before: JsonObject) -> tuple[JsonObject, str]:
    """What a mute changes of a user, and what the person is told. Mutes that are over are taken out by the way."""
    at = now()
    if wish.until is None or wish.until <= at:
        raise Refused("That time is over already.")
    if wish.configuration is None:
        return {"muted_until": rfc3339(wish.until)}, f"Nothing comes to you until {rfc3339(wish.until)}."
    over = {name: None for name, end in before.items() if datetime.fromisoformat(end) <= at}
    return {"muted": {**over, wish.configuration: rfc3339(wish.until)}}, f"{wish.configuration} is muted."


def linked(before: Any, address: str, called: str | None) -> JsonObject | list[JsonObject]:
    """What a user has in a world, with an address as the first; `before` is what there was.

    One identity gets the address in place of its own; of several, those without this address stay behind the new one.
    """
    id_: int | str = int(address) if address.lstrip("-").isdecimal() and address.isascii() else address
    new: JsonObject = {"id": id_} if called is None else {"username": called, "id": id_}
    if isinstance(before, list):
        return [new, *(one for one in before if str(one.get("id")) != address)]
    if isinstance(before, dict):
        kept = {key: value for key, value in before.items() if key != "id"}
        return {**kept, **new}
    return new
