"""Accounts and their passwords."""

import pytest
from pydantic import SecretStr

from control_api.access import accounts
from notifier.database import Database
from notifier.errors import Duplicate, InputError, UnknownName
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
