"""`notifier pause` and `notifier resume`: a consumer's deliveries wait, and go on. No API need run."""

import asyncio

import click

from notifier_cli.environment import read_settings


@click.command()
@click.argument("consumer")
@click.option("--reason", help="Why, for people: it stands in the status.")
def pause(consumer: str, reason: str | None) -> None:
    """Have a consumer's deliveries wait in order, until it is resumed: over restarts, and whatever is applied.

    Calls that are under way end.

    \b
    notifier pause team-chat --reason "moving to another chat"
    notifier status
    notifier resume team-chat
    """
    settings = read_settings()
    from control_api.definitions.pausing import Pause, pausing_command
    from notifier.validation import validated

    query = validated(Pause, {"reason": reason})
    status = asyncio.run(pausing_command(settings, consumer, paused=True, reason=query.reason))
    why = "" if status.detail is None else f": {status.detail}"
    click.echo(f"the consumer {consumer} is paused by {status.by}{why}; `notifier resume {consumer}` has it go on")


@click.command()
@click.argument("consumer")
def resume(consumer: str) -> None:
    """Have a consumer go on at once, whoever or whatever paused or disabled it.

    Where its credential is refused still, or its service is down, it is paused again.
    """
    settings = read_settings()
    from control_api.definitions.pausing import pausing_command

    asyncio.run(pausing_command(settings, consumer, paused=False))
    click.echo(f"the consumer {consumer} goes on")
