"""The commands of the roles, one process each: api, router, runner, ticker, delivery. Any number of each may run."""

from typing import Literal

import click

from notifier.settings import Settings
from notifier_cli.environment import read_settings


@click.command()
def api() -> int:
    """Serve the control API: REST under /api/v1, health, and the publication of definitions.

    Listens on NOTIFIER_HTTP_HOST and NOTIFIER_HTTP_PORT (127.0.0.1:8000). Drains and stops on SIGTERM.
    """
    settings = read_settings()
    from control_api.serve import run_api_process

    return run_api_process(settings)


@click.command()
@click.option(
    "--workers",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    metavar="N",
    help="Processes on this machine; one for each processor core is plenty. With 1 it is this process itself.",
)
def router(workers: int) -> int:
    """Route messages: apply every configuration's filters and write the deliveries.

    Routers share the partitions of the topic `messages`; start as many as you like, on any number of machines. Needs no
    database.

    \b
    On one core:                  notifier router
    On four cores of a machine:   notifier router --workers 4

    With more than one worker this process only looks after them: one that ends is started again, later each time it ends
    soon; SIGTERM or Ctrl-C lets all of them finish and commit what they are at; however it ends, none is left behind. The
    topic has 12 partitions, so of more than 12 workers in all some have nothing to do but to stand by.
    """
    settings = read_settings()
    if workers > 1:
        from notifier_cli.workers import run_workers

        return run_workers(settings, "router", workers)
    return _stream(settings, "router")


@click.command()
def runner() -> int:
    """Run configurations that are due: call their pull producers and write what they say.

    Runners share the partitions of the topic `ticks`; start as many as you like. Needs no database.
    """
    settings = read_settings()
    return _stream(settings, "runner")


@click.command()
def ticker() -> int:
    """Write a tick when a configuration is due by its schedule, and make up for what was missed.

    Tickers agree through the database who writes which tick; start as many as you like. Needs no key for secrets.
    """
    settings = read_settings()
    from streams.ticker.ticker import run_ticker_process

    return run_ticker_process(settings)


@click.command()
def delivery() -> int:
    """Deliver to people: call the consumers, record every attempt, try again what may succeed later.

    Workers share the partitions of the topics `deliveries.*`; start as many as you like. Needs no database.
    """
    settings = read_settings()
    from streams.delivery.worker import run_delivery_process

    return run_delivery_process(settings)


def _stream(settings: Settings, role: Literal["router", "runner"]) -> int:
    from streams.app import run_process

    return run_process(settings, [role])
