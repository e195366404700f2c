"""`notifier token` and `notifier account`: access to the API. No API need run."""

import asyncio
import re  # for our own constant pattern
from datetime import timedelta
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from notifier.record import now
from notifier_cli.environment import read_settings

if TYPE_CHECKING:
    from control_api.access.tokens import Token

_UNITS = {"h": "hours", "d": "days", "w": "weeks"}


class _Duration(click.ParamType):
    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        if isinstance(value, timedelta):
            return value
        found = re.fullmatch(r"([1-9][0-9]{0,4})([hdw])", str(value))
        if found is None:
            self.fail(f"{value!r} is not a duration; write 12h, 90d or 4w", param, ctx)
        return timedelta(**{_UNITS[found[2]]: int(found[1])})


SCOPES = ("read", "write", "run", "push", "admin")


@click.group()
def token() -> None:
    """Tokens that programs call the API with. A token is shown once, when it is made; only its hash is kept."""


@token.command("create")
@click.option(
    "--name", help="What people call it, for instance the program that uses it. Default: that of its producer."
)
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice(SCOPES),
    help="What it may do; repeat it. Of a producer: push.",
)
@click.option("--expires", type=_Duration(), help="How long it is good for: 12h, 90d, 4w. Default: without end.")
@click.option("--team", help="Whose definitions it may change. Default: every team's.")
@click.option("--producer", help="The only producer whose messages it may hand over, by REST, hooks and mail.")
def create(
    name: str | None, scopes: tuple[str, ...], expires: timedelta | None, team: str | None, producer: str | None
) -> None:
    """Make a token and print it: only it, so that TOKEN=$(notifier token create …) works.

    \b
    read    look at everything but secrets     push   write messages and call hooks
    write   change definitions                 admin  scripts, tokens, accounts, and all of the above
    run     run configurations, redrive
    """
    if producer is None and (name is None or not scopes):
        missing = "--name" if name is None else "--scope"
        raise click.UsageError(f"Missing option '{missing}'; with --producer it need not be given.")
    settings = read_settings()
    from control_api.access.tokens import create_token

    until = None if expires is None else now() + expires
    called = producer if name is None else name
    making = create_token(settings, name=called or "", scopes=scopes, expires_at=until, team=team, producer=producer)
    click.echo(asyncio.run(making))


@token.command("list")
def list_() -> None:
    """List the tokens: name, scopes, when made, used and ended. Never the tokens themselves."""
    settings = read_settings()
    from control_api.access.tokens import list_tokens

    table = Table(box=None, pad_edge=False)
    for heading in ("id", "name", "scopes", "team", "producer", "created", "last used", "expires", "revoked"):
        table.add_column(heading)
    for one in asyncio.run(list_tokens(settings)):
        times = (one.created_at, one.last_used_at, one.expires_at, one.revoked_at)
        table.add_row(
            str(one.id),
            Text(one.name),  # as text: `[…]` would be markup
            " ".join(one.scopes),
            one.team or "-",
            one.producer or "-",
            *(f"{at:%Y-%m-%d %H:%M}" if at is not None else "-" for at in times),
        )
    _print(table)


@token.command("revoke")
@click.argument("name")
def revoke(name: str) -> None:
    """Revoke the token NAME (its name or its id), at once."""
    settings = read_settings()
    from control_api.access.tokens import revoke_token

    asyncio.run(revoke_token(settings, name))
    click.echo(f"revoked {name}", err=True)


ROLES = ("viewer", "editor", "admin")


@click.group()
def account() -> None:
    """Accounts that people sign in to the console with."""


@account.command("add")
@click.argument("name")
@click.option("--role", type=click.Choice(ROLES), default="viewer", show_default=True, help="What the person may do.")
@click.password_option(help="Asked for when it is not given.")
@click.option("--team", help="Whose definitions the person may change. Default: every team's.")
def add(name: str, role: str, password: str, team: str | None) -> None:
    """Add the account NAME."""
    settings = read_settings()
    from control_api.access.accounts import add_account

    asyncio.run(add_account(settings, name=name, password=password, role=role, team=team))
    click.echo(f"added {name} ({role})", err=True)


@account.command("password")
@click.argument("name")
@click.password_option(help="Asked for when it is not given.")
def password(name: str, password: str) -> None:
    """Change the password of the account NAME."""
    settings = read_settings()
    from control_api.access.accounts import set_password

    asyncio.run(set_password(settings, name=name, password=password))
    click.echo(f"changed the password of {name}", err=True)


@account.command("list")
def list_accounts() -> None:
    """List the accounts: name, role, team, when made and changed. Never passwords."""
    settings = read_settings()
    from control_api.access import accounts

    table = Table(box=None, pad_edge=False)
    for heading in ("name", "role", "team", "created", "changed"):
        table.add_column(heading)
    for one in asyncio.run(accounts.list_accounts(settings)):
        times = [f"{at:%Y-%m-%d %H:%M}" for at in (one.created_at, one.updated_at)]
        table.add_row(Text(one.name), one.role, one.team or "-", *times)
    _print(table)


@account.command("role")
@click.argument("name")
@click.argument("role", type=click.Choice(ROLES))
def role(name: str, role: str) -> None:
    """Give the account NAME the role ROLE; the person has to sign in again. The last admin stays admin."""
    settings = read_settings()
    from control_api.access.accounts import set_role

    left = asyncio.run(set_role(settings, name=name, role=role))
    click.echo(f"{name} is {role} now", err=True)
    _tell(left, f"made by {name} still work and may more than {role}")


@account.command("team")
@click.argument("name")
@click.argument("team", required=False)
def team(name: str, team: str | None) -> None:
    """Give the account NAME to the team TEAM, without one to none; the person has to sign in again."""
    settings = read_settings()
    from control_api.access.accounts import set_team

    asyncio.run(set_team(settings, name=name, team=team or None))
    click.echo(f"{name} is of {f'the team {team}' if team else 'no team'} now", err=True)


@account.command("remove")
@click.argument("name")
@click.option("--revoke-tokens", is_flag=True, help="Also revoke the tokens that it made, and those that they made.")
def remove(name: str, revoke_tokens: bool) -> None:
    """Remove the account NAME and end its sessions, at once. The last admin stays. Tokens that it made work on."""
    settings = read_settings()
    from control_api.access.accounts import remove_account

    made = asyncio.run(remove_account(settings, name, revoke_tokens=revoke_tokens))
    click.echo(f"removed {name}", err=True)
    if revoke_tokens:
        click.echo(f"revoked {len(made)} tokens made by {name}", err=True)
    else:
        _tell(made, f"made by {name} still work")


def _tell(tokens: "list[Token]", what: str) -> None:
    if tokens:
        click.echo(f"{len(tokens)} tokens {what}; end each with `notifier token revoke ID`:", err=True)
    for one in tokens:
        click.echo(f"{one.id} {one.name} ({' '.join(one.scopes)})", err=True)


def _print(table: Table) -> None:
    console = Console()
    (console if console.is_terminal else Console(width=240)).print(table)  # in a pipe a row is one line
