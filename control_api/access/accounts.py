"""Accounts: who signs in to the console. Passwords are kept as Argon2id hashes, which are slow on purpose."""

import asyncio
import secrets
from dataclasses import dataclass
from datetime import datetime
from typing import cast

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import delete, func, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from control_api.access.actor import COMMAND_LINE, ROLES, Actor, Role, check_team
from control_api.access.entry import entry
from control_api.access.teams import seen_of
from control_api.access.tokens import Token, made_by, revoke
from control_api.migrate import upgraded
from control_api.models import AccountRow, SessionRow, TokenRow
from control_api.page_query import close_cursor, open_cursor
from notifier.database import Database
from notifier.definition import check_name, is_username
from notifier.errors import Conflict, Duplicate, FieldError, InputError, UnknownName
from notifier.folded import composed
from notifier.record import JsonObject, now
from notifier.settings import Settings, variable

ADMIN = "admin"
KEPT = ""  # the team stays as it is; no team is called so
MIN_PASSWORD, MAX_PASSWORD = 12, 1024  # characters

_LOCK = 7_306_874_210_003  # PostgreSQL's advisory lock of those who change accounts

_hasher = PasswordHasher()  # Argon2id with the parameters of RFC 9106's second recommendation
# The hash that is verified where there is no such account, so that the time of an answer does not tell which exist.
_NOBODY = "$argon2id$v=19$m=65536,t=3,p=4$c29tZXNhbHRzb21lc2FsdA$UCpkBVwyZ0jAnGZpQVYvyBnWNvOFAnT7yMpcoYDnHUc"


@dataclass(frozen=True, kw_only=True)
class Account:
    """An account without its password hash."""

    name: str
    role: Role
    team: str | None = None
    created_at: datetime
    updated_at: datetime  # of the password, the role or the team

    @property
    def actor(self) -> Actor:
        """The account as an actor, with the scopes of its role."""
        return Actor(f"account {self.name}", ROLES[self.role], self.team)


async def add(
    session: AsyncSession, actor: Actor, name: str, password: str, role: str, team: str | None = None
) -> Account:
    """Adds an account within the caller's transaction, of the actor's team unless it is given.

    Raises InputError, Duplicate and OtherTeam.
    """
    name = _check_name(name)
    known = _check_role(role)
    team = check_team(actor, f"the account {name!r}", team)
    _check_password(name, password)
    if await session.get(AccountRow, name) is not None:
        raise Duplicate(f"there is an account {name!r} already")
    at = now()
    hashed = await asyncio.to_thread(_hasher.hash, password)
    session.add(AccountRow(name=name, password_hash=hashed, role=role, team=team, created_at=at, updated_at=at))
    try:
        await session.flush()
    except IntegrityError:
        raise Duplicate(f"there is an account {name!r} already") from None
    session.add(entry(actor.name, "create_account", "account", name, after=_about(known, team)))
    return Account(name=name, role=known, team=team, created_at=at, updated_at=at)


async def change(
    session: AsyncSession,
    actor: Actor,
    name: str,
    *,
    password: str | None = None,
    role: str | None = None,
    team: str | None = KEPT,
) -> Account:
    """Changes what is given within the caller's transaction, and signs the account out everywhere.

    The role and the team that it has already are no change. Raises UnknownName, InputError, OtherTeam, and Conflict where no
    admin would be left.
    """
    await _lock(session)
    row = await _get(session, name, actor)
    actor.require_own(row.team, f"the account {row.name!r}")
    if role is not None:
        _check_role(role)
    if password is not None:
        _check_password(row.name, password)
        row.password_hash = await asyncio.to_thread(_hasher.hash, password)
        session.add(entry(actor.name, "change_password", "account", row.name))
    given: dict[str, str | None] = {} if role is None else {"role": role}
    if team != KEPT:
        given["team"] = check_team(actor, f"the account {row.name!r}", team)
    changed = {field: value for field, value in given.items() if value != getattr(row, field)}
    if changed:
        await _keep_an_admin(session, row)
    elif password is None:
        return account_of(row)
    for field, value in changed.items():
        said = {"before": {field: getattr(row, field)}, "after": {field: value}}
        session.add(entry(actor.name, f"change_{field}", "account", row.name, **said))
        setattr(row, field, value)
    row.updated_at = now()
    await session.execute(delete(SessionRow).where(SessionRow.account == row.name))
    return account_of(row)


async def remove(session: AsyncSession, actor: Actor, name: str) -> None:
    """Removes an account within the caller's transaction; its sessions end. Raises UnknownName, OtherTeam and Conflict."""
    await _lock(session)
    row = await _get(session, name, actor)
    actor.require_own(row.team, f"the account {row.name!r}")
    await _keep_an_admin(session, row)
    await session.execute(delete(SessionRow).where(SessionRow.account == row.name))
    await session.delete(row)
    session.add(entry(actor.name, "remove_account", "account", row.name, before=_about(row.role, row.team)))


async def accounts(
    session: AsyncSession, actor: Actor, limit: int, cursor: str | None = None
) -> tuple[list[Account], str | None]:
    """Accounts that the actor sees by name, and the cursor of the next page. Raises InputError for a cursor that is none."""
    query = select(AccountRow).where(*seen_of(actor, AccountRow)).order_by(AccountRow.name).limit(limit + 1)
    if cursor is not None:
        query = query.where(AccountRow.name > open_cursor(cursor))
    found = [account_of(row) for row in await session.scalars(query)]
    return found[:limit], close_cursor(found[limit - 1].name) if len(found) > limit else None


async def get_account(session: AsyncSession, actor: Actor, name: str) -> Account:
    """One account. Raises UnknownName, also where the actor does not see it."""
    return account_of(await _get(session, name, actor))


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
    return Account(name=row.name, role=role, team=row.team, created_at=row.created_at, updated_at=row.updated_at)


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


async def add_account(settings: Settings, *, name: str, password: str, role: str, team: str | None = None) -> None:
    """Adds an account. Raises InputError, Duplicate and DatabaseError."""
    async with upgraded(settings) as database, database.write() as session:
        await add(session, COMMAND_LINE, name, password, role, team)


async def set_password(settings: Settings, *, name: str, password: str) -> None:
    """Changes the password of an account. Raises UnknownName, InputError and DatabaseError."""
    async with upgraded(settings) as database, database.write() as session:
        await change(session, COMMAND_LINE, name, password=password)


async def set_role(settings: Settings, *, name: str, role: str) -> list[Token]:
    """Changes the role of an account; answers the tokens that it made and that may more than the role.

    Raises as `change` does, and DatabaseError.
    """
    async with upgraded(settings) as database, database.write() as session:
        changed = await change(session, COMMAND_LINE, name, role=role)
        made = await made_by(session, changed.actor.name)
        return [token for token in made if not changed.actor.scopes.issuperset(token.scopes)]


async def set_team(settings: Settings, *, name: str, team: str | None) -> None:
    """Gives an account to a team, or to none. Raises as `change` does, and DatabaseError."""
    async with upgraded(settings) as database, database.write() as session:
        await change(session, COMMAND_LINE, name, team=team)


async def remove_account(settings: Settings, name: str, *, revoke_tokens: bool = False) -> list[Token]:
    """Removes an account; answers the tokens that it made, which still work unless they are revoked.

    Raises as `remove` does, and DatabaseError.
    """
    async with upgraded(settings) as database, database.write() as session:
        actor = (await get_account(session, COMMAND_LINE, name)).actor
        await remove(session, COMMAND_LINE, name)
        made = await made_by(session, actor.name)
        for token in made if revoke_tokens else ():
            await revoke(session, COMMAND_LINE, token.id)
        return made


async def list_accounts(settings: Settings) -> list[Account]:
    """All accounts by name. Raises DatabaseError."""
    async with upgraded(settings) as database, database.read() as session:
        return [account_of(row) for row in await session.scalars(select(AccountRow).order_by(AccountRow.name))]


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


async def _lock(session: AsyncSession) -> None:
    """Makes this transaction the only one that changes accounts, so that two together do not take the last two admins away."""
    if session.get_bind().dialect.name == "postgresql":  # SQLite has one writer at a time anyway
        await session.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})


async def _keep_an_admin(session: AsyncSession, row: AccountRow) -> None:
    """Raises Conflict where the account is the last one that is admin, or the last one of no team that is.

    An admin of a team does not stand for that: it may neither touch what others have nor move it.
    """
    others = select(AccountRow.team).where(AccountRow.role == "admin", AccountRow.name != row.name)
    teams = set(await session.scalars(others)) if row.role == "admin" else {None}
    if not teams or (row.team is None and None not in teams):
        which = "admin without team" if teams else "admin"
        raise Conflict(f"the account {row.name!r} is the last {which}; make another account {which} first")


async def _get(session: AsyncSession, name: str, actor: Actor) -> AccountRow:
    row = await _find(session, name) if is_username(name) else None  # PostgreSQL answers a NUL with an error
    if row is None or not actor.sees(row.team):
        raise UnknownName("account", name)
    return row


async def _find(session: AsyncSession, name: str) -> AccountRow | None:
    """The account of that name, which another system may have written in another Unicode form."""
    return await session.get(AccountRow, name) or await session.get(AccountRow, composed(name))


def _about(role: str, team: str | None) -> JsonObject:
    return {"role": role} if team is None else {"role": role, "team": team}


def _check_name(name: str) -> str:
    try:
        return check_name("user", name)
    except InputError as error:  # a user's document calls it `username`
        raise InputError([FieldError("/name", fault.detail) for fault in error.errors]) from None


def _check_role(role: str) -> Role:
    if role not in ROLES:
        raise InputError(FieldError("/role", f"must be one of {', '.join(ROLES)}; got {role[:200]!r}"))
    return role


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
