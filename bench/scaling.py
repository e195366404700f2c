"""How work is shared: one router and two, one delivery worker and two, each a process of its own on one real broker.

Each case has topics of its own. The workers have their partitions before the clock starts; it runs from the first record written
to the last one handled. Before a figure is printed the ids are audited: each message has made one delivery, and each delivery
has one accepted attempt and no other. What a worker handled is what was committed on its partitions. At the end one router and
one delivery worker are stopped under load with SIGTERM, and nothing may be there twice.

The processes share this machine with the broker and with the program that writes: two workers are faster than one only where
there are cores for them, so the number of cores is printed, and processor seconds beside the rates.
"""

import asyncio
import json
import os
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment
from aiokafka.errors import GroupCoordinatorNotAvailableError

from bench.counting import REGISTRY
from bench.messages import write_parts
from bench.worker import Worker
from control_api.access.actor import COMMAND_LINE
from control_api.definitions.relay import Relay
from control_api.definitions.services import Services
from control_api.migrate import upgrade
from notifier.database import Database
from notifier.kafka import ensure_topics, kafka_admin, kafka_consumer, kafka_producer
from notifier.outcome import Kind
from notifier.record import JsonObject
from notifier.seal import generate_key, load_seal
from notifier.settings import Settings, load_settings
from notifier.topics import ATTEMPTS, MESSAGES, TOPICS, deliveries
from streams.broker.broker import EmbeddedBroker
from streams.broker.ports import free_port

ROUTED = 100_000  # messages through the routers
DELIVERED = 10_000  # through the delivery workers, which do more for each
USERS = 100
PER_SECOND = 1000  # while workers are stopped
PAUSE_S = 3.0  # before, between and after the stops
ROUNDS = 2  # of one worker and then two; the faster of each counts, since what else the machine does only slows
LIMIT_S = 300.0
STOP_LIMIT_S = 60.0  # in which a worker has to end in order
OUT = deliveries("counting", MESSAGES.partitions)


@dataclass(frozen=True)
class Case:
    """What was measured."""

    handled: Sequence[int]  # by each worker
    rate: float  # records a second, all workers together
    cpu_s: float  # processor seconds of all of them for a million records


async def main(arguments: Sequence[str] = ()) -> None:
    """Prints what each worker handled, rates as ratios, and processor seconds for a million messages."""
    with tempfile.TemporaryDirectory(prefix="notifier-bench-") as name:
        folder = Path(name).resolve()
        broker = EmbeddedBroker(load_settings(env_file=None, data_dir=folder / "broker", kafka_port=free_port()))
        address = await asyncio.to_thread(broker.start, die_with_parent=True)
        try:
            print(f"scaling, {os.cpu_count()} cores, {MESSAGES.partitions} partitions:")
            for role, count in (("router", ROUTED), ("delivery", DELIVERED)):
                measured = [
                    [await _measure(folder, address, role, workers, count, turn) for workers in (1, 2)]
                    for turn in range(ROUNDS)
                ]
                cases = [max(both, key=lambda case: case.rate) for both in zip(*measured, strict=True)]
                for case in cases:
                    print(
                        f"  {role}: {count} handled by {len(case.handled)} worker(s) as"
                        f" {' + '.join(map(str, case.handled))}, {case.cpu_s:.0f} processor seconds a million"
                    )
                one, two = cases
                print(
                    f"  {role}: two workers against one: rate × {two.rate / one.rate:.2f},"
                    f" processor time × {two.cpu_s / one.cpu_s:.2f}"
                )
            await _stop_some(folder, address)
        finally:
            await asyncio.to_thread(broker.stop)


async def _measure(folder: Path, address: str, role: str, workers: int, count: int, turn: int) -> Case:
    ids = [str(number) for number in range(count)]
    settings = await _prepare(folder, address, f"{role}-{workers}-{turn}.")
    topic, group = (MESSAGES, "router") if role == "router" else (OUT, "delivery")
    async with _running(settings, **{"router": 1, "delivery": 0, role: workers}) as running:
        measured = running[role]
        cpu_before = sum(worker.usage().cpu_s for worker in measured)
        started = time.monotonic()
        async with kafka_producer(settings) as producer:
            await _write(settings, producer, ids)

        async def handled() -> int:
            return sum((await _shares(settings, group, topic.name)).values())

        await _until(handled, count)
        elapsed_s = time.monotonic() - started
        cpu_s = sum(worker.usage().cpu_s for worker in measured) - cpu_before
        shares = await _shares(settings, group, topic.name)
        await _audit(settings, ids, delivered=role == "delivery")
    assert len(shares) == workers, shares
    assert all(shares.values()), f"a worker had nothing to do: {shares}"
    return Case(sorted(shares.values()), count / elapsed_s, cpu_s / count * 1e6)


async def _stop_some(folder: Path, address: str) -> None:
    """Two of each; one of each is stopped in order while messages flow."""
    settings = await _prepare(folder, address, "stop.")
    enough = asyncio.Event()
    async with _running(settings, router=2, delivery=2) as running:
        flow = asyncio.create_task(_flow(settings, enough))
        for role in ("router", "delivery"):
            await asyncio.sleep(PAUSE_S)
            await _stop(running[role][0])
        await asyncio.sleep(PAUSE_S)
        enough.set()
        ids = await flow

        async def handled() -> int:
            return sum((await _shares(settings, "delivery", OUT.name)).values())

        await _until(handled, len(ids))
        await _audit(settings, ids, delivered=True)
    print(f"  one router and one delivery worker stopped under load: {len(ids)} messages, none lost, none twice")


async def _prepare(folder: Path, address: str, prefix: str) -> Settings:
    """Topics and definitions for one case."""
    given = {"kafka": address, "topic_prefix": prefix, "data_dir": folder / prefix, "secret_key": generate_key()}
    settings = load_settings(env_file=None, **given)
    settings.data_dir.mkdir()
    await ensure_topics(settings, [*TOPICS, OUT])
    names = [f"user-{number}" for number in range(USERS)]
    written: list[tuple[Kind, JsonObject]] = [
        *(("user", {"username": name}) for name in names),
        ("producer", {"name": "bench", "type": "push"}),
        ("consumer", {"name": "counting", "type": "counting", "parameters": {"partitions": OUT.partitions}}),
        ("configuration", {"name": "bench", "users": names, "producers": ["bench"], "consumers": ["counting"]}),
    ]
    await upgrade(settings)
    database = Database(settings)
    relay = Relay(settings, database)
    try:
        services = Services(database, REGISTRY, load_seal(settings))
        for kind, document in written:
            await services.create(COMMAND_LINE, kind, document)
        assert await relay.publish()
    finally:
        await relay.close()
        await database.close()
    return settings


@asynccontextmanager
async def _running(settings: Settings, *, router: int, delivery: int) -> AsyncIterator[dict[str, list[Worker]]]:
    """Workers by role that have their partitions; stopped in order afterwards."""
    running: dict[str, list[Worker]] = {
        role: [
            Worker(("bench.counting", role), settings, settings.data_dir / f"{role}-{number}.log")
            for number in range(count)
        ]
        for role, count in (("router", router), ("delivery", delivery))
    }
    workers = [worker for some in running.values() for worker in some]
    try:
        for group, count, topic in (("router", router, MESSAGES), ("delivery", delivery, OUT)):

            async def members(group: str = group, topic: str = topic.name) -> int:
                assigned = await _assigned(settings, group, topic)
                return len(assigned) if all(assigned.values()) else 0

            await _until(members, count)
        yield running
        for worker in workers:
            if worker.runs():
                await _stop(worker)
    finally:
        for worker in workers:
            worker.kill()


async def _stop(worker: Worker) -> None:
    """Asks it to end, as an orchestrator does; it must end in order."""
    status = await asyncio.to_thread(worker.stop, STOP_LIMIT_S)
    assert status == 0, f"a worker ended with status {status}:\n{worker.log()}"


async def _assigned(settings: Settings, group: str, topic: str) -> dict[str, list[int]]:
    """The partitions of each member of the group."""
    try:
        async with kafka_admin(settings) as admin:
            (response,) = await admin.describe_consumer_groups([settings.topic_prefix + group])
    except GroupCoordinatorNotAvailableError:  # the broker makes its topic of offsets when the first group comes
        return {}
    found: dict[str, list[int]] = {}
    for error, _, state, _, _, members, *_ in response.groups:
        if error or state != "Stable":
            return {}
        for member in members:
            assignment = ConsumerProtocolMemberAssignment.decode(member[-1])
            found[member[0]] = [
                partition
                for name, partitions in assignment.assignment
                if name == settings.topic_prefix + topic
                for partition in partitions
            ]
    return found


async def _shares(settings: Settings, group: str, topic: str) -> dict[str, int]:
    """How many records each member of the group has finished, by what is committed on its partitions."""
    async with kafka_admin(settings) as admin:
        committed = await admin.list_consumer_group_offsets(settings.topic_prefix + group)
    name = settings.topic_prefix + topic
    return {
        member: sum(max(0, committed[tp].offset) for p in partitions if (tp := TopicPartition(name, p)) in committed)
        for member, partitions in (await _assigned(settings, group, topic)).items()
    }


async def _until(count: Callable[[], Awaitable[int]], wanted: int) -> None:
    deadline = time.monotonic() + LIMIT_S
    while (found := await count()) < wanted:
        assert time.monotonic() < deadline, f"{found} of {wanted} within {LIMIT_S:.0f} s"
        await asyncio.sleep(0.1)
    assert found == wanted, f"{found} of {wanted}"


async def _flow(settings: Settings, enough: asyncio.Event) -> list[str]:
    """Writes messages at an even rate until it is enough; answers their ids."""
    ids: list[str] = []
    started = time.monotonic()
    async with kafka_producer(settings) as producer:
        while not enough.is_set():
            more = [str(len(ids) + number) for number in range(PER_SECOND // 10)]
            await _write(settings, producer, more)
            ids += more
            await asyncio.sleep(max(0.0, started + len(ids) / PER_SECOND - time.monotonic()))
    return ids


async def _write(settings: Settings, producer: AIOKafkaProducer, ids: Sequence[str]) -> None:
    """Writes the messages, spread over the partitions, as fast as they go."""
    topic = settings.topic_prefix + MESSAGES.name
    parts = [ids[partition :: MESSAGES.partitions] for partition in range(MESSAGES.partitions)]
    await write_parts(producer, topic, [[(None, _message(id_)) for id_ in part] for part in parts])


def _message(id_: str) -> bytes:
    message = {"producer": "bench", "id": id_, "receiver": f"user-{int(id_) % USERS}", "content": "x" * 200}
    return json.dumps(message).encode()


async def _audit(settings: Settings, ids: Sequence[str], *, delivered: bool) -> None:
    """Each message has made one delivery, and that has been accepted once, if it was to be delivered; nothing else is there."""
    made = Counter([json.loads(value)["message_id"] for value in await _values(settings, OUT.name)])
    assert made == Counter(ids), "each message makes one delivery"
    if delivered:
        values = [json.loads(value) for value in await _values(settings, ATTEMPTS.name)]
        attempts = Counter((one["message"], one["outcome"]) for one in values if "counters" not in one)
        assert attempts == Counter((id_, "accepted") for id_ in ids), "each delivery is accepted once and tried once"


async def _values(settings: Settings, topic: str) -> list[bytes]:
    name = settings.topic_prefix + topic
    async with kafka_admin(settings) as admin:
        (described,) = await admin.describe_topics([name])
    partitions = [TopicPartition(name, one["partition"]) for one in described["partitions"]]
    values: list[bytes] = []
    async with kafka_consumer(settings) as consumer:
        consumer.assign(partitions)
        ends = await consumer.end_offsets(partitions)
        await consumer.seek_to_beginning(*partitions)
        while any([await consumer.position(partition) < end for partition, end in ends.items()]):
            for records in (await consumer.getmany(timeout_ms=200)).values():
                values += [record.value for record in records]
    return values
