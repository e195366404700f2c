"""`notifier router --workers 4`: several processes of one role behind one command, which share the partitions of its topic.

Restarts and back-off are `notifier_cli.children`'s.
"""

import asyncio
import signal

import click

from notifier.kafka import bootstrap_servers
from notifier.settings import Settings
from notifier_cli.children import Children


def run_workers(settings: Settings, role: str, count: int) -> int:
    """Keeps `count` processes `notifier ROLE` running until SIGTERM or SIGINT; returns the exit status.

    Raises BrokerError when no broker is known, which is then said once and not by each process at each restart.
    """
    bootstrap_servers(settings)
    return asyncio.run(_keep_workers(role, count))


async def _keep_workers(role: str, count: int) -> int:
    children = Children(say=lambda line: click.echo(f"notifier: {line}", err=True))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, children.ask_to_stop)
    names = [f"{role} {number}" for number in range(1, count + 1)]
    for name in names:
        children.keep(name, role)
    try:
        return await children.wait()
    finally:
        # At the same time: one after another, each would hand its partitions to one that is stopped next.
        await children.stop(*names)
