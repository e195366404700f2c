"""The demo's account: what came in and what became of each message, read from the topic and the API, and shown as tables."""

import asyncio
import shutil
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
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
from notifier.kafka import kafka_consumer
from notifier.message import topic_id
from notifier.one_line import one_line
from notifier.settings import Settings
from notifier.topics import MESSAGES

LIMIT_S = 50.0  # from the first message until all of them are accounted for
_ENDS = ("accepted", "suppressed", "refused")  # outcomes after which nothing is tried again


@dataclass(kw_only=True)
class Account:
    """What came in, and what became of it: `fill` reads it, the `show_` methods print it."""

    started: float  # time.monotonic() when the first message was asked for
    messages: dict[str, dict[str, Any]] = field(default_factory=dict)  # id → message, in the order of the topic
    attempts: list[dict[str, Any]] = field(default_factory=list)
    dead_letters: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0  # that it took

    async def fill(self, settings: Settings, session: aiohttp.ClientSession, base: str, sent: int) -> None:
        """Reads the topic and asks the API until every message has an end, or for LIMIT_S.

        `sent` messages are the demo's own; more are expected of the script that looks at the computer.
        """
        while time.monotonic() - self.started < LIMIT_S:
            self.messages = dict(map(_read, await _read_all(settings)))
            self.attempts = await _items(session, f"{base}/attempts")
            self.dead_letters = await _items(session, f"{base}/dead_letters")
            runs = await _items(session, f"{base}/runs")
            ran = bool(runs) and all(run["state"] != "running" for run in runs)
            if ran and len(self.messages) > sent and self.complete:
                break
            await asyncio.sleep(0.3)
        self.seconds = time.monotonic() - self.started

    @property
    def complete(self) -> bool:
        """Whether every message has an end."""
        return all(
            self._dead(id_) or any(attempt["outcome"] in _ENDS for attempt in self._of(id_)) for id_ in self.messages
        )

    @property
    def delivered(self) -> int:
        """The number of accepted deliveries."""
        return self._counts()["accepted"]

    def show_messages(self) -> None:
        """Prints a row for each message, with its ends."""
        table = Table(show_lines=False, box=None, pad_edge=False, padding=(0, 2, 0, 0))
        for heading in ("from", "to", "message", "what became of it"):
            table.add_column(heading, overflow="fold", header_style="bold")
        for id_, message in self.messages.items():
            table.add_row(
                escape(str(message.get("producer", "?"))),
                escape(str(message.get("receiver") or "everyone")),
                escape(one_line(message.get("content", "?"), 60)),
                "\n".join(self._ends_of(id_)) or "[red]nothing is known yet[/]",
            )
        _console().print(table)

    def show_inbox(self, inbox: Path) -> None:
        """Prints each person's letter box."""
        console = _console()
        for box in sorted(inbox.glob("*.txt")):
            console.print(f"  [bold]{box.stem}[/]")
            for line in box.read_text().splitlines():
                console.print(f"    {escape(line)}", soft_wrap=True)

    def show_sums(self) -> None:
        """Prints the numbers of messages, deliveries, drops and dead letters."""
        counts = self._counts()
        dropped = counts.total() - counts["accepted"]
        dead = sum(len(self._dead(id_)) for id_ in self.messages)
        _console().print(
            f"\n{len(self.messages)} messages in, {counts['accepted']} deliveries, {dropped} messages dropped with a"
            f" reason, {dead} dead letters, in {self.seconds:.1f} s.",
            style="bold",
        )
        if not self.complete:
            click.echo("Some messages are not accounted for; this is a fault of the demo or of Notifier.", err=True)

    def _ends_of(self, id_: str) -> Iterator[str]:
        for letter in self._dead(id_):
            yield f"[red]dead letter[/] {letter['reason']}: {escape(one_line(letter['error'], 70))}"
        for attempt in self._of(id_):
            if attempt["outcome"] == "accepted":
                who = escape(attempt.get("recipient") or "everyone")
                yield f"[green]delivered[/] to {who} by {attempt['consumer']} ({attempt['configuration']})"
            else:
                detail = f": {escape(attempt['detail'])}" if attempt.get("detail") else ""
                yield f"[yellow]{attempt['outcome']}[/] {attempt['reason']}{detail}"

    def _counts(self) -> Counter[str]:
        """Outcome → number of attempts at the messages."""
        return Counter(attempt["outcome"] for id_ in self.messages for attempt in self._of(id_))

    def _of(self, id_: str) -> list[dict[str, Any]]:
        return [attempt for attempt in self.attempts if attempt["message"] == id_]

    def _dead(self, id_: str) -> list[dict[str, Any]]:
        origin = self.messages[id_]["_origin"]
        return [letter for letter in self.dead_letters if (letter["partition"], letter["offset"]) == origin]


def _console() -> Console:
    return Console(width=max(100, shutil.get_terminal_size().columns), highlight=False)


async def _items(session: aiohttp.ClientSession, url: str) -> list[dict[str, Any]]:
    async with session.get(url, params={"limit": "500"}) as answer:
        if answer.status != 200:
            raise NotifierError(f"{url} answers {answer.status}: {await answer.text()}")
        items: list[dict[str, Any]] = orjson.loads(await answer.read())["items"]
        return items


async def _read_all(settings: Settings) -> list[ConsumerRecord]:
    """All records of `messages`, in the order in which they were written."""
    records: list[ConsumerRecord] = []
    async with kafka_consumer(settings, settings.topic_prefix + MESSAGES.name) as consumer:
        ends = await consumer.end_offsets(consumer.assignment())
        while any([await consumer.position(partition) < end for partition, end in ends.items()]):
            for batch in (await consumer.getmany(timeout_ms=500)).values():
                records.extend(batch)
    return sorted(records, key=lambda record: (record.timestamp, record.partition, record.offset))


def _read(record: ConsumerRecord) -> tuple[str, dict[str, Any]]:
    """The message's id and its fields; `_origin` is the place of its record."""
    try:
        message = orjson.loads(record.value)
    except orjson.JSONDecodeError:
        message = {"content": record.value.decode(errors="replace")}
    message["_origin"] = (record.partition, record.offset)
    return message.get("id") or topic_id(record.partition, record.offset, record.timestamp), message
