"""`notifier up`: everything in one command. The processes are `notifier_cli.supervisor`'s."""

import asyncio
import signal

import aiohttp
import click

from notifier.settings import Settings
from notifier_cli.environment import read_settings
from notifier_cli.supervisor import Supervisor, tie_to_parent

READY_LIMIT_S = 60.0


@click.command()
@click.option("--with-parent", type=int, hidden=True, help="End when this process, the parent, ends.")
def up(with_parent: int | None) -> int:
    """Start everything here: the Kafka broker, the control API, a ticker, a router, a runner and a delivery
    worker.

    Keeps its data in NOTIFIER_DATA_DIR (./var), so that the next start goes on where this one ended. Ctrl-C or SIGTERM
    drains and stops all of it. With NOTIFIER_KAFKA set it starts no broker and uses that one.
    """
    tie_to_parent(with_parent)
    return asyncio.run(_up(read_settings()))


async def _up(settings: Settings) -> int:
    from control_api.access.accounts import ensure_admin
    from control_api.migrate import upgrade
    from notifier.sandbox import detect_sandbox

    supervisor = Supervisor(settings, say=lambda line: click.echo(line, err=True))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, supervisor.ask_to_stop)
    click.echo(detect_sandbox(settings).explanation, err=True)
    await supervisor.start()
    try:
        await upgrade(settings)
        password = await ensure_admin(settings)
        stopped = asyncio.create_task(supervisor.wait())
        ready = asyncio.create_task(_ready(settings))
        await asyncio.wait([stopped, ready], return_when=asyncio.FIRST_COMPLETED)
        if ready.done() and not stopped.done():
            ready.result()
            _welcome(settings, password)
        ready.cancel()
        return await stopped
    finally:
        click.echo("stopping …", err=True)
        await supervisor.stop()


async def _ready(settings: Settings) -> None:
    """Returns when the control API is ready, or after READY_LIMIT_S; the API's own log says why it is not."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2)) as session:
        for _ in range(int(READY_LIMIT_S * 5)):
            try:
                async with session.get(f"http://{settings.http_host}:{settings.http_port}/health/ready") as answer:
                    if answer.status == 200:
                        return
            except (aiohttp.ClientError, TimeoutError):
                pass
            await asyncio.sleep(0.2)


def _welcome(settings: Settings, password: str | None) -> None:
    address = f"http://{settings.http_host}:{settings.http_port}"
    click.echo(f"\nNotifier is up: {address}/api/v1 for programs, {address}/console for people")
    if password is not None:
        click.echo(f"The account `admin` was made, with the password   {password}")
        click.echo("(shown this once; to change it: notifier account password admin)")
    click.echo(
        "\nNext, in another terminal in this folder:\n"
        "  notifier apply -f definitions.yaml                      say who hears what\n"
        "  notifier token create --name me --scope push --scope read   for curl and programs\n"
        "Ctrl-C stops everything.\n"
    )
