"""Accounts and their passwords."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import select

from control_api.access import accounts, tokens
from control_api.access.actor import COMMAND_LINE
from control_api.access.sessions import find_account, open_session
from control_api.models import AuditRow
from notifier.database import Database
from notifier.errors import Conflict, Duplicate, InputError, UnknownName
from notifier.settings import Settings

pytest_plugins = ["tests.rigs.databases"]


async def test_the_first_admin_is_made_once(database_settings: Settings) -> None:
    password = await accounts.ensure_admin(database_settings)
    assert password is not None
    assert len(password) >= 16
    assert await accounts.ensure_admin(database_settings) is None
    database = Database(database_settings)
    admin = await accounts.verify(database, "admin", password)
    assert admin is not None
    assert admin.actor.may("admin")
    assert await accounts.verify(database, "admin", password + "x") is None
    assert await accounts.verify(database, "nobody", password) is None
    await accounts.add_account(database_settings, name="eve", password="correct horse battery", role="viewer")
    eve = await accounts.verify(database, "eve", "correct horse battery")
    assert eve is not None
    assert not eve.actor.may("write")
    with pytest.raises(Duplicate):
        await accounts.add_account(database_settings, name="eve", password="correct horse battery", role="viewer")
    with pytest.raises(InputError, match="12 to 1024"):
        await accounts.set_password(database_settings, name="eve", password="short")
    with pytest.raises(UnknownName):
        await accounts.set_password(database_settings, name="adam", password="correct horse battery")
    await accounts.set_password(database_settings, name="eve", password="another long password")
    assert await accounts.verify(database, "eve", "correct horse battery") is None
    assert await accounts.verify(database, "eve", "another long password") is not None
    await database.close()


@pytest.mark.slow_passwords
async def test_the_admins_password_may_be_given(settings: Settings) -> None:
    given = settings.model_copy(update={"admin_password": SecretStr("chosen by the person")})
    assert await accounts.ensure_admin(given) is None
    database = Database(given)
    assert await accounts.verify(database, "admin", "chosen by the person") is not None
    await database.close()
    short = settings.model_copy(update={"admin_password": SecretStr("short"), "data_dir": settings.data_dir / "other"})
    with pytest.raises(InputError, match="NOTIFIER_ADMIN_PASSWORD"):
        await accounts.ensure_admin(short)


PASSWORD = "correct horse battery"


async def _add(database: Database, **roles: str) -> None:
    async with database.write() as session:
        for name, role in roles.items():
            await accounts.add(session, COMMAND_LINE, name, PASSWORD, role)


async def _change(database: Database, name: str, **what: Any) -> accounts.Account:
    async with database.write() as session:
        return await accounts.change(session, COMMAND_LINE, name, **what)


async def _remove(database: Database, name: str) -> None:
    async with database.write() as session:
        await accounts.remove(session, COMMAND_LINE, name)


async def _demote(database: Database, name: str) -> None:
    await _change(database, name, role="editor")


async def _roles(database: Database) -> dict[str, str]:
    async with database.read() as session:
        return {account.name: account.role for account in (await accounts.accounts(session, COMMAND_LINE, 500))[0]}


@pytest.mark.parametrize("what", [{"password": "another long password"}, {"role": "viewer"}, None])
async def test_a_change_or_removal_ends_the_sessions_of_the_account_alone(
    store: Database, what: dict[str, Any] | None
) -> None:
    await _add(store, ada="editor", eve="editor", root="admin")
    tickets = {}
    for name in ("ada", "eve"):
        account = await accounts.verify(store, name, PASSWORD)
        assert account is not None
        tickets[name] = await open_session(store, account)
    if what is None:
        await _remove(store, "ada")
    else:
        await _change(store, "ada", **what)
    assert await find_account(store, tickets["ada"] or "") is None
    assert await find_account(store, tickets["eve"] or "") is not None


async def test_the_role_that_it_has_is_no_change(store: Database) -> None:
    await _add(store, ada="editor")
    account = await accounts.verify(store, "ada", PASSWORD)
    assert account is not None
    ticket = await open_session(store, account)
    assert await _change(store, "ada", role="editor") == account
    assert await _change(store, "ada") == account
    assert await find_account(store, ticket or "") is not None


@pytest.mark.parametrize("act", [_demote, _remove])
async def test_the_last_admin_stays(store: Database, act: Callable[[Database, str], Coroutine[Any, Any, None]]) -> None:
    await _add(store, ada="admin", eve="admin", bob="viewer")
    await act(store, "eve")
    with pytest.raises(Conflict, match="'ada' is the last admin"):
        await act(store, "ada")
    await _change(store, "ada", role="admin")
    await act(store, "bob")
    assert (await _roles(store))["ada"] == "admin"


async def test_of_two_who_take_the_last_admins_away_at_once_one_is_refused(store_settings: Settings) -> None:
    databases = [Database(store_settings) for _ in range(2)]
    store = databases[0]
    for turn in range(5):
        names = [f"a{turn}", f"b{turn}"]
        await _add(store, **dict.fromkeys(names, "admin"))
        for name, role in (await _roles(store)).items():
            if name not in names and role == "admin":
                await _remove(store, name)
        acts = (_demote, _remove) if turn % 2 else (_demote, _demote)
        done = await asyncio.gather(
            *(act(database, name) for act, database, name in zip(acts, databases, names, strict=True)),
            return_exceptions=True,
        )
        assert sorted(str(type(one)) for one in done) == sorted([str(type(None)), str(Conflict)])
        assert list((await _roles(store)).values()).count("admin") == 1
    for database in databases:
        await database.close()


async def test_accounts_come_by_name_page_by_page(store: Database) -> None:
    await _add(store, bob="viewer", ada="admin", eve="editor")
    async with store.read() as session:
        first, cursor = await accounts.accounts(session, COMMAND_LINE, 2)
        rest, end = await accounts.accounts(session, COMMAND_LINE, 2, cursor)
        with pytest.raises(InputError, match="/cursor"):
            await accounts.accounts(session, COMMAND_LINE, 2, "nul\0")
        with pytest.raises(UnknownName):
            await accounts.get_account(session, COMMAND_LINE, "nul\0")
    assert [account.name for account in [*first, *rest]] == ["ada", "bob", "eve"]
    assert end is None


async def test_what_happens_to_accounts_is_in_the_audit_log_without_passwords(store: Database) -> None:
    await _add(store, ada="admin", eve="viewer")
    await _change(store, "eve", role="editor", password="another long password")
    await _remove(store, "eve")
    with pytest.raises(Conflict):
        await _change(store, "ada", role="viewer", password="yet another password")
    async with store.read() as session:
        log = [
            (row.action, row.name, row.before, row.after)
            for row in await session.scalars(select(AuditRow).order_by(AuditRow.id))
        ]
    assert log == [
        ("create_account", "ada", None, {"role": "admin"}),
        ("create_account", "eve", None, {"role": "viewer"}),
        ("change_password", "eve", None, None),
        ("change_role", "eve", {"role": "viewer"}, {"role": "editor"}),
        ("remove_account", "eve", {"role": "editor"}, None),
    ]
    assert await accounts.verify(store, "ada", PASSWORD) is not None


async def test_the_tokens_of_an_account_that_is_removed_are_told_and_may_be_revoked(
    database_settings: Settings, database: Database
) -> None:
    await _add(database, root="admin", eve="admin", kay="admin")
    async with database.write() as session:
        for name in ("eve", "kay"):
            actor = (await accounts.get_account(session, COMMAND_LINE, name)).actor
            first, _ = await tokens.mint(session, actor, tokens.NewToken(name=f"{name} first", scopes=["admin"]))
            await tokens.mint(session, first.actor, tokens.NewToken(name=f"{name} second", scopes=["write"]))
            await tokens.revoke(session, COMMAND_LINE, first.id)
            await tokens.mint(session, actor, tokens.NewToken(name=f"{name} third", scopes=["read"]))
    left = await accounts.set_role(database_settings, name="eve", role="viewer")
    assert [token.name for token in left] == ["eve second"]
    assert await accounts.set_role(database_settings, name="eve", role="editor") == []
    left = await accounts.remove_account(database_settings, "eve")
    assert {token.name for token in left} == {"eve second", "eve third"}
    await accounts.remove_account(database_settings, "kay", revoke_tokens=True)
    async with database.read() as session:
        alive = {token.name for token in await tokens.tokens(session) if token.revoked_at is None}
    assert alive == {"eve second", "eve third"}
