"""One contender with one rule, on topics of its own: fed, watched from outside, checked.

How a flow is measured: the processes run and have been warmed up by a flow before. They are halted while all input is put onto
the topic, so that nobody waits for it, and the clock starts when they go on. From then until the last delivery is on the
consumers' topics count the seconds that pass; until all input is committed too, the processor seconds (user and system) of the
processes and their children. How far a flow has come is read from the end offsets of the topics about twenty times a second, so
the end is known to 0.05 s.
"""

import asyncio
import gc
import itertools
import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from aiokafka import AIOKafkaConsumer, TopicPartition

from bench import loop, stock
from bench.audit import faults, read_deliveries
from bench.definitions import Publisher, publisher
from bench.messages import Messages, message_id
from bench.rule import Rule
from bench.worker import Failed, Usage, Worker
from notifier.kafka import ensure_topics, kafka_admin, kafka_consumer
from notifier.settings import Settings
from notifier.topics import ATTEMPTS, DEAD_LETTERS, DELIVERIES, MESSAGES, TOPICS, deliveries

WARM_UP = 0.2  # of the deliveries of a flow that is not measured but tells the speed
POLL_S = 0.05
STILL_S = 60.0  # without a delivery before we say that nothing comes any more
MIB = 1024 * 1024

ROUTER, LOOP, STOCK = "router", loop.GROUP, stock.GROUP
CONTENDERS = {ROUTER: "Notifier's router", LOOP: "hand-written aiokafka loop", STOCK: "stock Faust agent"}

_numbers = itertools.count()


@dataclass(frozen=True)
class Figures:
    """What was seen of one flow. Without a rate: it was over before that could be told."""

    messages: int
    seconds: float
    rate: float | None  # messages a second
    cpu_s: float | None  # processor seconds of all processes for a million messages
    rss_max_mib: float  # of all processes
    rss_end_mib: float
    pss_end_mib: float | None  # the same without what they share with others, where the system tells


class Trial:
    """A contender with a rule. Made by `trial`."""

    def __init__(
        self, contender: str, rule: Rule, messages: Messages, settings: Settings, probe: AIOKafkaConsumer
    ) -> None:
        self.contender = contender
        self.settings = settings
        self.messages = messages
        self.written = 0  # messages on the topic
        self.publisher: Publisher | None = None  # of definitions, where the contender reads them
        self.rule = rule
        self._probe = probe
        self._outputs = [
            TopicPartition(settings.topic_prefix + DELIVERIES + name, number)
            for name in rule.consumers.names
            for number in range(rule.consumers.partitions)
        ]
        # So that it knows about all topics at once and need not find each one; it is only asked, and reads nothing.
        probe.assign(self._outputs)
        probe.pause(*self._outputs)
        self._input = [
            TopicPartition(settings.topic_prefix + MESSAGES.name, number) for number in range(rule.partitions)
        ]
        self._done = 0  # messages whose deliveries were watched to the end
        self.delivered = 0  # deliveries that those made

    # --- its processes ---

    @asynccontextmanager
    async def workers(self, count: int = 1) -> AsyncIterator[list[Worker]]:
        """That many processes; they end with the block."""
        started: list[Worker] = []
        try:
            for _ in range(count):
                started.append(self._worker(self._command()))  # noqa: PERF401 - those that started must end, if one cannot
            yield started
            for worker in started:
                await asyncio.to_thread(worker.stop)
        finally:
            for worker in started:
                worker.kill()

    @asynccontextmanager
    async def follower(self, *consumers: str) -> AsyncIterator[Callable[[], list[tuple[str, int]]]]:
        """A process that notes when deliveries arrive; gives what it has noted so far: message ids and nanoseconds.

        Follows consumers with one partition each, or all of the rule.
        """
        file = self.settings.data_dir / f"arrivals-{next(_numbers)}"
        partitions = 1 if consumers else self.rule.consumers.partitions
        topics = [
            f"{self.settings.topic_prefix}{DELIVERIES}{name}:{partitions}"
            for name in consumers or self.rule.consumers.names
        ]
        follower = self._worker(("bench.follower", str(self.settings.kafka), str(file), *topics))
        try:
            while not file.exists() or not file.read_text():
                follower.usage()
                await asyncio.sleep(POLL_S)

            def noted() -> list[tuple[str, int]]:
                lines = (line.split() for line in file.read_text().splitlines()[1:])
                return [(name, int(at)) for name, at in lines]

            yield noted
        finally:
            follower.kill()

    def _command(self) -> tuple[str, ...]:
        if self.contender == ROUTER:
            return ("notifier", "router")
        file = self.settings.data_dir / "rule.json"
        if not file.exists():
            self.rule.write(file)
        return (f"bench.{self.contender}", str(self.settings.kafka), self.settings.topic_prefix, str(file))

    def _worker(self, command: Sequence[str]) -> Worker:
        return Worker(command, self.settings, self.settings.data_dir / f"worker-{next(_numbers)}.log")

    # --- its flow ---

    async def write(self, count: int) -> None:
        """Puts the next messages onto the topic."""
        await self.messages.write(self.settings, self.written, self.written + count)
        self.written += count

    async def flow(self, count: int, per_second: float) -> AsyncIterator[tuple[str, int]]:
        """Puts the next messages onto the topic at a rate; gives their ids and the nanoseconds when each was sent."""
        first, self.written = self.written, self.written + count
        async for number, at in self.messages.flow(self.settings, first, self.written, per_second):
            yield message_id(number), at

    async def measure(self, count: int, workers: Sequence[Worker]) -> Figures:
        """A flow of the next messages, as said above."""
        self.messages.make(self.written + count)
        for worker in workers:
            worker.hold()
        try:
            await self.write(count)
            begun = time.monotonic(), 0, _usage(workers)
        finally:
            for worker in workers:
                worker.resume()
        return await self._watch(workers, begun)

    async def warm_up(self, count: int, workers: Sequence[Worker]) -> Figures:
        """A flow of the next messages while the processes start. Its figures, from 20 % of its deliveries on, are rough."""
        await self.write(count)
        return await self._watch(workers)

    async def finish(self, workers: Sequence[Worker]) -> None:
        """Waits until all that was written is done."""
        await self._watch(workers)

    async def all_take_part(self, workers: Sequence[Worker]) -> None:
        """Waits until each of the processes is a member of the contender's group, with its partitions."""
        deadline = time.monotonic() + STILL_S
        async with kafka_admin(self.settings) as admin:
            while True:
                (answer,) = await admin.describe_consumer_groups([self.settings.topic_prefix + self.contender])
                ((_, _, state, _, _, members, *_),) = answer.groups
                if state == "Stable" and len(members) == len(workers):
                    return
                if time.monotonic() > deadline:
                    raise Failed(f"of {len(workers)} processes {len(members)} take part:\n{workers[-1].log()}")
                await asyncio.sleep(POLL_S)

    async def _watch(self, workers: Sequence[Worker], begun: tuple[float, int, Usage] | None = None) -> Figures:
        before = self.delivered
        due = self.messages.deliveries(self._done, self.written)
        count = self.written - self._done
        last, last_at = -1, time.monotonic()
        rss = 0
        while True:
            asked = time.monotonic()
            done = await self.outputs() - before
            usage = _usage(workers)
            now = time.monotonic()
            rss = max(rss, usage.rss)
            if begun is None and done >= max(1, WARM_UP * due):
                begun = now, done, usage
            if done >= due:
                break
            if done > last:
                last, last_at = done, now
            elif now - last_at > STILL_S:
                raise Failed(f"{due - done} of {due} deliveries do not come:\n{workers[0].log()}")
            # Asking about a thousand partitions takes the broker's time, and this one's.
            await asyncio.sleep(max(POLL_S, 4 * (now - asked)))
        await self._committed(workers)
        self._done, self.delivered = self.written, before + due
        usage = _usage(workers)
        start, done_before, usage_before = begun or (now, due, usage)
        seconds = now - start
        measured = count * (due - done_before) / due
        return Figures(
            messages=count,
            seconds=round(seconds, 3),
            rate=round(measured / seconds, 1) if measured else None,
            cpu_s=round((usage.cpu_s - usage_before.cpu_s) / measured * 1e6, 2) if measured else None,
            rss_max_mib=round(max(rss, usage.rss) / MIB, 1),
            rss_end_mib=round(usage.rss / MIB, 1),
            pss_end_mib=_pss_mib(workers),
        )

    async def check(self) -> None:
        """Raises Failed unless the deliveries of everything written are on the topics, each exactly once."""
        found = await read_deliveries(self.settings, self._outputs)
        said = faults(self.messages.expected(self.written), found)
        if self.contender == ROUTER:
            if letters := await self._size(DEAD_LETTERS.name):
                said.append(f"{letters} dead letters")
            if not await self._size(ATTEMPTS.name):
                said.append("no attempts: nothing was recorded")
        if said:
            raise Failed(f"the outputs are wrong: {'; '.join(said)}")

    async def outputs(self) -> int:
        """How many deliveries there are now."""
        return sum((await self._probe.end_offsets(self._outputs)).values())

    @property
    def partitions(self) -> list[TopicPartition]:
        """Of the consumers' topics."""
        return self._outputs

    async def _size(self, topic: str) -> int:
        partitions = next(row.partitions for row in TOPICS if row.name == topic)
        name = self.settings.topic_prefix + topic
        ends = await self._probe.end_offsets([TopicPartition(name, number) for number in range(partitions)])
        return sum(ends.values())

    async def _committed(self, workers: Sequence[Worker]) -> None:
        written = sum((await self._probe.end_offsets(self._input)).values())
        deadline = time.monotonic() + STILL_S
        async with kafka_admin(self.settings) as admin:
            while True:
                group = await admin.list_consumer_group_offsets(self.settings.topic_prefix + self.contender)
                if sum(committed.offset for committed in group.values()) >= written:
                    return
                if time.monotonic() > deadline:
                    raise Failed(f"all deliveries are there, and not all messages are committed:\n{workers[0].log()}")
                await asyncio.sleep(POLL_S)


@contextmanager
def no_collector() -> Iterator[None]:
    """Without the garbage collector in this process: with these many messages it stops the sending for 0.1 s."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _pss_mib(workers: Sequence[Worker]) -> float | None:
    found = [worker.pss() for worker in workers]
    return None if None in found else round(sum(bytes_ or 0 for bytes_ in found) / MIB, 1)


def _usage(workers: Sequence[Worker]) -> Usage:
    return sum((worker.usage() for worker in workers), Usage())


@asynccontextmanager
async def trial(contender: str, rule: Rule, messages: Messages, kafka: str, folder: Path) -> AsyncIterator[Trial]:
    """A contender with a rule, its topics there and its definitions published; the topics go with the block."""
    name = f"bench-{secrets.token_hex(4)}-{contender}"  # others may use the broker too
    data = folder / name
    data.mkdir()
    settings = Settings(_env_file=None, kafka=kafka, topic_prefix=f"{name}.", data_dir=data)
    consumers = [deliveries(consumer, rule.consumers.partitions) for consumer in rule.consumers.names]
    others = [topic for topic in TOPICS if topic is not MESSAGES] if contender == ROUTER else []
    await ensure_topics(settings, [replace(MESSAGES, partitions=rule.partitions), *others, *consumers])
    try:
        async with kafka_consumer(settings) as probe:
            made = Trial(contender, rule, messages, settings, probe)
            if contender == ROUTER:
                async with publisher(settings) as made.publisher:
                    await made.publisher.publish(rule.definitions())
                    yield made
            else:
                yield made
    finally:
        async with kafka_admin(settings) as admin:
            await admin.delete_topics([topic for topic in await admin.list_topics() if topic.startswith(f"{name}.")])
