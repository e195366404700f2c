"""Codes: each links one user to one chat, once. Only its digest is stored."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, insert, select

from control_api.access.actor import Actor
from control_api.access.entry import entry
from control_api.definitions.services import MAX_LIMIT, Services, Stored
from control_api.models import LinkCodeRow
from notifier.database import Database
from notifier.errors import Conflict, NotifierError
from notifier.plugin import Consumer
from notifier.record import JsonObject, now, rfc3339
from notifier.wish import code_digest

VALID = timedelta(days=1)
_BYTES = 16  # 128 bits, 22 characters


@dataclass(frozen=True, kw_only=True)
class LinkCode:
    """A code as it is shown once."""

    username: str
    code: str
    expires_at: datetime
    consumers: Sequence[str]  # in any of whose chats it may be used

    def answer(self) -> JsonObject:
        """As JSON: `{"username", "code", "command", "expires_at", "consumers"}`."""
        return {
            "username": self.username,
            "code": self.code,
            "command": f"/start {self.code}",
            "expires_at": rfc3339(self.expires_at),
            "consumers": list(self.consumers),
        }


async def make_code(database: Database, services: Services, actor: Actor, username: str) -> LinkCode:
    """A new code for a user; codes that were made before stay valid.

    Raises UnknownName, OtherTeam, and Conflict where no consumer that the actor sees listens to people.
    """
    await services.require_change(actor, "user", username)
    seen = services.seen_by(actor)
    user = await seen.get("user", username)
    consumers = await _listening(seen)
    if not consumers:
        raise Conflict("no consumer hears people, so nobody can use a code: set `listen: true` of a Telegram consumer")
    code, at = secrets.token_urlsafe(_BYTES), now()
    async with database.write() as session:
        await session.execute(
            insert(LinkCodeRow).values(
                digest=code_digest(code), username=user.name, created_by=actor.name, expires_at=at + VALID
            )
        )
        session.add(entry(actor.name, "link", "user", user.name))
    return LinkCode(username=user.name, code=code, expires_at=at + VALID, consumers=consumers)


async def username_of(database: Database, digest: str) -> str | None:
    """For whom a code was made; None where it is none, was used, or has expired."""
    query = select(LinkCodeRow.username).where(LinkCodeRow.digest == digest, LinkCodeRow.expires_at > now())
    async with database.read() as session:
        return await session.scalar(query)


async def use_up(database: Database, digest: str) -> None:
    """A code was used."""
    async with database.write() as session:
        await session.execute(delete(LinkCodeRow).where(LinkCodeRow.digest == digest))


async def _listening(services: Services) -> list[str]:
    """The names of the consumers that listen."""
    found: list[str] = []
    cursor: str | None = None
    while True:
        page = await services.list("consumer", MAX_LIMIT, cursor)
        found += [stored.name for stored in page.items if _listens(services, stored)]
        cursor = page.next_cursor
        if cursor is None:
            return found


def _listens(services: Services, stored: Stored) -> bool:
    try:
        spec = stored.spec
        plugin = services.registry.build("consumer", stored.name, spec["type"], spec.get("parameters", {}), None)
        return isinstance(plugin, Consumer) and bool(plugin.listens())
    except (NotifierError, KeyError):  # a plugin that is not installed here, or an older one
        return False
