"""`notifier new`: writes a package with a plugin of one's own. What stands in it is `notifier_cli.new.package`'s."""

from pathlib import Path

import click

from notifier.errors import FieldError, InputError
from notifier_cli.new.package import KINDS, check_new, write_package


@click.command()
@click.argument("kind", type=click.Choice(KINDS))
@click.argument("name")
@click.option(
    "--into", type=click.Path(path_type=Path, file_okay=False), default=Path(), help="Folder for the package."
)
def new(kind: str, name: str, into: Path) -> None:
    """Write a package with a producer, filter or consumer of your own: the type NAME, with tests that pass.

    It runs as it is and is yours to change. The tests hold it to the contract (notifier.testing), as ours are held.

    \b
    notifier new producer duty-roster
    pip install -e ./duty-roster        (in the environment that Notifier runs in)
    notifier plugins duty-roster
    """
    check_new(kind, name)
    folder = into / name
    if folder.exists():
        raise InputError(FieldError("NAME", f"there is a {folder} already; take another name, or a folder by --into"))
    for path in write_package(kind, name, folder):
        click.echo(path)
    click.echo(
        f"\nInstall it and try it:\n"
        f"  pip install -e {folder}            where Notifier is installed; then start its roles again\n"
        f"  notifier plugins {name}\n"
        f"  (cd {folder} && pytest)             needs pytest and pytest-asyncio",
        err=True,
    )
