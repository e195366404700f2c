"""`notifier user`: what is done for one person."""

import asyncio
import json

import click

from notifier_cli.environment import read_settings


@click.group()
def user() -> None:
    """Link people to their chats."""


@user.command()
@click.argument("username")
@click.option("--json", "as_json", is_flag=True, help="Print what POST /api/v1/users/{username}/link answers.")
def link(username: str, as_json: bool) -> None:
    """Make a code that links a user to a chat: whoever sends it to the bot within a day is reached there.

    It works once, with any consumer that has `listen: true`. Works with or without a running API; the link itself needs one.

    \b
    notifier user link alice
    """
    settings = read_settings()
    from control_api.wishes.command import link_command

    found = asyncio.run(link_command(settings, username)).answer()
    if as_json:
        click.echo(json.dumps(found, ensure_ascii=False, indent=2))
        return
    click.echo(f"{found['command']}")
    click.echo(
        f"{found['username']} sends this to the bot of {' or '.join(found['consumers'])} before {found['expires_at']}",
        err=True,
    )
