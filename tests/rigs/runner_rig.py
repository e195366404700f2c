"""Runners in this process with a fake producer, the definitions and ticks they get, and what they leave on the topics."""

import asyncio
import contextlib
import itertools
import json
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, Literal

from aiokafka import ConsumerRecord
from pydantic import SecretStr

from notifier import Context, Feed, JsonObject, Parameters, Producer
from notifier.catalog import Catalog
from notifier.definition import Definition, definition_key
from notifier.kafka import ensure_topics, kafka_producer
from notifier.outcome import Kind
from notifier.record import now
from notifier.registry import Registry
from notifier.run import Run
from notifier.sandbox import Level, Sandbox
from notifier.settings import Settings
from notifier.status import PRODUCER_PAUSE, Status
from notifier.topics import DEFINITIONS
from producers import BUILT_IN
from streams.definitions import Definitions
from streams.runner.leases import CLAIM, OWNER, Leases
from streams.runner.runner import Runner
from tests.rigs.kafka_tools import create_topic, produce, read_all, wait_until

AT = "2026-11-23T09:00:00Z"
ID = f"c/{AT}"  # of the run that most tests are about
LEASE_S = 1.5  # short, so that a lease that ended is seen soon; renewals have two thirds of it to arrive


class SayParameters(Parameters):
    """Parameters of Say."""

    items: tuple[Any, ...] = ()
    gate: str = ""  # name of the gate that it waits at
    error: str = ""  # what it raises
    counts: bool = False  # keeps how often it was asked, and says it in a message
    limit_s: float = 60.0
    token: SecretStr | None = None


class Say(Producer[SayParameters]):
    """Says what its parameters say, once its gate is open, and keeps who asked."""

    type = "say"
    Parameters = SayParameters
    asked: ClassVar[list[str]] = []
    keeps: ClassVar[Any] = None  # what each one keeps
    cursors: ClassVar[list[Any]] = []  # those that it was asked with
    closed: ClassVar[int] = 0
    gates: ClassVar[dict[str, asyncio.Event]] = {}

    def timeout_s(self) -> float:
        return self.parameters.limit_s

    async def produce(self, context: Context) -> list[JsonObject]:
        self.asked.append(context.name)
        self.cursors.append(context.cursor)
        count = (context.cursor or {}).get("count", 0) + 1
        if self.parameters.counts:
            context.keep({"count": count})
        if self.keeps is not None:
            context.keep(self.keeps)
        if self.parameters.gate:
            await self.gates.setdefault(self.parameters.gate, asyncio.Event()).wait()
        if self.parameters.error:
            raise RuntimeError(self.parameters.error)
        counted = [{"id": f"count-{count}", "content": f"{count}"}] if self.parameters.counts else []
        return [*self.parameters.items, *counted]

    async def close(self) -> None:
        type(self).closed += 1


class Tail(Producer[SayParameters]):
    """Gives what its parameters say, then what tests put into its queue, and keeps how often it began and how it ended."""

    type = "tail"
    Parameters = SayParameters
    pull = False
    follows = True
    began: ClassVar[list[str]] = []
    ended: ClassVar[list[str]] = []
    queues: ClassVar[dict[str, asyncio.Queue[Any]]] = {}

    async def follow(self, context: Context, feed: Feed) -> None:
        self.began.append(context.name)
        try:
            if self.parameters.items:
                await feed.write(self.parameters.items)
            if self.parameters.error:
                raise RuntimeError(self.parameters.error)
            while not self.parameters.gate:
                queue = self.queues.setdefault(context.name, asyncio.Queue())
                await feed.write([await queue.get()])
                queue.task_done()
        finally:
            self.ended.append(context.name)


REGISTRY = Registry((*BUILT_IN, Say, Tail))


async def define(settings: Settings, **kinds: dict[str, dict[str, Any] | None]) -> None:
    """Publishes definitions as one transaction: `configuration={"c": {...}}`; None deletes."""
    await ensure_topics(settings, [DEFINITIONS])
    revision = next(_revisions)
    changes = [(kind, name, spec) for kind, specs in kinds.items() for name, spec in specs.items()]
    async with (
        kafka_producer(settings, transactional_id=settings.topic_prefix + "outbox") as kafka,
        kafka.transaction(),
    ):
        for number, (kind, name, spec) in enumerate(changes, 1):
            headers = [("revision", b"%d" % revision)] + ([("last", b"1")] if number == len(changes) else [])
            await kafka.send(
                settings.topic_prefix + DEFINITIONS.name,
                key=definition_key(_kind(kind), name).encode(),
                value=None
                if spec is None
                else Definition(kind=_kind(kind), name=name, revision=revision, spec=spec).encode(),
                headers=headers,
            )


_revisions = itertools.count(1)


def _kind(text: str) -> Kind:
    assert text in ("user", "script", "producer", "filter", "consumer", "configuration")
    return text  # type: ignore[return-value]  # mypy does not narrow a str to a Literal by `in`


def says(*items: Any, **parameters: Any) -> dict[str, Any]:
    return {"type": "say", "parameters": {"items": list(items), **parameters}}


def tails(*items: Any, **parameters: Any) -> dict[str, Any]:
    return {"type": "tail", "parameters": {"items": list(items), **parameters}}


async def want(settings: Settings, producer: str, state: Literal["paused", "resumed"]) -> None:
    """Writes that a person wants a producer to be paused, or to go on."""
    status = Status(kind=PRODUCER_PAUSE, name=producer, state=state, at=now())
    await produce(settings, "status", [status.encode()], key=f"{PRODUCER_PAUSE}/{producer}")


def tick(configuration: str = "c", at: str = AT, **more: Any) -> dict[str, Any]:
    return {"configuration": configuration, "scheduled_at": at, **more}


async def ticks(settings: Settings, *values: Any) -> list[ConsumerRecord]:
    """Writes ticks and reads them back as an agent would get them."""
    await produce(settings, "ticks", values, key="c")
    return (await read_all(settings, "ticks"))[-len(values) :]


@contextlib.asynccontextmanager
async def running(settings: Settings, count: int = 1, **options: Any) -> AsyncIterator[list[Runner]]:
    """Some runners, each with its own definitions, started and in the end stopped."""
    sandbox = options.pop("sandbox", Sandbox(level=Level.none, explanation="this test runs no script"))
    followed = [Definitions(settings, Catalog(registry=REGISTRY)) for _ in range(count)]
    runners = [
        Runner(settings, definitions, sandbox, **{"lease_s": LEASE_S, "unknown_wait_s": 0.2, **options})
        for definitions in followed
    ]
    try:
        await asyncio.gather(*[runner.start() for runner in runners])
        yield runners
    finally:
        await asyncio.gather(*[runner.stop(0) for runner in runners])
        await asyncio.gather(*[definitions.stop() for definitions in followed])


async def end_of(settings: Settings, id_: str = ID) -> Run:
    """The run once it has ended."""
    return await state_of(settings, id_, lambda run: run.state != "running")


async def state_of(settings: Settings, id_: str, fits: Callable[[Run], bool]) -> Run:
    """The state of the run on the log, once it fits."""
    found: Run | None = None

    async def there() -> bool:
        nonlocal found
        leases = Leases()
        for record in sorted(await read_all(settings, "runs"), key=lambda record: (record.partition, record.offset)):
            leases.apply(record)
        lease = leases.get(id_)
        found = lease.run if lease else leases.end_of(id_)
        return found is not None and fits(found)

    await wait_until(there, otherwise=lambda: f"the run is {found}")
    assert found is not None
    return found


async def messages(settings: Settings) -> list[JsonObject]:
    return [json.loads(record.value) for record in await read_all(settings, "messages")]


async def dead_letters(settings: Settings, count: int) -> list[JsonObject]:
    found: list[JsonObject] = []

    async def enough() -> bool:
        nonlocal found
        found = [json.loads(record.value) for record in await read_all(settings, "dead_letters")]
        return len(found) >= count

    await wait_until(enough, otherwise=lambda: f"{len(found)} dead letters of {count}")
    return sorted(found, key=lambda letter: str(letter["id"]))


def a_run(**fields: Any) -> Run:
    return Run(configuration="c", scheduled_at=datetime(2026, 11, 23, 9, tzinfo=UTC), **fields)


async def write_run(settings: Settings, run: Run, writer: str, claim: bytes | None = None) -> int:
    """Writes a state of the run as a runner would; answers its offset."""
    await create_topic(settings, "runs")
    headers = [(OWNER, writer.encode())] + ([] if claim is None else [(CLAIM, claim)])
    async with kafka_producer(settings) as kafka:
        sent = await kafka.send_and_wait(settings.topic_prefix + "runs", run.encode(), key=ID.encode(), headers=headers)
        return int(sent.offset)


async def abandon(settings: Settings, **fields: Any) -> int:
    """A run whose owner went away a minute ago."""
    run = a_run(owner="ghost", lease_until=now() - timedelta(minutes=1), **fields)
    return await write_run(settings, run, "ghost", b"")
