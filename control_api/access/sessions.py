"""Sessions: browsers in which an account has signed in. The cookie holds 256 random bits, the database their hash.

A session ends after twelve hours without use, after seven days, by signing out, and when the account's password or role is
changed or the account removed. Each request reads the account, so that counts at once.
"""

import hashlib
import logging
import secrets
from datetime import timedelta

from sqlalchemy import delete, select, update

from control_api.access.accounts import Account, account_of
from control_api.access.entry import entry
from control_api.models import AccountRow, SessionRow
from control_api.retention import SESSIONS_KEPT
from notifier.database import Database
from notifier.errors import DatabaseError
from notifier.record import now

logger = logging.getLogger(__name__)

COOKIE = "notifier_session"
IDLE = timedelta(hours=12)
ABSOLUTE = SESSIONS_KEPT
_SEEN_EVERY = timedelta(minutes=10)  # resolution of `seen_at`: a write for each request would be expensive


async def open_session(database: Database, account: Account) -> str | None:
    """Signs an account in whose password was just verified. Returns the value of the cookie.

    None when the account was changed or removed in the meantime.
    """
    ticket, at = secrets.token_urlsafe(32), now()
    async with database.write() as session:
        row = await session.get(AccountRow, account.name, with_for_update=True)
        if row is None or row.updated_at != account.updated_at:
            return None
        session.add(SessionRow(hash=_hash(ticket), account=account.name, created_at=at, seen_at=at))
        session.add(entry(account.actor.name, "sign_in", "account", account.name))
    return ticket


async def find_account(database: Database, ticket: str) -> Account | None:
    """The account that is signed in by that cookie, if any. Reads the database each time."""
    query = select(SessionRow, AccountRow).join(AccountRow, AccountRow.name == SessionRow.account)
    async with database.read() as session:
        found = (await session.execute(query.where(SessionRow.hash == _hash(ticket)))).one_or_none()
    if found is None:
        return None
    row, account = found
    at = now()
    if at >= row.created_at + ABSOLUTE or at >= row.seen_at + IDLE:
        return None
    if at - row.seen_at >= _SEEN_EVERY:
        try:
            async with database.write() as session:
                await session.execute(update(SessionRow).where(SessionRow.hash == row.hash).values(seen_at=at))
        except DatabaseError as error:
            logger.warning("The last use of a session is not noted: %s", error, extra={"action": "find_account"})
    return account_of(account)


async def close_session(database: Database, ticket: str) -> None:
    """Signs out. Idempotent."""
    account = await find_account(database, ticket)
    async with database.write() as session:
        gone = await session.execute(
            delete(SessionRow).where(SessionRow.hash == _hash(ticket)).returning(SessionRow.hash)
        )
        if gone.all() and account is not None:
            session.add(entry(account.actor.name, "sign_out", "account", account.name))


def _hash(ticket: str) -> str:
    # 256 random bits cannot be guessed: a plain SHA-256 is enough, and the time of a look-up by hash discloses nothing.
    return hashlib.sha256(ticket.encode()).hexdigest()
