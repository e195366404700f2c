"""`notifier status`: which roles work, what they cannot use and passed over, and how consumers, chats and sources are."""

import asyncio
from typing import TYPE_CHECKING

import click

from notifier.errors import BrokerError
from notifier.record import now, rfc3339
from notifier.settings import Settings
from notifier.status import CONSUMER, Status
from notifier_cli.environment import read_settings

if TYPE_CHECKING:
    from control_api.statuses import Statuses

LIMIT_S = 10.0


@click.command()
def status() -> int:
    """Show what the roles report: who works, who cannot go on and why, what they cannot use, which consumers are paused.

    Then the chats that have another number than their consumers say, and the producers whose sources fail or are silent.

    Exit 1 when a role cannot go on.

    A role that was killed is not listed once it was silent for a minute.
    """
    statuses = asyncio.run(read_statuses(read_settings()))
    found = statuses.present()
    for one in found:
        _show(one)
    if not found:
        click.echo("No role has reported within the last minute.")
    for one in statuses.paused():
        _show_paused(one)
    for one in statuses.moved():
        click.echo(f"{click.style('MOVE', fg='yellow')}  {one.name.replace('/', ': ', 1)}: {one.detail or one.became}")
    for one in statuses.sources():
        _show_source(one)
    return 1 if any(one.state == "stopped" for one in found) else 0


async def read_statuses(settings: Settings) -> "Statuses":
    """What the topic `status` says now; it is not followed any more. Raises BrokerError."""
    from control_api.statuses import Statuses

    statuses = Statuses(settings)
    await statuses.start()
    try:
        async with asyncio.timeout(LIMIT_S):
            await statuses.loaded.wait()
    except TimeoutError:
        raise BrokerError("the topic `status` cannot be read: is the broker there? (`notifier check broker`)") from None
    finally:
        await statuses.stop()
    return statuses


def _show_source(one: Status) -> None:
    from control_api.statuses import source_in_words

    word = click.style("ok  ", fg="green") if one.state == "ready" else click.style("FAIL", fg="red")
    click.echo(f"{word}  the producer {one.name}: {source_in_words(one)}")


def _show_paused(one: Status) -> None:
    from control_api.statuses import in_words

    since = "" if one.since is None else f"; since {rfc3339(one.since)}"
    again = "" if one.not_before is None else f"; it is tried again at {rfc3339(one.not_before)}"
    whom = one.name if one.kind == CONSUMER else f"{one.kind} {one.name}"
    resume = f"; `notifier resume {whom}`" if one.not_before is None else ""
    click.echo(
        f"{click.style('WAIT', fg='yellow')}  the {one.kind} {one.name} is {in_words(one)}{since}{again}{resume}"
    )


def _show(one: Status) -> None:
    role, _, host = one.name.partition("@")
    works = one.state == "ready"
    ago = max(0, int((now() - one.at).total_seconds()))
    word = click.style("ok  ", fg="green") if works else click.style("FAIL", fg="red")
    click.echo(f"{word}  {role:<9} on {host}, {ago} s ago" + (f": {one.detail}" if one.detail else ""))
    for name, text in one.problems.items():
        click.echo(f"      cannot use the {name.replace('/', ' ', 1)}: {text}")
    for over in one.passed_over:
        click.echo(f"      passed over {over.count} records of {over.topic}, the last at {over.last}: {over.error}")
