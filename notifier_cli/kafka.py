"""`notifier kafka start|stop|status|prepare`: the embedded broker by itself. The broker is `streams.broker`'s."""

import click

from notifier.errors import SettingsError
from notifier.settings import Settings
from notifier_cli.environment import read_settings


def _embedded() -> Settings:
    settings = read_settings()
    if not settings.embedded_broker:
        raise SettingsError(
            f"NOTIFIER_KAFKA names a broker ({settings.kafka}), so there is none of ours to look after: unset it first"
        )
    return settings


@click.group()
def kafka() -> None:
    """The embedded broker: a real Apache Kafka in the data folder, for trying things out and for small installations."""


@kafka.command()
def start() -> None:
    """Start the broker, or find the one that runs, and return when it accepts clients.

    It stays until `notifier kafka stop`. Prints its address.
    """
    from streams.broker.broker import EmbeddedBroker

    click.echo(EmbeddedBroker(_embedded()).start(die_with_parent=False))


@kafka.command()
def stop() -> None:
    """Stop the broker in an orderly way; its data stays."""
    from streams.broker.broker import EmbeddedBroker

    click.echo("stopped" if EmbeddedBroker(_embedded()).stop() else "was not running", err=True)


@kafka.command()
def status() -> int:
    """Print host:port and exit 0 when the broker runs; say so and exit 1 when it does not."""
    from streams.broker.broker import EmbeddedBroker

    settings = _embedded()
    address = EmbeddedBroker(settings).status()
    if address is None:
        click.echo(
            f"no broker is running for the data folder {settings.data_dir}; start one: notifier kafka start", err=True
        )
        return 1
    click.echo(address)
    return 0


@kafka.command()
def prepare() -> None:
    """Download the broker, and have it start in half the time from now on: once, for 68 MB on the disk.

    Needs no running broker. Prints the file, in NOTIFIER_CACHE_DIR.
    """
    from streams.broker.start_cache import make_start_cache

    click.echo(make_start_cache(_embedded()))
