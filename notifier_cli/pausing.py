"""`notifier pause` and `notifier resume`: a consumer's deliveries, or a producer's source, wait and go on. No API need run."""

import asyncio
from typing import TYPE_CHECKING

import click

from notifier_cli.environment import read_settings

if TYPE_CHECKING:
    from control_api.definitions.pausing import Paused

_WHOM = click.argument("whom", nargs=-1, required=True, metavar="[producer] NAME")


@click.command()
@_WHOM
@click.option("--reason", help="Why, for people: it stands in the status.")
def pause(whom: tuple[str, ...], reason: str | None) -> None:
    """Have a consumer's deliveries wait in order, until it is resumed: over restarts, and whatever is applied.

    Calls that are under way end. Of a producer nothing is read, and runs that are due wait.

    \b
    notifier pause team-chat --reason "moving to another chat"
    notifier pause producer builds
    notifier status
    notifier resume team-chat
    """
    kind, name = _kind_and_name(whom)
    settings = read_settings()
    from control_api.definitions.pausing import Pause, pausing_command
    from notifier.validation import validated

    query = validated(Pause, {"reason": reason})
    status = asyncio.run(pausing_command(settings, kind, name, paused=True, reason=query.reason))
    why = "" if status.detail is None else f": {status.detail}"
    resumed = " ".join(whom)
    click.echo(f"the {kind} {name} is paused by {status.by}{why}; `notifier resume {resumed}` has it go on")


@click.command()
@_WHOM
def resume(whom: tuple[str, ...]) -> None:
    """Have a consumer go on at once, whoever or whatever paused or disabled it; or a producer that was paused.

    Where a consumer's credential is refused still, or its service is down, it is paused again.
    """
    kind, name = _kind_and_name(whom)
    settings = read_settings()
    from control_api.definitions.pausing import pausing_command

    asyncio.run(pausing_command(settings, kind, name, paused=False))
    click.echo(f"the {kind} {name} goes on")


def _kind_and_name(whom: tuple[str, ...]) -> "tuple[Paused, str]":
    """Of `NAME`, which is a consumer, and of `producer NAME` and `consumer NAME`."""
    if len(whom) == 1:
        return "consumer", whom[0]
    if len(whom) == 2 and whom[0] == "producer":
        return "producer", whom[1]
    if len(whom) == 2 and whom[0] == "consumer":
        return "consumer", whom[1]
    raise click.UsageError("name one consumer, or a producer as `producer NAME`")
