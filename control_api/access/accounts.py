"""Accounts: who signs in to the console. Passwords are kept as Argon2id hashes, which are slow on purpose."""

import asyncio
import secrets
from dataclasses import dataclass
from datetime import datetime
from typing import cast

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import delete, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from control_api.access.actor import COMMAND_LINE, ROLES, Actor, Role
from control_api.migrate import upgraded
from control_api.models import AccountRow, AuditRow, SessionRow, TokenRow
from notifier.database import Database
from notifier.definition import check_name
from notifier.errors import Duplicate, FieldError, InputError, UnknownName
from notifier.folded import composed
from notifier.record import JsonObject, now
from notifier.settings import Settings, variable

ADMIN = "admin"
MIN_PASSWORD, MAX_PASSWORD = 12, 1024  # characters

_hasher = PasswordHasher()  # Argon2id with the parameters of RFC 9106's second recommendation
# The hash that is verified where there is no such account, so that the time of an answer does not tell which exist.
_NOBODY = "$argon2id$v=19$m=65536,t=3,p=4$c29tZXNhbHRzb21lc2FsdA$UCpkBVwyZ0jAnGZpQVYvyBnWNvOFAnT7yMpcoYDnHUc"


@dataclass(frozen=True, kw_only=True)
class Account:
    """An account without its password hash."""

    name: str
    role: Role
    created_at: datetime
    updated_at: datetime  # of the password

    @property
    def actor(self) -> Actor:
        """The account as an actor, with the scopes of its role."""
        return Actor(f"account {self.name}", ROLES[self.role])


async def add(session: AsyncSession, actor: Actor, name: str, password: str, role: str) -> Account:
    """Adds an account within the caller's transaction. Raises InputError and Duplicate."""
    name = check_name("user", name)
    if role not in ROLES:
        raise InputError(FieldError("/role", f"must be one of {', '.join(ROLES)}; got {role!r}"))
    _check_password(name, password)
    if await session.get(AccountRow, name) is not None:
        raise Duplicate(f"there is an account {name!r} already")
    at = now()
    hashed = await asyncio.to_thread(_hasher.hash, password)
    session.add(AccountRow(name=name, password_hash=hashed, role=role, created_at=at, updated_at=at))
    try:
        await session.flush()
    except IntegrityError:
        raise Duplicate(f"there is an account {name!r} already") from None
    _audit(session, actor, "create_account", name, {"role": role})
    return Account(name=name, role=role, created_at=at, updated_at=at)


async def change_password(session: AsyncSession, actor: Actor, name: str, password: str) -> None:
    """Changes a password within the caller's transaction, and signs the account out everywhere.

    Raises UnknownName and InputError.
    """
    row = await _find(session, name)
    if row is None:
        raise UnknownName("account", name)
    name = row.name
    _check_password(name, password)
    row.password_hash = await asyncio.to_thread(_hasher.hash, password)
    row.updated_at = now()
    await session.execute(delete(SessionRow).where(SessionRow.account == name))
    _audit(session, actor, "change_password", name, None)


async def verify(database: Database, name: str, password: str) -> Account | None:
    """The account, if the password is right. Takes the same time for an account that does not exist."""
    async with database.read() as session:
        # PostgreSQL answers a NUL in a text with an error.
        row = await _find(session, name) if "\0" not in name else None
    hashed = row.password_hash if row is not None else _NOBODY
    same = await asyncio.to_thread(_verify, hashed, password[: MAX_PASSWORD + 1])
    if row is None or not same:
        return None
    return account_of(row)


def account_of(row: AccountRow) -> Account:
    """The account of a row."""
    role = cast("Role", row.role)
    return Account(name=row.name, role=role, created_at=row.created_at, updated_at=row.updated_at)


async def anybody(database: Database) -> bool:
    """Whether there is an account, or a token that is neither expired nor revoked."""
    async with database.read() as session:
        accounts = await session.scalar(select(func.count()).select_from(AccountRow))
        tokens = await session.scalar(
            select(func.count())
            .select_from(TokenRow)
            .where(TokenRow.revoked_at.is_(None), TokenRow.expires_at.is_(None) | (TokenRow.expires_at > now()))
        )
    return bool(accounts or tokens)


# --- for the command line, without an API ---


async def add_account(settings: Settings, *, name: str, password: str, role: str) -> None:
    """Adds an account. Raises InputError, Duplicate and DatabaseError."""
    async with upgraded(settings) as database, database.write() as session:
        await add(session, COMMAND_LINE, name, password, role)


async def set_password(settings: Settings, *, name: str, password: str) -> None:
    """Changes the password of an account. Raises UnknownName, InputError and DatabaseError."""
    async with upgraded(settings) as database, database.write() as session:
        await change_password(session, COMMAND_LINE, name, password)


async def ensure_admin(settings: Settings) -> str | None:
    """Makes the account `admin` if there is no account at all. Returns its password if that was generated, else None.

    NOTIFIER_ADMIN_PASSWORD sets the password. Raises InputError for one that does not fit, and DatabaseError.
    """
    async with upgraded(settings) as database, database.write() as session:
        if await session.scalar(select(func.count()).select_from(AccountRow)):
            return None
        given = settings.admin_password.get_secret_value() if settings.admin_password is not None else None
        password = given or secrets.token_urlsafe(15)
        try:
            await add(session, COMMAND_LINE, ADMIN, password, "admin")
        except Duplicate:
            return None  # another process was quicker
        except InputError as error:
            raise InputError(error.errors, variable("admin_password")) from None
        return None if given else password


async def _find(session: AsyncSession, name: str) -> AccountRow | None:
    """The account of that name, which another system may have written in another Unicode form."""
    return await session.get(AccountRow, name) or await session.get(AccountRow, composed(name))


def _check_password(name: str, password: str) -> None:
    if not MIN_PASSWORD <= len(password) <= MAX_PASSWORD:
        raise InputError(FieldError("/password", f"must have {MIN_PASSWORD} to {MAX_PASSWORD} characters"))
    if password.casefold() == name.casefold():
        raise InputError(FieldError("/password", "must not be the name"))


def _verify(hashed: str, password: str) -> bool:
    try:
        return _hasher.verify(hashed, password)
    except (VerificationError, InvalidHashError):
        return False


def _audit(session: AsyncSession, actor: Actor, action: str, name: str, after: JsonObject | None) -> None:
    session.add(
        AuditRow(at=now(), actor=actor.name[:200], action=action, kind="account", name=name, before=None, after=after)
    )
