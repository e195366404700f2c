"""`notifier demo`: the whole pipeline on this machine's own data, in a temporary folder, with an account at the end."""

import asyncio
import os
import platform
import shutil
import signal
import socket
import sys
import tempfile
import time
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

import aiohttp
import click
import orjson
from aiokafka import ConsumerRecord
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from notifier.errors import NotifierError
from notifier.kafka import kafka_consumer, kafka_producer
from notifier.message import topic_id
from notifier.sandbox import detect_sandbox
from notifier.settings import PREFIX, Settings, load_settings, variable
from notifier.topics import MESSAGES
from notifier_cli.supervisor import Supervisor, tie_to_parent
from streams.broker.ports import free_port

LIMIT_S = 50.0  # from the first message until all of them are accounted for
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
    environment = {name: value for name, value in os.environ.items() if not name.upper().startswith(PREFIX)}
    environment |= {PREFIX + name: os.environ[PREFIX + name] for name in KEPT if PREFIX + name in os.environ}
    environment.setdefault(variable("log_level"), "WARNING")
    if sys.platform != "linux":  # no sandbox there, and the demo's own scripts are known to be harmless
        environment.setdefault(variable("script_sandbox"), "off")
    given = {"data_dir": folder / "data", "kafka_port": free_port(), "http_port": free_port()}
    environment |= {variable(name): str(value) for name, value in given.items()}
    kept = {name.lower(): environment[PREFIX + name] for name in KEPT if PREFIX + name in environment}
    for name in [name for name in os.environ if name.upper().startswith(PREFIX)]:
        del os.environ[name]  # what is left would win over the demo's own
    settings = load_settings(env_file=None, **{**kept, **given})

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
    return account.show(folder / "inbox")


async def _main_job(settings: Settings, folder: Path) -> "Account":
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
        await _post(session, f"{base}/configurations/computer-watch/run", None)
        _step("A program pushes messages: POST /api/v1/messages")
        await _post(session, f"{base}/messages", _pushed())
        _step("A plain Kafka client writes records: topic notifier.messages")
        await _write_records(settings)
        _step("Filters, people, deliveries: waiting until each message is accounted for")
        await account.fill(settings, session, base)
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


def _pushed() -> list[dict[str, Any]]:
    here = {"labels": {"host": socket.gethostname()}}
    python = f"Python {platform.python_version()} on {platform.system()} {platform.release()}"
    return [
        {
            "producer": "ci",
            "id": "build-1",
            "sender": "bob",
            "receiver": "alice",
            "content": f"Built with {python}",
            **here,
        },
        {
            "producer": "ci",
            "id": "build-2",
            "sender": "alice",
            "receiver": "alice",
            "content": "Draft: not ready yet",
            **here,
        },
        {
            "producer": "ci",
            "id": "build-3",
            "sender": "alice",
            "receiver": "bob",
            "content": "Your build is done",
            **here,
        },
        {
            "producer": "ci",
            "id": "build-4",
            "sender": "alice",
            "receiver": "dave",
            "content": "Your build is done",
            **here,
        },
        {
            "producer": "ci",
            "id": "build-5",
            "sender": "bob",
            "receiver": "ALICE",
            "severity": "error",
            "title": "Build failed",
            "content": f"Tests fail with {python}",
            **here,
        },
    ]


async def _write_records(settings: Settings) -> None:
    records = (
        b'{"producer": "ci", "receiver": "alice", "content": "Written by a plain Kafka client"}',
        b'{"producer": "ci", "content": "For everyone, and only a wip"}',
        b'{"producer": "ci", "receiver": "alice", "content": "The JSON of this one is broken',
        b'{"producer": "nobody-knows-me", "receiver": "alice", "content": "From a producer that is not defined"}',
    )
    client = kafka_producer(settings)
    await client.start()
    try:
        for value in records:
            sent = await client.send_and_wait(settings.topic_prefix + MESSAGES.name, value)
            click.echo(f"  partition {sent.partition} offset {sent.offset}: {value.decode()}")
    finally:
        await client.stop()


async def _post(session: aiohttp.ClientSession, url: str, body: object) -> Any:
    """Posts until the API is there. Raises NotifierError when it refuses."""
    data = None if body is None else orjson.dumps(body)
    for _ in range(150):
        try:
            async with session.post(url, data=data, headers={"Content-Type": "application/json"}) as answer:
                text = await answer.text()
                if answer.status == 503:  # it is there, and the broker's topics are not yet
                    await asyncio.sleep(0.2)
                    continue
                if answer.status >= 300:
                    raise NotifierError(f"{url} answers {answer.status}: {text}")
                click.echo(f"  {answer.status} {text}")
                return orjson.loads(text)
        except aiohttp.ClientConnectionError:
            await asyncio.sleep(0.2)
    raise NotifierError(f"{url} does not answer; the lines above say why")


@dataclass(kw_only=True)
class Account:
    """What came in, and what became of it."""

    started: float  # time.monotonic() when the first message was asked for
    messages: dict[str, dict[str, Any]] = field(default_factory=dict)  # id → message, in the order of the topic
    attempts: list[dict[str, Any]] = field(default_factory=list)
    dead_letters: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0

    async def fill(self, settings: Settings, session: aiohttp.ClientSession, base: str) -> None:
        """Reads the topic and asks the API until every message has an end. Gives up after LIMIT_S, and shows what there is."""
        expected = len(_pushed()) + 4
        while time.monotonic() - self.started < LIMIT_S:
            self.messages = dict(map(_read, await _read_all(settings)))
            self.attempts = await _items(session, f"{base}/attempts")
            self.dead_letters = await _items(session, f"{base}/dead_letters")
            runs = await _items(session, f"{base}/runs")
            ran = bool(runs) and all(run["state"] != "running" for run in runs)
            if ran and len(self.messages) > expected and all(self._ended(id_) for id_ in self.messages):
                break
            await asyncio.sleep(0.3)
        self.seconds = time.monotonic() - self.started

    def _ended(self, id_: str) -> bool:
        return bool(self._dead(id_)) or any(
            attempt["outcome"] in ("accepted", "suppressed", "refused") for attempt in self._of(id_)
        )

    def _of(self, id_: str) -> list[dict[str, Any]]:
        return [attempt for attempt in self.attempts if attempt["message"] == id_]

    def _dead(self, id_: str) -> list[dict[str, Any]]:
        origin = self.messages[id_]["_origin"]
        return [letter for letter in self.dead_letters if (letter["partition"], letter["offset"]) == origin]

    def show(self, inbox: Path) -> int:
        """Prints the account; returns the exit status: 0 if something was delivered."""
        console = Console(width=max(100, shutil.get_terminal_size().columns), highlight=False)
        _step("What came in, and what became of it")
        table = Table(show_lines=False, box=None, pad_edge=False, padding=(0, 2, 0, 0))
        for heading in ("from", "to", "message", "what became of it"):
            table.add_column(heading, overflow="fold", header_style="bold")
        delivered = dropped = dead = 0
        for id_, message in self.messages.items():
            lines = []
            for letter in self._dead(id_):
                lines.append(f"[red]dead letter[/] {letter['reason']}: {escape(_short(letter['error'], 70))}")
                dead += 1
            for attempt in self._of(id_):
                if attempt["outcome"] == "accepted":
                    who = attempt.get("recipient") or "everyone"
                    lines.append(
                        f"[green]delivered[/] to {escape(who)} by {attempt['consumer']} ({attempt['configuration']})"
                    )
                    delivered += 1
                else:
                    detail = f": {escape(attempt['detail'])}" if attempt.get("detail") else ""
                    lines.append(f"[yellow]{attempt['outcome']}[/] {attempt['reason']}{detail}")
                    dropped += 1
            table.add_row(
                escape(str(message.get("producer", "?"))),
                escape(str(message.get("receiver") or "everyone")),
                escape(_short(str(message.get("content", "?")), 60)),
                "\n".join(lines) or "[red]nothing is known yet[/]",
            )
        console.print(table)
        _step("What the people got")
        for box in sorted(inbox.glob("*.txt")):
            console.print(f"  [bold]{box.stem}[/]")
            for line in box.read_text().splitlines():
                console.print(f"    {escape(line)}", soft_wrap=True)
        console.print(
            f"\n{len(self.messages)} messages in, {delivered} deliveries, {dropped} messages dropped with a reason,"
            f" {dead} dead letters, in {self.seconds:.1f} s.",
            style="bold",
        )
        complete = all(self._ended(id_) for id_ in self.messages)
        if not complete:
            click.echo("Some messages are not accounted for; this is a fault of the demo or of Notifier.", err=True)
        return 0 if delivered and complete else 1


def _step(text: str) -> None:
    click.secho(f"\n{text}", bold=True)


def _short(text: str, length: int) -> str:
    line = " ".join(text.split())
    return line if len(line) <= length else line[: length - 1] + "…"


async def _items(session: aiohttp.ClientSession, url: str) -> list[dict[str, Any]]:
    async with session.get(url, params={"limit": "500"}) as answer:
        if answer.status != 200:
            raise NotifierError(f"{url} answers {answer.status}: {await answer.text()}")
        items: list[dict[str, Any]] = orjson.loads(await answer.read())["items"]
        return items


async def _read_all(settings: Settings) -> list[ConsumerRecord]:
    """All records of `messages`, in the order in which they were written."""
    consumer = kafka_consumer(settings, settings.topic_prefix + MESSAGES.name)
    await consumer.start()
    try:
        ends = await consumer.end_offsets(consumer.assignment())
        records: list[ConsumerRecord] = []
        while any([await consumer.position(partition) < end for partition, end in ends.items()]):
            for batch in (await consumer.getmany(timeout_ms=500)).values():
                records.extend(batch)
        return sorted(records, key=lambda record: (record.timestamp, record.partition, record.offset))
    finally:
        await consumer.stop()


def _read(record: ConsumerRecord) -> tuple[str, dict[str, Any]]:
    try:
        message = orjson.loads(record.value)
    except orjson.JSONDecodeError:
        message = {"content": record.value.decode(errors="replace")}
    message["_origin"] = (record.partition, record.offset)
    return message.get("id") or topic_id(record.partition, record.offset, record.timestamp), message
