"""Tokens: the credentials of programs. A token is shown once, when it is made; the database keeps its hash.

`ntf_<id>_<secret>`: the id is public and finds the row, the secret is 256 random bits. A plain SHA-256 is enough for that: a
slow hash slows down guessing, and 256 random bits cannot be guessed.
"""

import hashlib
import hmac
import logging
import re  # for our own constant pattern
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property

from sqlalchemy import and_, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from control_api.access.actor import COMMAND_LINE, MAX_ACTOR, SCOPES, Actor, Scope, check_team
from control_api.access.entry import entry
from control_api.access.teams import seen_of
from control_api.look_up import LookUp
from control_api.migrate import upgraded
from control_api.models import DefinitionRow, TokenRow
from control_api.page_query import PageQuery, close_cursor, open_cursor
from notifier.database import Database
from notifier.errors import DatabaseError, FieldError, Forbidden, InputError, UnknownName
from notifier.record import JsonObject, now, rfc3339
from notifier.settings import Settings

logger = logging.getLogger(__name__)

PREFIX = "ntf"
_TEXT = re.compile(rf"{PREFIX}_([0-9a-f]{{16}})_([A-Za-z0-9_-]{{43}})")
_USED_EVERY = timedelta(minutes=10)  # resolution of `last_used_at`: a write for each request would be expensive


@dataclass(frozen=True, kw_only=True)
class Token:
    """A token without its secret."""

    id: str
    name: str
    scopes: tuple[Scope, ...]
    created_at: datetime
    team: str | None = None
    producer: str | None = None  # whose messages alone it hands over; none: those of every producer
    created_by: str | None = None
    expires_at: datetime | None = None  # none: never
    last_used_at: datetime | None = None  # to ten minutes
    revoked_at: datetime | None = None

    @cached_property
    def actor(self) -> Actor:
        """The token as an actor. Its name holds the id, since two tokens may have the same name; a long one is cut."""
        name = f"token {self.id} ({self.name})"[:MAX_ACTOR]
        return Actor(name, frozenset(self.scopes), self.team, producer=self.producer)


@dataclass(frozen=True, kw_only=True)
class NewToken:
    """What a token is made of, not yet checked."""

    name: str
    scopes: Sequence[str] = ()
    expires_at: datetime | None = None
    team: str | None = None  # none: the maker's
    producer: str | None = None  # the only one that it is for; such a token has the scope `push`, and no other

    @property
    def wanted(self) -> Sequence[str]:
        """The scopes; that of a producer's token need not be written."""
        return self.scopes or (() if self.producer is None else ("push",))


@dataclass(slots=True)
class Known:
    """A token as `authenticate` knows it."""

    token: Token
    hash: str
    used_at: datetime | None  # noted last


async def mint(session: AsyncSession, actor: Actor, new: NewToken) -> tuple[Token, str]:
    """Makes a token within the caller's transaction, of the actor's team unless it is given.

    Returns it and its text, which cannot be read again later. Raises Forbidden for a scope that the actor has not, OtherTeam,
    and InputError for what does not fit.
    """
    at = now()
    errors = [*_faults(new, at), *await _producer_faults(session, actor, new)]
    if errors:
        raise InputError(errors)
    name, expires_at = new.name, new.expires_at
    wanted: tuple[Scope, ...] = tuple(scope for scope in SCOPES if scope in new.wanted)
    for scope in wanted:
        if not actor.may(scope):
            raise Forbidden(scope, f"making a token with the scope {scope!r}")
    team = check_team(actor, f"the token {name!r}", new.team)
    id_, secret = secrets.token_hex(8), secrets.token_urlsafe(32)
    text = f"{PREFIX}_{id_}_{secret}"
    token = Token(
        id=id_,
        name=name,
        scopes=wanted,
        team=team,
        producer=new.producer,
        created_at=at,
        created_by=actor.name,
        expires_at=expires_at,
    )
    session.add(
        TokenRow(
            id=id_,
            name=name,
            hash=_hash(text),
            scopes=list(wanted),
            team=team,
            producer=new.producer,
            created_at=at,
            created_by=actor.name,
            expires_at=expires_at,
        )
    )
    bounds = {"team": team, "producer": new.producer}
    after = {"name": name, "scopes": list(wanted)} | {key: value for key, value in bounds.items() if value is not None}
    session.add(entry(actor.name, "create_token", "token", token.id, after=after))
    return token, text


def _faults(new: NewToken, at: datetime) -> list[FieldError]:
    name, scopes, expires_at = new.name, new.wanted, new.expires_at
    errors = []
    if not name.strip() or len(name) > 200 or not name.isprintable():
        errors.append(FieldError("/name", "must be 1 to 200 printable characters"))
    errors += [
        FieldError(f"/scopes/{position}", f"there is no scope {scope!r} (known: {', '.join(SCOPES)})")
        for position, scope in enumerate(scopes)
        if scope not in SCOPES
    ]
    if not scopes:
        errors.append(FieldError("/scopes", f"needs at least one of {', '.join(SCOPES)}"))
    if new.producer is not None and set(scopes) - {"push"}:
        errors.append(FieldError("/scopes", "a token that is bound to a producer has the scope push and no other"))
    if expires_at is not None and expires_at.tzinfo is None:
        errors.append(FieldError("/expires_at", "needs a zone, for instance 2027-01-31T00:00:00Z"))
    elif expires_at is not None and expires_at <= at:
        errors.append(FieldError("/expires_at", "must be in the future"))
    return errors


async def _producer_faults(session: AsyncSession, actor: Actor, new: NewToken) -> list[FieldError]:
    """A name that is mistyped would make a token that is good for nothing, and nobody would be told why."""
    if new.producer is None:
        return []
    query = select(DefinitionRow.team).where(DefinitionRow.kind == "producer", DefinitionRow.name == new.producer)
    found = (await session.execute(query)).first()
    if found is not None and actor.sees(found[0]):
        return []
    return [FieldError("/producer", f"there is no producer {new.producer!r}; define it first")]


def known_tokens(database: Database) -> LookUp[str, Known]:
    """Tokens by id, for `authenticate`."""

    async def fetch(ids: list[str]) -> dict[str, Known]:
        async with database.read() as session:
            rows = (await session.scalars(select(TokenRow).where(TokenRow.id.in_(ids)))).all()
        return {row.id: Known(_token(row), row.hash, row.last_used_at) for row in rows}

    return LookUp(fetch)


async def authenticate(database: Database, known: LookUp[str, Known], text: str) -> Token | None:
    """The token of that text, unless it is expired or revoked, which other processes may have done within `KEPT_S`."""
    found = _TEXT.fullmatch(text)
    if found is None:
        return None
    one = await known.get(found[1])
    # Compared also where there is no such token, so that the time of an answer does not tell which ids exist.
    same = hmac.compare_digest(_hash(text), one.hash if one is not None else "0" * 64)
    if one is None or not same:
        return None
    at, token = now(), one.token
    if token.revoked_at is not None or (token.expires_at is not None and token.expires_at <= at):
        return None
    if one.used_at is None or at - one.used_at >= _USED_EVERY:
        one.used_at = at  # for those who share it: one of them notes it
        await _note_use(database, token.id, at)
    return token


async def _note_use(database: Database, id_: str, at: datetime) -> None:
    try:
        async with database.write() as session:
            await session.execute(update(TokenRow).where(TokenRow.id == id_).values(last_used_at=at))
    except DatabaseError as error:
        logger.warning("The last use of a token is not noted: %s", error, extra={"action": "authenticate"})


async def tokens(session: AsyncSession, actor: Actor = COMMAND_LINE) -> list[Token]:
    """All tokens that the actor sees, revoked and expired ones too, the newest first."""
    rows = await session.scalars(select(TokenRow).order_by(TokenRow.created_at.desc(), TokenRow.id))
    return [_token(row) for row in rows if actor.sees(row.team)]


async def token_page(
    session: AsyncSession, query: PageQuery, actor: Actor = COMMAND_LINE
) -> tuple[list[Token], str | None]:
    """A page of `tokens`, and the cursor of the next. Raises InputError for a cursor that no list answered."""
    statement = select(TokenRow).where(*seen_of(actor, TokenRow)).order_by(TokenRow.created_at.desc(), TokenRow.id)
    if query.cursor is not None:
        created_at, id_ = _place(query.cursor)
        older = TokenRow.created_at < created_at
        statement = statement.where(or_(older, and_(TokenRow.created_at == created_at, TokenRow.id > id_)))
    rows = list(await session.scalars(statement.limit(query.limit + 1)))
    found = [_token(row) for row in rows[: query.limit]]
    more = len(rows) > len(found)
    return found, close_cursor(f"{rfc3339(found[-1].created_at)} {found[-1].id}") if more else None


def _place(cursor: str) -> tuple[datetime, str]:
    created_at, _, id_ = open_cursor(cursor).partition(" ")
    try:
        time = datetime.fromisoformat(created_at)
        rfc3339(time)  # raises for one without a zone
    except ValueError:
        raise InputError(FieldError("/cursor", "is not one that a list answered; begin without a cursor")) from None
    return time, id_


def shown(token: Token) -> JsonObject:
    """A token as the APIs answer it, without its text."""
    times = {
        name: None if (at := getattr(token, name)) is None else rfc3339(at)
        for name in ("created_at", "expires_at", "last_used_at", "revoked_at")
    }
    about = {
        "id": token.id,
        "name": token.name,
        "scopes": list(token.scopes),
        "team": token.team,
        "producer": token.producer,
    }
    return {**about, "created_by": token.created_by, **times}


async def get_token(session: AsyncSession, id_: str, actor: Actor = COMMAND_LINE) -> Token:
    """One token. Raises UnknownName, also where the actor does not see it."""
    row = await session.get(TokenRow, id_)
    if row is None or not actor.sees(row.team):
        raise UnknownName("token", id_)
    return _token(row)


async def made_by(session: AsyncSession, maker: str) -> list[Token]:
    """The tokens that still work and were made by an actor of that name, or by a token that it made, the newest first."""
    found: dict[str, Token] = {}
    makers = [maker]
    while makers:
        rows = await session.scalars(select(TokenRow).where(TokenRow.created_by.in_(makers)))
        made = [_token(row) for row in rows if row.id not in found]
        found |= {token.id: token for token in made}
        makers = [token.actor.name for token in made]  # of one that is revoked too: those that it made are not
    at = now()
    alive = [
        one for one in found.values() if one.revoked_at is None and (one.expires_at is None or one.expires_at > at)
    ]
    return sorted(alive, key=lambda token: token.created_at, reverse=True)


async def revoke(session: AsyncSession, actor: Actor, name: str) -> int:
    """Revokes the token of that id, or every token of that name; returns how many. Idempotent.

    Raises UnknownName and OtherTeam.
    """
    rows = (await session.scalars(select(TokenRow).where(or_(TokenRow.id == name, TokenRow.name == name)))).all()
    if not rows:
        raise UnknownName("token", name)
    for row in rows:
        actor.require_own(row.team, f"the token {row.id} ({row.name})")
    alive = [row for row in rows if row.revoked_at is None]
    for row in alive:
        row.revoked_at = now()
        gone = {"name": row.name, "scopes": row.scopes}
        session.add(entry(actor.name, "revoke_token", "token", row.id, before=gone))
    return len(alive)


# --- for the command line, without an API ---


async def create_token(
    settings: Settings,
    *,
    name: str,
    scopes: Sequence[str],
    expires_at: datetime | None = None,
    team: str | None = None,
    producer: str | None = None,
) -> str:
    """Makes a token and returns its text. Raises as `mint` does, and DatabaseError."""
    new = NewToken(name=name, scopes=scopes, expires_at=expires_at, team=team, producer=producer)
    async with upgraded(settings) as database, database.write() as session:
        _, text = await mint(session, COMMAND_LINE, new)
    return text


async def list_tokens(settings: Settings) -> list[Token]:
    """All tokens, the newest first. Raises DatabaseError."""
    async with upgraded(settings) as database, database.read() as session:
        return await tokens(session)


async def revoke_token(settings: Settings, name: str) -> int:
    """Revokes the token of that id or every token of that name; returns how many. Raises UnknownName and DatabaseError."""
    async with upgraded(settings) as database, database.write() as session:
        return await revoke(session, COMMAND_LINE, name)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _token(row: TokenRow) -> Token:
    return Token(
        id=row.id,
        name=row.name,
        scopes=tuple(scope for scope in SCOPES if scope in row.scopes),
        team=row.team,
        producer=row.producer,
        created_at=row.created_at,
        created_by=row.created_by,
        expires_at=row.expires_at,
        last_used_at=row.last_used_at,
        revoked_at=row.revoked_at,
    )
