"""`notifier apply` and `notifier export`: definitions as YAML."""

import asyncio
from pathlib import Path

import click

from notifier_cli.environment import read_settings


@click.command()
@click.option(
    "-f",
    "--file",
    "path",
    required=True,
    type=click.Path(exists=True, path_type=Path),
    help="A YAML file, or a folder of them.",
)
@click.option("--prune", is_flag=True, help="Also delete what the files do not name.")
@click.option("--dry-run", is_flag=True, help="Say what would change, and change nothing.")
def apply(path: Path, prune: bool, dry_run: bool) -> None:
    """Make the definitions what the files say, as one change: all of it, or on any error nothing.

    Works with or without a running API. Secrets are written as ${NAME} or ${file:PATH} and read now; one that the files
    leave out keeps what is stored.

    \b
    users:
      - username: alice
    producers:
      - {name: ci, type: push}
    consumers:
      - {name: to-file, type: script, parameters: {script: append}}
    configurations:
      - {name: builds, users: [alice], producers: [ci], consumers: [to-file]}
    """
    settings = read_settings()
    from control_api.definitions.apply import apply_command

    for line in asyncio.run(apply_command(settings, path, prune=prune, dry_run=dry_run)).lines:
        click.echo(line)


@click.command()
def export() -> None:
    """Print all definitions as YAML, as `notifier apply` reads them; secrets are left out."""
    settings = read_settings()
    from control_api.definitions.apply import export_command

    click.echo(asyncio.run(export_command(settings)), nl=False)
