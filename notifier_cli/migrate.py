"""`notifier migrate`: the database's migration as a step of its own, before a deployment starts its roles."""

import asyncio

import click

from notifier.settings import Settings
from notifier_cli.environment import read_settings


@click.command()
def migrate() -> None:
    """Bring the database up to date, and make the account `admin` where NOTIFIER_ADMIN_PASSWORD is set.

    `up`, `api` and `apply` do the same when they start; run it by itself before many of them start at once.
    """
    asyncio.run(_migrate(read_settings()))


async def _migrate(settings: Settings) -> None:
    from control_api.access.accounts import ensure_admin
    from control_api.migrate import upgrade
    from notifier.database import database_url

    await upgrade(settings)
    click.echo(f"{database_url(settings).render_as_string(hide_password=True)} is up to date", err=True)
    if settings.admin_password is not None:
        await ensure_admin(settings)
        click.echo("the account `admin` is there", err=True)
