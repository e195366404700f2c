"""`notifier key`: makes keys, and changes the one that secrets are sealed with. No API need run."""

import asyncio

import click

from notifier.seal import generate_key, load_seal
from notifier_cli.environment import read_settings


@click.group(invoke_without_command=True)
@click.pass_context
def key(context: click.Context) -> None:
    """Print a new key for NOTIFIER_SECRET_KEY, which secrets are sealed with. Keep it where your backups are not.

    `notifier key rotate` puts another key in its place.
    """
    if context.invoked_subcommand is None:
        click.echo(generate_key())


@key.command("rotate")
def rotate() -> int:
    """Seal every stored secret anew under the key in NOTIFIER_SECRET_KEY, and publish the definitions.

    \b
    1. Make a key:  notifier key
    2. Give it to delivery, runner, then api, and to this command, as NOTIFIER_SECRET_KEY, and the key of now as
       NOTIFIER_SECRET_KEY_OLD. Start the roles again; all of them need both before you go on.
       The key of now is what NOTIFIER_SECRET_KEY was, else what is in the file secret.key of the data folder.
    3. Run this:    notifier key rotate
    4. Once that ended with status 0: take NOTIFIER_SECRET_KEY_OLD away everywhere and start the roles again.
       A file secret.key is not read any more; it may go with the old key.

    It is one change: killed, it has done nothing; repeated, it does what is left. Keep the old key with backups that were
    made before.

    Exit 1 when a secret opens with neither key: it is named, the others are done. Write it anew, then run this again.
    Exit 3 when no broker answers: all is stored and published later; run this again before the old key goes.
    """
    settings = read_settings()
    from control_api.definitions.rotation import rotate_command

    done = asyncio.run(rotate_command(settings))
    for sentence in done.closed:
        click.echo(f"notifier: {sentence}", err=True)
    published = "" if done.revision is None else f"; revision {done.revision} is published"
    key_id = load_seal(settings).key_id
    click.echo(f"{done.resealed} sealed anew under the key {key_id}, {done.current} were already{published}")
    if done.closed:
        return 1
    click.echo("NOTIFIER_SECRET_KEY_OLD is not needed any more.")
    return 0
