"""Load on real routers, and the hands that disturb them.

A `Scene` has router processes, a `Feeder` that writes messages all the time and remembers those that Kafka acknowledged, and a
`Reader` that follows the topics of all consumers, which have 4 partitions each, `parked` and `dead_letters`. `tests.rigs.audit`
compares the two. The faults themselves, and what is expected of each, are `tests.streams.test_faults`'s.
"""

import asyncio
import json
import random
import signal
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any

import orjson
from aiokafka import ConsumerRecord, TopicPartition

from notifier.kafka import ensure_topics, kafka_admin, kafka_consumer, kafka_producer
from notifier.settings import Settings
from notifier.topics import DEAD_LETTERS, DELIVERIES, MESSAGES, PARKED, TOPICS, Topic, deliveries
from streams.broker.broker import EmbeddedBroker
from tests.rigs.audit import EXITS, Report, Seen, Sent, audit
from tests.rigs.kafka_tools import wait_until
from tests.rigs.router_rig import RouterProcess, delete_topic, publish, through

RATE = 500  # messages a second
PEOPLE = [f"u{number}" for number in range(40)]
PATIENCE_S = 60.0  # nothing more comes, once nothing has come for so long; a topic may be waited for for 30 s
_WRITES_EVERY_S = 0.05


class Feeder:
    """Writes `RATE` messages a second, keyed by person, in turn, from `start` to `stop`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._open = asyncio.Event()
        self._open.set()
        self._quiet = asyncio.Event()  # paused, and nothing is under way
        self._stopping = False
        self._pending: set[asyncio.Future[Any]] = set()
        self._task: asyncio.Task[None] | None = None
        self.sent: list[Sent] = []  # acknowledged
        self.unsure: list[Sent] = []  # nobody knows whether Kafka has them; without partition and offset

    def start(self) -> None:
        """Begins."""
        self._task = asyncio.create_task(self._write(), name="feeder")

    async def pause(self) -> None:
        """No more messages until `go_on`; returns when every one before is acknowledged or has failed."""
        self._open.clear()
        await self._quiet.wait()

    def go_on(self) -> None:
        """After a pause."""
        self._open.set()

    async def stop(self) -> None:
        """Returns when every message is acknowledged or has failed."""
        self._stopping = True
        self._open.set()
        if self._task is not None:
            await self._task

    async def _write(self) -> None:
        # It must outlast the broker's absence: what it does not know to be written is not audited.
        producer = kafka_producer(self._settings, linger_ms=5, request_timeout_ms=120_000)
        number = 0
        due = monotonic()
        async with producer:
            while not self._stopping:
                if not self._open.is_set():
                    await asyncio.gather(*self._pending, return_exceptions=True)
                    self._quiet.set()
                    await self._open.wait()
                    self._quiet.clear()
                for _ in range(round(RATE * _WRITES_EVERY_S)):
                    person = PEOPLE[number % len(PEOPLE)]
                    await self._send(producer, person, number // len(PEOPLE))
                    number += 1
                due = max(due + _WRITES_EVERY_S, monotonic() - 0.5)  # it catches up with half a second, not with more
                await asyncio.sleep(max(0.0, due - monotonic()))
            await asyncio.gather(*self._pending, return_exceptions=True)

    async def _send(self, producer: Any, person: str, number: int) -> None:
        message = {"producer": "ci", "id": f"{person}-{number}", "receiver": person, "content": f"number {number}"}
        future: asyncio.Future[Any] = await producer.send(
            self._settings.topic_prefix + MESSAGES.name, orjson.dumps(message), key=person.encode()
        )
        self._pending.add(future)
        future.add_done_callback(partial(self._settle, person, number))

    def _settle(self, person: str, number: int, future: "asyncio.Future[Any]") -> None:
        self._pending.discard(future)
        if future.cancelled() or future.exception() is not None:
            self.unsure.append(Sent(person=person, number=number, partition=-1, offset=-1, at=monotonic()))
            return
        written = future.result()
        self.sent.append(
            Sent(person=person, number=number, partition=written.partition, offset=written.offset, at=monotonic())
        )


class Reader:
    """Follows topics from their start and keeps what it saw, each topic in its order."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self.seen: list[Seen] = []
        self.dead: list[str] = []  # records that became dead letters
        self.ids: set[str] = set()  # of both

    async def follow(self, topic: Topic) -> None:
        """Begins with it; of a topic that was deleted and created again, at its new start."""
        consumer = kafka_consumer(
            self._settings,
            self._settings.topic_prefix + topic.name,
            metadata_max_age_ms=1000,
            # Few large fetches: the audit shall not be the broker's main work.
            fetch_min_bytes=100_000,
            fetch_max_wait_ms=200,
        )
        await consumer.start()
        self._tasks[topic.name] = asyncio.create_task(self._read(consumer, topic), name=f"reader of {topic.name}")

    async def leave(self, topic: str) -> None:
        """Ends with it."""
        task = self._tasks.pop(topic)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async def stop(self) -> None:
        """Ends with all."""
        for topic in list(self._tasks):
            await self.leave(topic)

    async def _read(self, consumer: Any, topic: Topic) -> None:
        try:
            while True:
                for records in (await consumer.getmany(timeout_ms=200)).values():
                    for record in records:
                        self._keep(topic, record, monotonic())
        finally:
            await consumer.stop()

    def _keep(self, topic: Topic, record: ConsumerRecord, at: float) -> None:
        value = orjson.loads(record.value)
        if topic is DEAD_LETTERS:
            self.dead.append(f"{value['partition']}/{value['offset']}")
            self.ids.add(self.dead[-1])
            return
        self.ids.add(value["id"])
        self.seen.append(Seen(id=value["id"], version=value["configuration_version"], parked=topic is PARKED, at=at))


class Scene:
    """Routers at work under load, and the hands that disturb them. Made by `scene`."""

    def __init__(
        self,
        settings: Settings,
        folder: Path,
        *,
        seed: int,
        broker: EmbeddedBroker | None,
        missing_wait_s: float | None,
    ) -> None:
        self.settings = settings
        self.folder = folder  # for logs, and for what explains a failure
        self.seed = seed
        self.random = random.Random(seed)
        self.feeder = Feeder(settings)
        self.reader = Reader(settings)
        self.routers: list[RouterProcess] = []  # that are meant to live
        self.notes: list[str] = []  # what was done, and when
        self.unreadable: list[str] = []  # records, `<partition>/<offset>`
        self.since = 0.0  # when the fault began; stalls are counted from there
        self._committed: dict[
            int, int
        ] = {}  # partition of `messages` → what the routers had committed when the fault began
        self._read: dict[int, int] = {}  # partition → the end that whoever the fault hit cannot have read beyond
        self._broker = broker
        self._missing_wait_s = missing_wait_s
        self._all: list[RouterProcess] = []
        self._started = monotonic()

    def note(self, text: str) -> None:
        """Remembers what is done now."""
        self.notes.append(f"{monotonic() - self._started:6.2f} s  {text}")

    async def pause(self, at_most_s: float) -> None:
        """A random moment within so many seconds."""
        await asyncio.sleep(self.random.uniform(0, at_most_s))

    # --- routers ---

    def start(self) -> RouterProcess:
        """One more router."""
        command = ["tests.rigs.router_rig"] + ([] if self._missing_wait_s is None else [str(self._missing_wait_s)])
        log = (self.folder / f"router-{len(self._all)}.log").open("wb")
        router = RouterProcess(self.settings, command, log)
        self._all.append(router)
        self.routers.append(router)
        self.note(f"router {router.process.pid} is started")
        return router

    def signal(self, router: RouterProcess, number: signal.Signals) -> None:
        """Sends it; after SIGKILL and SIGTERM the router is not expected to live."""
        self.note(f"router {router.process.pid} gets {number.name}")
        if number in (signal.SIGKILL, signal.SIGTERM):
            self.routers.remove(router)
        router.process.send_signal(number)

    def any_router(self) -> RouterProcess:
        """One of them, by chance."""
        return self.random.choice(self.routers)

    async def begin(self) -> None:
        """The fault begins now."""
        async with kafka_admin(self.settings) as admin:
            offsets = await admin.list_consumer_group_offsets(self.settings.topic_prefix + "router")
        self._committed = {at.partition: committed.offset for at, committed in offsets.items()}
        self.since = monotonic()

    async def read_no_further(self) -> None:
        """The router that the fault hit reads nothing that is written from now on; what it has read may be repeated."""
        topic = self.settings.topic_prefix + MESSAGES.name
        async with kafka_consumer(self.settings) as consumer:
            partitions = [TopicPartition(topic, number) for number in range(MESSAGES.partitions)]
            self._read = {at.partition: end for at, end in (await consumer.end_offsets(partitions)).items()}

    def needless(self, report: Report) -> list[str]:
        """Messages that came out twice though they were committed when the fault began, or written after it."""
        sent = {message.id: message for message in self.feeder.sent}
        return [id_ for id_ in report.repeated if id_ not in sent or not self._repeatable(sent[id_])]

    def _repeatable(self, sent: Sent) -> bool:
        return self._committed.get(sent.partition, 0) <= sent.offset < self._read.get(sent.partition, sent.offset + 1)

    async def flowing(self) -> None:
        """Returns when what is written by now has come out."""
        await wait_until(lambda: self.feeder.sent)
        assert not await self.missing(), "what was sent does not come out"

    # --- topics and records ---

    async def delete_topic(self, consumer: str) -> None:
        """Deletes the topic of the consumer at a moment when nothing is on it that was not read."""
        name = self.settings.topic_prefix + DELIVERIES + consumer
        await self.feeder.pause()
        await self.flowing()
        await self.reader.leave(DELIVERIES + consumer)
        await delete_topic(self.settings, DELIVERIES + consumer)
        self.note(f"{name} is gone")
        self.feeder.go_on()

    async def create_topic(self, consumer: str) -> None:
        """Creates it again."""
        topic = deliveries(consumer, 4)
        await ensure_topics(self.settings, [topic])
        self.note(f"{topic.name} is back")
        await self.reader.follow(topic)

    async def write_unreadable(self, values: Sequence[bytes], partition: int) -> None:
        """Writes records that are no messages, in a row."""
        self.note(f"{len(values)} records that nobody can read on partition {partition}")
        name = self.settings.topic_prefix + MESSAGES.name
        async with kafka_producer(self.settings) as producer:
            sent = [await producer.send(name, value, partition=partition) for value in values]
            self.unreadable += [f"{partition}/{written.offset}" for written in await asyncio.gather(*sent)]

    async def edit(self, revision: int) -> None:
        """A new version of the configuration `watch`, which drops nothing either."""
        spec = through("one", "two", users=PEOPLE, filters=["harmless"] if revision % 2 else [])
        await publish(self.settings, {"configuration/watch": spec}, revision)
        self.note(f"definitions {revision}")

    async def restart_broker(self, away_s: float) -> None:
        """Stops the scene's own broker, and starts it again after so many seconds."""
        assert self._broker is not None
        self.note("the broker is stopped")
        await asyncio.to_thread(self._broker.stop)
        await asyncio.sleep(away_s)
        await asyncio.to_thread(partial(self._broker.start, die_with_parent=True))
        self.note("the broker is back")

    # --- the audit ---

    async def missing(self) -> set[str]:
        """What should come of all that is written by now and does not, as far as patience goes; empty when all did."""
        left = {message.delivery(consumer) for message in self.feeder.sent for consumer in EXITS}
        left.update(self.unreadable)
        until = monotonic() + PATIENCE_S
        while monotonic() < until:
            still = {id_ for id_ in left if id_ not in self.reader.ids}
            if not still:
                return still
            if len(still) < len(left):
                left, until = still, monotonic() + PATIENCE_S
            await asyncio.sleep(0.1)
        return left

    async def report(self) -> Report:
        """Stops the load, waits until all is out, and audits."""
        await self.feeder.stop()
        self.note("the load is stopped")
        await self.missing()
        self.note("nothing more is waited for")
        return self.audit()

    def audit(self) -> Report:
        """The audit at this moment."""
        return audit(
            self.feeder.sent,
            self.reader.seen,
            unreadable=self.unreadable,
            dead=self.reader.dead,
            tried=self.feeder.unsure,
            since=self.since,
        )

    def fallen(self) -> list[int]:
        """The exit statuses of routers that have ended by themselves."""
        return [router.process.returncode for router in self.routers if router.process.poll() is not None]

    def keep(self, report: Report) -> Path:
        """Writes down what explains a failure, beside the routers' logs; answers the folder."""
        wrong = {*report.lost, *report.overtaken, *report.backward, *report.strange}
        origins = {
            message.delivery(consumer): asdict(message)
            for message in self.feeder.sent
            for consumer in EXITS
            if message.delivery(consumer) in wrong or message.id in report.repeated
        }
        copies: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for found in self.reader.seen:
            if found.id in wrong or found.id in origins:
                copies[found.id].append(asdict(found))
        what = {
            "seed": self.seed,
            "clock": self._started,
            "notes": self.notes,
            "report": asdict(report),
            "sent": origins,
            "seen": copies,
        }
        (self.folder / "report.json").write_text(json.dumps(what, indent=1))
        return self.folder

    async def close(self) -> None:
        """Ends everything."""
        for router in self._all:
            router.kill()  # a stopped one too
            router.log.close()
        try:
            await self.feeder.stop()
        finally:
            await self.reader.stop()


@asynccontextmanager
async def scene(
    settings: Settings,
    folder: Path,
    *,
    seed: int,
    broker: EmbeddedBroker | None = None,
    missing_wait_s: float | None = None,
) -> AsyncIterator[Scene]:
    """Topics, definitions and readers, as yet without load and without a router."""
    await ensure_topics(settings, [*TOPICS, *(deliveries(consumer, 4) for consumer in EXITS)])
    await publish(
        settings,
        {
            **{f"user/{person}": {"additional_info": {"chat": {"id": number}}} for number, person in enumerate(PEOPLE)},
            "producer/ci": {"type": "push"},
            "filter/harmless": {"type": "skip_keywords", "parameters": {"skip_keywords": ["nobody says this"]}},
            **{f"consumer/{consumer}": {"type": "direct", "parameters": {"partitions": 4}} for consumer in EXITS},
            **{
                f"configuration/{name}": through(
                    *(consumer for consumer in EXITS if EXITS[consumer] == name), users=PEOPLE
                )
                for name in set(EXITS.values())
            },
        },
    )
    found = Scene(settings, folder, seed=seed, broker=broker, missing_wait_s=missing_wait_s)
    try:
        for topic in (DEAD_LETTERS, PARKED, *(deliveries(consumer, 4) for consumer in EXITS)):
            await found.reader.follow(topic)
        yield found
    finally:
        await found.close()
