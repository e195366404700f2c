"""`notifier apply` and `notifier export`: definitions as YAML."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import click

from notifier.errors import NotifierError
from notifier_cli.environment import read_settings
from notifier_cli.testing import all_pass

if TYPE_CHECKING:
    from control_api.definitions.plan import PlannedChange

WOULD_CHANGE = 3  # the exit status of a dry run
_COLOURS = {"+": "green", "~": "yellow", "-": "red"}


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
@click.option("--test", "tested", is_flag=True, help="First try the tests in the files; change nothing when one fails.")
def apply(path: Path, prune: bool, dry_run: bool, tested: bool) -> int:
    """Make the definitions what the files say, as one change: all of it, or on any error nothing.

    `+` is created, `~` changed, `-` deleted. A dry run ends with status 3 when something would change, 0 when not,
    and 1 or 2 when it fails.

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

    `<<: *common` merges, and fields x-… at the top are passed over, as in compose files. `notifier schema` completes in editors.
    """
    settings = read_settings()
    from control_api.definitions.apply import apply_command

    if tested and not all_pass(path, may_be_none=True):
        click.echo("notifier: a test fails, so nothing is changed", err=True)
        return 1
    try:
        applied = asyncio.run(apply_command(settings, path, prune=prune, dry_run=dry_run))
    except NotifierError as error:
        if dry_run and error.exit_code == WOULD_CHANGE:
            error.exit_code = 1  # else a pipeline would take a database that does not answer for something to approve
        raise
    for change in applied.plan.changes:
        if change.sign != "=":
            click.echo(_styled(change))
    click.echo(applied.lines[-1])
    return WOULD_CHANGE if dry_run and applied.plan.edits else 0


def _styled(change: "PlannedChange") -> str:
    """The line of a plan, in colour: the sign and the name by what happens, values by before and after."""
    named = click.style(f"{change.sign} {change.edit.kind} {change.edit.name}", fg=_COLOURS[change.sign])
    differences = [
        f"{one.path} {click.style(one.before, fg='red')} → {click.style(one.after, fg='green')}"
        for one in change.differences
    ]
    return f"{named}: {', '.join(differences)}{change.rest}" if differences else named


@click.command()
def export() -> None:
    """Print all definitions as YAML, as `notifier apply` reads them; secrets are left out."""
    settings = read_settings()
    from control_api.definitions.apply import export_command

    click.echo(asyncio.run(export_command(settings)), nl=False)
