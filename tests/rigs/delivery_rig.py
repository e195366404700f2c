"""Deliveries, sinks and a delivery worker for tests, and what they left on the topics."""

import asyncio
import json
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from notifier.attempt import Attempt
from notifier.dead_letter import DeadLetter
from notifier.definition import Definition, definition_key
from notifier.delivery import Delivery, delivery_id
from notifier.kafka import ensure_topics, kafka_admin, kafka_producer
from notifier.message import Message
from notifier.outcome import Kind
from notifier.record import JsonObject
from notifier.registry import Registry
from notifier.settings import Settings
from notifier.topics import DEFINITIONS, PARKED, deliveries
from streams.definitions import LAST
from streams.delivery.ledger import Ledgers
from streams.delivery.worker import run_delivery
from tests.rigs.kafka_tools import read_all, wait_until
from tests.rigs.sink import REGISTRY


def make(content: str, *, consumer: str = "sink", lane: str = "a", number: int = 0, **fields: Any) -> Delivery:
    """A delivery as the router makes it."""
    message = Message(producer="ci", content=content, receiver=lane)
    id_ = f"m-{content}-{number}"
    return Delivery(
        id=delivery_id("ci", id_, "all", consumer, lane),
        configuration="all",
        configuration_version=1,
        consumer=consumer,
        lane=lane,
        message=msgspec.Raw(message.encode()),
        message_id=id_,
        recipient=lane,
        address=lane,
        receiver=lane,
        **fields,
    )


async def define(
    settings: Settings, name: str, spec: dict[str, Any] | None, *, kind: Kind = "consumer", revision: int = 1
) -> None:
    """Publishes a definition, or its deletion, as the control API does; with a consumer also what sends to `a` by it."""
    defined = _defined[settings.topic_prefix]
    defined.add((kind, name))
    await _publish(settings, name, spec, kind, revision)
    if kind == "consumer" and ("configuration", "all") not in defined:
        consumers = sorted(name for kind, name in defined if kind == "consumer")
        await _publish(settings, "all", {"consumers": consumers}, "configuration", 1)
        await _define_people(settings, {"a"})


_defined: defaultdict[str, set[tuple[Kind, str]]] = defaultdict(set)  # by tests, and people by `send`; by topic prefix


async def _publish(settings: Settings, name: str, spec: dict[str, Any] | None, kind: Kind, revision: int) -> None:
    await ensure_topics(settings, [DEFINITIONS])
    value = None if spec is None else Definition(kind=kind, name=name, revision=revision, spec=spec).encode()
    async with kafka_producer(settings) as producer:
        await producer.send_and_wait(
            settings.topic_prefix + DEFINITIONS.name,
            value,
            key=definition_key(kind, name).encode(),
            headers=[("revision", str(revision).encode()), (LAST, b"1")],
        )


async def define_sink(
    settings: Settings, name: str = "sink", *, partitions: int = 1, spec: JsonObject | None = None, **parameters: Any
) -> Path:
    """A sink with its topic and the fields of `spec`; answers where it writes."""
    path = settings.data_dir / f"{name}.jsonl"
    path.touch()
    await ensure_topics(settings, [deliveries(name, partitions)])
    await define(settings, name, {"type": "sink", "parameters": {"path": str(path), **parameters}, **(spec or {})})
    return path


async def send(settings: Settings, made: Iterable[Delivery], age_s: float = 0) -> None:
    """Writes deliveries as the router did `age_s` ago, to people that are known: whom a test has not defined, it does now."""
    made = list(made)
    await _define_people(settings, {delivery.recipient for delivery in made if delivery.recipient is not None})
    async with kafka_producer(settings) as producer:
        for delivery in made:
            await producer.send(
                f"{settings.topic_prefix}deliveries.{delivery.consumer}",
                delivery.encode(),
                key=delivery.lane.encode(),
                timestamp_ms=int((time.time() - age_s) * 1000),
            )
        await producer.flush()


async def park(settings: Settings, delivery: Delivery) -> None:
    """Parks a delivery as a router does that holds it."""
    await ensure_topics(settings, [PARKED])
    async with kafka_producer(settings) as producer:
        await producer.send_and_wait(settings.topic_prefix + PARKED.name, delivery.encode(), key=delivery.id.encode())


async def _define_people(settings: Settings, names: set[str]) -> None:
    for name in sorted(names):
        if ("user", name) not in _defined[settings.topic_prefix]:
            await define(settings, name, {"additional_info": {"default": {"username": name}}}, kind="user")


@asynccontextmanager
async def working(
    settings: Settings, registry: Registry = REGISTRY, ledgers: Ledgers | None = None
) -> AsyncIterator[None]:
    """A delivery worker in this process, stopped in order at the end."""
    stop = asyncio.Event()
    worker = asyncio.create_task(run_delivery(settings, stop=stop, registry=registry, ledgers=ledgers))
    try:
        yield
    finally:
        stop.set()
        await worker


def seen(path: Path) -> list[dict[str, Any]]:
    """What a sink was given, in order. The last line of one that was killed may be cut."""
    return [json.loads(line) for line in path.read_text().splitlines() if line.endswith("}")]


async def saw(path: Path, count: int) -> list[dict[str, Any]]:
    """What a sink was given, once it is `count` deliveries."""
    await wait_until(lambda: len(seen(path)) >= count, otherwise=lambda: f"{len(seen(path))} of {count}")
    return seen(path)


async def attempts(settings: Settings) -> list[Attempt]:
    """All attempts, by time."""
    return [Attempt.decode(record.value) for record in await read_all(settings, "attempts")]


async def wait_for_attempts(settings: Settings, count: int, **expected: str) -> list[Attempt]:
    """All attempts, once `count` of them are as expected."""
    found: list[Attempt] = []

    async def enough() -> bool:
        nonlocal found
        found = await attempts(settings)
        return sum(all(getattr(a, name) == value for name, value in expected.items()) for a in found) >= count

    await wait_until(
        enough, otherwise=lambda: f"{count} attempts {expected} of {[(a.outcome, a.reason) for a in found]}"
    )
    return found


async def dead_letters(settings: Settings) -> list[DeadLetter]:
    """All dead letters, by time."""
    return [DeadLetter.decode(record.value) for record in await read_all(settings, "dead_letters")]


async def parked(settings: Settings) -> dict[str, Delivery]:
    """What is parked now, by id."""
    waiting: dict[str, Delivery] = {}
    for record in await read_all(settings, "parked"):
        if record.value is None:
            waiting.pop(record.key.decode(), None)
        else:
            waiting[record.key.decode()] = Delivery.decode(record.value)
    return waiting


async def committed(settings: Settings, consumer: str = "sink") -> dict[int, int]:
    """The committed offset of each partition of a consumer's topic."""
    topic = f"{settings.topic_prefix}deliveries.{consumer}"
    async with kafka_admin(settings) as admin:
        offsets = await admin.list_consumer_group_offsets(settings.topic_prefix + "delivery")
    return {tp.partition: meta.offset for tp, meta in offsets.items() if tp.topic == topic}


def with_(settings: Settings, **changes: Any) -> Settings:
    """The settings with some changed."""
    return settings.model_copy(update=changes)


async def buried(settings: Settings, letters: int) -> bool:
    """Whether there are at least `letters` dead letters."""
    return len(await dead_letters(settings)) >= letters


async def is_committed(settings: Settings, offsets: dict[int, int]) -> bool:
    """Whether exactly these offsets of the sink's topic are committed."""
    return await committed(settings) == offsets
