"""Routers as real processes, the definitions they judge by, and consumers of each kind that need no service.

`python -m tests.rigs.router_rig [SECONDS [STALL [hang]]]` is such a process, with the plugin types of `REGISTRY`; SECONDS is how
long a topic may be missing, STALL after how many seconds a worker counts as standing still; with `hang` no batch ends.
"""

import asyncio
import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO, Any

from aiokafka import AIOKafkaConsumer, ConsumerRecord

from filters import BUILT_IN as FILTERS
from notifier.definition import Definition
from notifier.kafka import client_options, ensure_topics, kafka_admin, kafka_consumer, kafka_producer
from notifier.outcome import Kind
from notifier.plugin import Candidate, Consumer, ConsumerParameters, Filter, FilterParameters, Producer
from notifier.registry import Registry
from notifier.role import run_role
from notifier.settings import Settings, load_settings
from notifier.topics import DEFINITIONS, MESSAGES, Topic, deliveries
from notifier.user import User
from producers.push import Push
from streams.app import run_roles
from streams.definitions import LAST
from streams.inputs import progress
from streams.outputs import missing_topics
from streams.router.router import Router
from tests.rigs.kafka_tools import read_all, wait_until
from tests.rigs.repository import ROOT


class Room(Consumer[ConsumerParameters]):
    """A group chat: its parameters fix the address."""

    type = "room"
    world = "chat"
    Parameters = ConsumerParameters


class File(Consumer[ConsumerParameters]):
    """Like a script: a fixed address in the default world."""

    type = "file"
    Parameters = ConsumerParameters


class Direct(Consumer[ConsumerParameters]):
    """Writes to people: a lane for each address."""

    type = "direct"
    world = "chat"
    Parameters = ConsumerParameters

    def fixed_address(self) -> bool:
        """No."""
        return False

    def address(self, user: User) -> str | None:
        """The id in the world; names are no addresses here."""
        return next((str(identity["id"]) for identity in user.identities(self.world_of()) if "id" in identity), None)


class Broken(Consumer[ConsumerParameters]):
    """A plugin with a fault."""

    type = "broken"
    Parameters = ConsumerParameters

    def fixed_address(self) -> bool:
        """Raises."""
        raise RuntimeError("out of order")


class Faulty(Filter[FilterParameters]):
    """A filter that raises."""

    type = "faulty"
    Parameters = FilterParameters

    def accepts(self, candidate: Candidate) -> bool:
        """Raises."""
        raise RuntimeError("out of order")


class Slow(Filter[FilterParameters]):
    """A filter that takes its time, and the whole process with it."""

    type = "slow"
    Parameters = FilterParameters

    def accepts(self, candidate: Candidate) -> bool:
        """After 10 ms."""
        time.sleep(0.01)
        return True


class Github(Producer[Any]):
    """A producer whose people live in a world of its own."""

    type = "github"
    world = "github"
    pull = False
    Parameters = Push.Parameters


REGISTRY = Registry((Push, Github, *FILTERS, Faulty, Slow, Room, File, Direct, Broken))

Specs = Mapping[str, Mapping[str, Any] | None]  # "<kind>/<name>" → spec; None deletes


async def publish(settings: Settings, specs: Specs, revision: int = 1) -> None:
    """Puts definitions on the topic as the outbox does: one Kafka transaction, and the consumers' topics before it."""
    consumers = [name.partition("/")[2] for name, spec in specs.items() if name.startswith("consumer/") and spec]
    await ensure_topics(settings, [DEFINITIONS, *(deliveries(name) for name in consumers)])
    outbox = kafka_producer(settings, transactional_id=f"{settings.topic_prefix}outbox")
    async with outbox as producer, producer.transaction():
        for number, (key, spec) in enumerate(specs.items()):
            kind, _, name = key.partition("/")
            headers = [("revision", str(revision).encode())]
            if number == len(specs) - 1:
                headers.append((LAST, b"1"))
            value = None if spec is None else definition(kind, name, revision, spec)
            await producer.send(settings.topic_prefix + DEFINITIONS.name, value, key=key.encode(), headers=headers)


def definition(kind: Any, name: str, revision: int, spec: Mapping[str, Any]) -> bytes:
    """A definition as it lies on the topic."""
    known: Kind = kind
    return Definition(kind=known, name=name, revision=revision, spec=dict(spec)).encode()


def through(*consumers: str, producers: Sequence[str] = ("ci",), **spec: Any) -> dict[str, Any]:
    """The spec of a configuration."""
    return {"producers": list(producers), "consumers": list(consumers), **spec}


SIMPLE: dict[str, dict[str, Any]] = {
    "producer/ci": {"type": "push"},
    "consumer/room": {"type": "room", "parameters": {"partitions": 1}},
    "configuration/c": through("room"),
}


class RouterProcess:
    """A router in a process of its own."""

    def __init__(self, settings: Settings, command: Sequence[str], log: IO[bytes]) -> None:
        self.log = log
        environment = {name: value for name, value in os.environ.items() if not name.startswith("NOTIFIER_")}
        environment |= {
            "NOTIFIER_KAFKA": str(settings.kafka),
            "NOTIFIER_TOPIC_PREFIX": settings.topic_prefix,
            "NOTIFIER_DATA_DIR": str(settings.data_dir),
            "PYTHONPATH": str(ROOT),
        }
        if settings.secret_key is not None:
            environment["NOTIFIER_SECRET_KEY"] = settings.secret_key.get_secret_value()
        self.process = subprocess.Popen(
            [sys.executable, "-m", *command], env=environment, cwd=ROOT, stdout=log, stderr=log
        )

    def output(self) -> str:
        """What it has logged so far."""
        return Path(self.log.name).read_text(errors="replace")

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()
        self.process.wait()

    async def end(self, number: int = signal.SIGTERM) -> int:
        """Asks it to end, and answers its exit status."""
        self.process.send_signal(number)
        return await self.ended()

    async def ended(self) -> int:
        """Its exit status once it has ended."""
        await wait_until(lambda: self.process.poll() is not None, otherwise=self.output)
        return int(self.process.returncode)

    async def ready(self) -> None:
        """Waits until it has partitions to work on, or at least a place in its group."""
        await wait_until(lambda: "Setting newly assigned partitions" in self.output(), otherwise=self.output)


@asynccontextmanager
async def routers(
    settings: Settings, count: int = 1, command: Sequence[str] = ("tests.rigs.router_rig",)
) -> AsyncIterator[list[RouterProcess]]:
    """That many routers, by a module and its arguments; killed at the end, if they still live."""
    with tempfile.TemporaryDirectory() as folder:
        files = [(Path(folder) / f"{number}.log").open("wb") for number in range(count)]
        started = [RouterProcess(settings, command, file) for file in files]
        try:
            yield started
        finally:
            for router in started:
                router.kill()
            for file in files:
                file.close()


class Audit:
    """Follows a topic from its start, for as long as it is wanted, and keeps what it saw."""

    def __init__(self, consumer: AIOKafkaConsumer) -> None:
        self._consumer = consumer
        self.records: list[ConsumerRecord] = []

    async def follow(self) -> None:
        """Reads until it is cancelled."""
        while True:
            for batch in (await self._consumer.getmany(timeout_ms=200)).values():
                self.records += batch

    def values(self) -> list[dict[str, Any]]:
        """The records' JSON."""
        return [json.loads(record.value) for record in self.records]

    def message_ids(self) -> list[str]:
        """Of deliveries, in the order of the topic."""
        return [value["message_id"] for value in self.values()]


@asynccontextmanager
async def audit(settings: Settings, topic: Topic) -> AsyncIterator[Audit]:
    """An independent reader of the topic."""
    await ensure_topics(settings, [topic])
    async with kafka_consumer(settings, settings.topic_prefix + topic.name, metadata_max_age_ms=1000) as consumer:
        found = Audit(consumer)
        task = asyncio.create_task(found.follow())
        try:
            yield found
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


@asynccontextmanager
async def feed(settings: Settings, per_second: int, **fields: Any) -> AsyncIterator[list[str]]:
    """Writes messages m0, m1, … all the time, spread over the partitions; gives the ids that Kafka has acknowledged."""
    await ensure_topics(settings, [MESSAGES])
    sent: list[str] = []

    async def write() -> None:
        async with kafka_producer(settings, linger_ms=0) as producer:
            number = 0
            while True:
                name = f"m{number}"
                value = {"producer": "ci", "id": name, "content": name, **fields}
                await producer.send_and_wait(
                    settings.topic_prefix + MESSAGES.name,
                    json.dumps(value).encode(),
                    partition=number % MESSAGES.partitions,
                )
                sent.append(name)
                number += 1
                await asyncio.sleep(1 / per_second)

    task = asyncio.create_task(write())
    try:
        yield sent
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def write_messages(
    settings: Settings, values: Iterable[bytes | Mapping[str, Any] | None], partition: int = 0
) -> None:
    """Writes on `messages` what no limit of the client's holds back."""
    await ensure_topics(settings, [MESSAGES])
    async with kafka_producer(settings, max_request_size=5_000_000, linger_ms=0) as producer:
        for value in values:
            raw = value if value is None or isinstance(value, bytes) else json.dumps(value).encode()
            await producer.send_and_wait(
                settings.topic_prefix + MESSAGES.name, raw, key=b"key" if raw is None else None, partition=partition
            )


async def all_heard(seen: Audit, sent: list[str], settle: int = 100) -> None:
    """Waits until everything that is sent by now and some more has come out."""
    wanted = len(sent) + settle
    await wait_until(lambda: len(sent) >= wanted)
    expected = set(sent[:wanted])
    await wait_until(
        lambda: expected <= set(seen.message_ids()),
        60,
        lambda: f"lost: {sorted(expected - set(seen.message_ids()))[:20]}",
    )


async def read_attempts(settings: Settings, count: int) -> list[dict[str, Any]]:
    """All attempts, without the counters; none while there are fewer than `count`."""
    found = [json.loads(record.value) for record in await read_all(settings, "attempts")]
    found = [attempt for attempt in found if "counters" not in attempt]
    return found if len(found) >= count else []


async def delete_topic(settings: Settings, name: str) -> None:
    """Deletes a topic (named without the prefix) and waits until it is gone."""
    async with kafka_admin(settings) as admin:
        await admin.delete_topics([settings.topic_prefix + name])

        async def gone() -> bool:
            return settings.topic_prefix + name not in await admin.list_topics()

        await wait_until(gone)


async def _hang(self: Router, batch: Any, finished: Any) -> None:
    await asyncio.Event().wait()


def main() -> None:
    """The process."""
    if len(sys.argv) > 1:
        missing_topics.MISSING_WAIT_S = float(sys.argv[1])
    if len(sys.argv) > 2:
        progress.STALL_S = float(sys.argv[2])
    if "hang" in sys.argv:
        Router.accept = _hang  # type: ignore[method-assign]
    settings = load_settings(env_file=None)

    async def work(stop: asyncio.Event) -> None:
        logging.getLogger("aiokafka").setLevel(logging.INFO)  # for `ready`
        await run_roles(settings, ["router"], stop, REGISTRY)

    sys.exit(run_role(settings, "router", work))


if __name__ == "__main__":
    main()

__all__ = ["REGISTRY", "audit", "client_options", "feed", "publish", "routers", "through", "write_messages"]
