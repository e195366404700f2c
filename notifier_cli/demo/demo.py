"""`notifier demo`: the whole pipeline on this machine's own data, in a temporary folder, with an account at the end.

The definitions and scripts are in `notifier_cli.demo.example`, the messages in `messages`, the account in `account`; starting
and stopping the processes is `notifier_cli.supervisor`'s.
"""

import asyncio
import os
import signal
import sys
import tempfile
import time
from importlib.resources import files
from pathlib import Path

import aiohttp
import click

from notifier.sandbox import detect_sandbox
from notifier.settings import PREFIX, Settings, load_settings, variable
from notifier_cli.demo.account import Account
from notifier_cli.demo.messages import RECORDS, post, pushed, write_records
from notifier_cli.supervisor import Supervisor, tie_to_parent
from streams.broker.ports import free_port

KEPT = ("CACHE_DIR", "LOG_LEVEL", "SCRIPT_SANDBOX")  # settings of the user's that the demo obeys


@click.command()
@click.option("--with-parent", type=int, hidden=True, help="End when this process, the parent, ends.")
def demo(with_parent: int | None) -> int:
    """Show the main job on real data of this machine, from start to end, in about a minute.

    Starts everything in a temporary folder on free ports, looks at this computer with a script, pushes messages by REST and
    by a plain Kafka client, delivers what passes the filters by another script, and says what became of each message.
    Leaves nothing behind; exits with 1 if nothing was delivered.
    """
    tie_to_parent(with_parent)
    with tempfile.TemporaryDirectory(prefix="notifier-demo-") as folder:
        return asyncio.run(_demo(Path(folder).resolve()))


async def _demo(folder: Path) -> int:
    settings, environment = _own_settings(folder)
    supervisor = Supervisor(settings, environment=environment, folder=folder, say=lambda line: click.echo(f"  {line}"))
    loop = asyncio.get_running_loop()
    main = asyncio.current_task()
    assert main is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, main.cancel)
    try:
        _step("Starting everything in a folder of its own")
        click.echo(f"  {detect_sandbox(settings).explanation}")
        await supervisor.start()
        account = await _main_job(settings, folder)
    except asyncio.CancelledError:
        click.echo("interrupted", err=True)
        return 130
    finally:
        await supervisor.stop()
    return _show(account, folder / "inbox")


def _own_settings(folder: Path) -> tuple[Settings, dict[str, str]]:
    """The demo's settings, and the environment that gives its child processes the same. Clears `NOTIFIER_…` in this process."""
    environment = {name: value for name, value in os.environ.items() if not name.upper().startswith(PREFIX)}
    environment |= {PREFIX + name: os.environ[PREFIX + name] for name in KEPT if PREFIX + name in os.environ}
    environment.setdefault(variable("log_level"), "WARNING")
    if sys.platform != "linux":  # no sandbox there, and the demo's own scripts are known to be harmless
        environment.setdefault(variable("script_sandbox"), "off")
    given = {"data_dir": folder / "data", "kafka_port": free_port(), "http_port": free_port()}
    environment |= {variable(name): str(value) for name, value in given.items()}
    kept = {name.lower(): environment[PREFIX + name] for name in KEPT if PREFIX + name in environment}
    for name in [name for name in os.environ if name.upper().startswith(PREFIX)]:
        del os.environ[name]  # a variable that is left would win over the demo's own settings
    return load_settings(env_file=None, **{**kept, **given}), environment


async def _main_job(settings: Settings, folder: Path) -> Account:
    from control_api.access.tokens import create_token
    from control_api.definitions.apply import apply_command

    _step("Saying who hears what: notifier apply -f definitions.yaml")
    definitions = _write_definitions(folder)
    for line in (await apply_command(settings, definitions, prune=False, dry_run=False)).lines:
        click.echo(f"  {line}")
    token = await create_token(settings, name="demo", scopes=("push", "run", "read"), expires_at=None)
    base = f"http://{settings.http_host}:{settings.http_port}/api/v1"
    async with aiohttp.ClientSession(
        headers={"Authorization": f"Bearer {token}"}, timeout=aiohttp.ClientTimeout(total=10)
    ) as session:
        account = Account(started=time.monotonic())
        _step("A script looks at this computer: POST /api/v1/configurations/computer-watch/run")
        await post(session, f"{base}/configurations/computer-watch/run", None)
        _step("A program pushes messages: POST /api/v1/messages")
        messages = pushed()
        await post(session, f"{base}/messages", messages)
        _step("A plain Kafka client writes records: topic notifier.messages")
        await write_records(settings)
        _step("Filters, people, deliveries: waiting until each message is accounted for")
        await account.fill(settings, session, base, sent=len(messages) + len(RECORDS))
    return account


def _write_definitions(folder: Path) -> Path:
    """The demo's definitions in `folder`, with the letter boxes below it."""
    inbox = folder / "inbox"
    inbox.mkdir()
    target = folder / "definitions"
    target.mkdir()
    for source in files("notifier_cli.demo.example").iterdir():
        if source.name.endswith((".yaml", ".py")) and source.name != "__init__.py":
            (target / source.name).write_text(source.read_text().replace("INBOX", str(inbox)))
    return target / "definitions.yaml"


def _show(account: Account, inbox: Path) -> int:
    """Prints the account; returns the exit status: 0 if something was delivered and every message is accounted for."""
    _step("What came in, and what became of it")
    account.show_messages()
    _step("What the people got")
    account.show_inbox(inbox)
    account.show_sums()
    return 0 if account.delivered and account.complete else 1


def _step(text: str) -> None:
    click.secho(f"\n{text}", bold=True)
