"""The command line: `notifier COMMAND`, or `python -m notifier COMMAND`.

Exit status: 0 done; 1 it failed; 2 what was given is wrong (a setting, an option, a definition); 3 no Kafka broker or
no database; 130 interrupted. Of `apply --dry-run` 3 means that something would change, and 1 that there is no database. What goes
wrong is one line on standard error that says what to do next, one for each fault of definitions.
"""

import os
import sys
from importlib import import_module
from importlib.metadata import version

import click

from notifier.errors import InputError, NotifierError

# Command → its module, imported when the command is given, so that no command waits for the imports of others.
COMMANDS: dict[str, str] = {
    "demo": "notifier_cli.demo.demo",
    "up": "notifier_cli.up",
    "api": "notifier_cli.roles",
    "router": "notifier_cli.roles",
    "runner": "notifier_cli.roles",
    "ticker": "notifier_cli.roles",
    "delivery": "notifier_cli.roles",
    "kafka": "notifier_cli.kafka",
    "apply": "notifier_cli.definitions",
    "export": "notifier_cli.definitions",
    "history": "notifier_cli.history",
    "rollback": "notifier_cli.history",
    "audit": "notifier_cli.history",
    "messages": "notifier_cli.searching",
    "attempts": "notifier_cli.searching",
    "counters": "notifier_cli.searching",
    "schema": "notifier_cli.schema",
    "test": "notifier_cli.testing",
    "dry-run": "notifier_cli.dry_run",
    "explain": "notifier_cli.explain",
    "preview": "notifier_cli.preview",
    "producer": "notifier_cli.producer",
    "redrive": "notifier_cli.redrive",
    "token": "notifier_cli.access",
    "account": "notifier_cli.access",
    "user": "notifier_cli.user",
    "key": "notifier_cli.key",
    "check": "notifier_cli.check",
    "status": "notifier_cli.status",
    "send-test": "notifier_cli.send_test",
    "pause": "notifier_cli.pausing",
    "resume": "notifier_cli.pausing",
    "plugins": "notifier_cli.plugins",
    "new": "notifier_cli.new.new",
    "migrate": "notifier_cli.migrate",
}


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)  # the order in which a newcomer needs them

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = getattr(import_module(COMMANDS[cmd_name]), cmd_name.replace("-", "_"))
        return command


@click.command(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(version("notifier"), prog_name="notifier")
@click.pass_context
def cli(context: click.Context) -> None:
    """Tells the right person, on the right channel, at the right time.

    \b
    See it work, on this machine's own data:   notifier demo
    Start everything here:                     notifier up
    Say who hears what:                        notifier apply -f definitions.yaml
    Let a program push messages:               notifier token create --name ci --scope push
    Find out why one did not arrive:           notifier explain --producer ci --id build-42

    Settings are environment variables named NOTIFIER_…, or lines of a file .env in this folder.
    """
    if os.environ.get("NO_COLOR"):  # https://no-color.org; Click looks at the terminal alone
        context.color = False


def _lines(error: NotifierError) -> list[str]:
    """What is printed of an error: a line, and of wrong input one a fault."""
    if not isinstance(error, InputError):
        return [str(error)]
    return [f"{error.place}: {fault}" if error.place else str(fault) for fault in error.errors]


def main() -> None:
    """Runs the command line and ends the process."""
    try:
        sys.exit(cli.main(standalone_mode=False) or 0)
    except click.exceptions.Exit as end:
        sys.exit(end.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
    except NotifierError as error:
        for line in _lines(error):
            print(f"notifier: {line}", file=sys.stderr)
        sys.exit(error.exit_code)
    except BrokenPipeError:  # `notifier export | head`
        sys.stderr.close()
        sys.exit(1)
