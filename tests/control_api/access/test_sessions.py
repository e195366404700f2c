"""Sessions: how long one lasts, and what ends it."""

import hashlib
from datetime import timedelta

import pytest
from sqlalchemy import delete, func, select, update

from control_api.access import accounts
from control_api.access.actor import COMMAND_LINE, ROLES
from control_api.access.sessions import ABSOLUTE, IDLE, close_session, find_account, open_session
from control_api.models import AccountRow, AuditRow, SessionRow
from control_api.retention import prune
from notifier.database import Database
from notifier.record import now
from notifier.settings import Settings
from tests.rigs.console_server import PASSWORD

pytest_plugins = ["tests.rigs.databases"]


async def _account(database: Database, name: str = "ada") -> accounts.Account:
    async with database.write() as session:
        return await accounts.add(session, COMMAND_LINE, name, PASSWORD, "editor")


async def test_a_session_lasts_until_it_is_closed_and_is_kept_as_a_hash(store: Database) -> None:
    account = await _account(store)
    ticket = await open_session(store, account)
    other = await open_session(store, account)
    assert ticket is not None
    assert other is not None
    assert len(ticket) == 43  # 256 bits
    found = await find_account(store, ticket)
    assert found == account
    assert await find_account(store, ticket[:-1]) is None
    assert await find_account(store, "") is None
    async with store.read() as session:
        hashes = list(await session.scalars(select(SessionRow.hash)))
    assert hashlib.sha256(ticket.encode()).hexdigest() in hashes
    await close_session(store, ticket)
    await close_session(store, ticket)
    assert await find_account(store, ticket) is None
    assert await find_account(store, other) == account
    async with store.read() as session:
        rows = await session.scalars(select(AuditRow).where(AuditRow.action.like("sign%")).order_by(AuditRow.id))
        audit = [(row.action, row.actor, row.kind, row.name) for row in rows]
    mine = "account ada", "account", "ada"
    assert audit == [("sign_in", *mine), ("sign_in", *mine), ("sign_out", *mine)]


@pytest.mark.parametrize(
    ("created", "seen", "alive"),
    [
        (timedelta(0), timedelta(0), True),
        (IDLE, IDLE - timedelta(minutes=1), True),
        (IDLE, IDLE, False),
        (ABSOLUTE - timedelta(minutes=1), timedelta(0), True),
        (ABSOLUTE, timedelta(0), False),
    ],
)
async def test_a_session_ends_when_idle_and_after_a_week(
    store: Database, created: timedelta, seen: timedelta, alive: bool
) -> None:
    ticket = await open_session(store, await _account(store))
    assert ticket is not None
    at = now()
    async with store.write() as session:
        await session.execute(update(SessionRow).values(created_at=at - created, seen_at=at - seen))
    assert (await find_account(store, ticket) is not None) is alive
    async with store.read() as session:
        seen_at = await session.scalar(select(SessionRow.seen_at))
    assert seen_at is not None
    assert (seen_at >= at - timedelta(minutes=10)) is (alive or seen < timedelta(minutes=10))  # use prolongs it


async def test_a_changed_password_ends_every_session_of_the_account(store: Database) -> None:
    ada, eve = await _account(store), await _account(store, "eve")
    mine, others = await open_session(store, ada), await open_session(store, eve)
    assert mine is not None
    assert others is not None
    async with store.write() as session:
        await accounts.change(session, COMMAND_LINE, "ada", password="another long password")
    assert await find_account(store, mine) is None
    assert await find_account(store, others) == eve
    # Somebody whose old password was right a moment before the change is not let in after it.
    assert await open_session(store, ada) is None


async def test_the_account_is_the_one_of_this_moment(store: Database) -> None:
    ticket = await open_session(store, await _account(store))
    assert ticket is not None
    async with store.write() as session:
        await session.execute(update(AccountRow).values(role="viewer"))
    account = await find_account(store, ticket)
    assert account is not None
    assert account.actor.scopes == ROLES["viewer"]
    async with store.write() as session:
        await session.execute(delete(AccountRow))
    assert await find_account(store, ticket) is None


async def test_old_sessions_are_forgotten(store: Database, store_settings: Settings) -> None:
    account = await _account(store)
    await open_session(store, account)
    async with store.write() as session:
        await session.execute(update(SessionRow).values(created_at=now() - ABSOLUTE - timedelta(minutes=1)))
    await open_session(store, account)
    assert await prune(store, store_settings) == 1
    async with store.read() as session:
        assert await session.scalar(select(func.count()).select_from(SessionRow)) == 1
