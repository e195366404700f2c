"""What judging costs, without a broker and in this process: the router's own code, its outputs closed, encoded and thrown away.

`python -m bench judge [--world broad] [--n 100] [--messages 400000] [--mapping used] [--profile]`. For whoever makes the router
faster: it takes seconds, and does the same work in the same order each time. Batches of one input partition after another go to
`Router.accept`, which judges slices of 500. Every two slices, which is about what gathers in a real router, each output
partition's batch is closed and encoded as the Kafka producer does, and lands. Left out are fetching, sending and committing.

Before the figures count, the numbers of deliveries and of attempts are compared with the rule, and 20,000 messages are judged
once more, whose deliveries are compared one by one. Beside the router stands what the hand-written loop (`bench.loop`) does to
the same messages between fetching and sending, in turn with it: on a computer that does other things too, the ratio says more.
"""

import argparse
import cProfile
import pstats
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil
from aiokafka.producer.message_accumulator import BatchBuilder

from bench.audit import Pairs, faults
from bench.index import Index
from bench.loop import BATCH_BYTES, ROUND_RECORDS
from bench.messages import Messages
from bench.worlds import BROAD, WORLDS, World, make_world
from notifier.catalog import Catalog
from notifier.definition import Definition
from notifier.delivery import Delivery
from notifier.record import JsonObject
from notifier.settings import load_settings
from notifier.topics import ATTEMPTS, DEAD_LETTERS, DELIVERIES, MESSAGES, deliveries
from streams.inputs.batch import Batch
from streams.outputs.outputs import Outputs
from streams.outputs.queue import Queue
from streams.registry import load_registry
from streams.router.router import Router

BATCH_RECORDS = 2_000  # of one partition in one batch, about as many as a fetch brings
GATHERED = 2  # slices
TURN = 9  # batches of the router, and then the same of the loop
SHOWN = 100_000  # messages for each figure
CHECKED = 20_000  # messages whose deliveries are compared one by one
TIMESTAMP = 1_700_000_000_000
MIB = 1024 * 1024


class _Record:
    """A record as the transport gives it."""

    __slots__ = ("offset", "value")
    timestamp, key, headers = TIMESTAMP, None, ()

    def __init__(self, offset: int, value: bytes) -> None:
        self.offset = offset
        self.value = value


class _Definitions:
    """Definitions that are there."""

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog

    async def load(self) -> Catalog:
        return self.catalog

    def on_change(self, listener: Callable[[Catalog], None]) -> None:
        listener(self.catalog)


class Emptied(Outputs):
    """Outputs that reach no broker: what is sealed is closed and encoded, lands, and is counted."""

    def __init__(self, world: World) -> None:
        super().__init__(load_settings(env_file=None))
        self.gathered = GATHERED
        self.records: Counter[str] = Counter()  # by topic, where each consumer's is DELIVERIES
        self.bytes = 0
        self.kept: list[tuple[str, int, bytes]] | None = None  # topic, partition and value, if it is not None
        self._seals = 0
        self._sequences: Counter[Queue] = Counter()
        names = world.rule.consumers.names
        topics = [deliveries(name, world.rule.consumers.partitions) for name in names]
        for topic in (*topics, ATTEMPTS, DEAD_LETTERS):
            outlet = self.outlet(topic.name)
            outlet.divide(topic.partitions)
            outlet.open = True

    def seal(self, finished: Callable[[], None]) -> None:
        """Empties all queues at every second call."""
        self._outlets.seal(finished)
        self._seals += 1
        if self._seals % self.gathered == 0:
            self.empty()

    def empty(self) -> None:
        """What sending does with each queue that is ready, without the broker."""
        outlets = self._outlets
        while outlets.ready:
            ready, outlets.ready = outlets.ready, {}
            for queue in ready:
                while queue.waits():
                    batch = queue.take()
                    encoded = batch.encode((1, 0, self._sequences[queue]))
                    self._sequences[queue] += len(batch)
                    self.records[DELIVERIES if queue.topic.startswith(DELIVERIES) else queue.topic] += len(batch)
                    self.bytes += len(encoded)
                    if self.kept is not None:
                        self.kept += [(queue.topic, queue.partition, value) for value in batch.values]
                    self.landed += 1
                    queue.landed()


@dataclass(frozen=True)
class Input:
    """Batches as the transport would give them, and how many of them are finished."""

    batches: Sequence[Batch]

    @staticmethod
    def of(world: World, messages: Messages, count: int) -> "Input":
        """The first messages by their partitions, a batch of each partition in turn."""
        parts: list[list[_Record]] = [[] for _ in range(world.rule.partitions)]
        for number, value in enumerate(messages.values(count)):
            part = parts[messages.partition(number)]
            part.append(_Record(len(part), value))
        batches = []
        for start in range(0, max(map(len, parts)), BATCH_RECORDS):
            for partition, part in enumerate(parts):
                if records := part[start : start + BATCH_RECORDS]:
                    batches.append(Batch(topic=MESSAGES.name, partition=partition, records=records))
        return Input(batches)


# A mapping of every message: none, one whose matcher no message fits, and one that sets a label of each.
MAPPINGS: dict[str, JsonObject] = {
    "none": {},
    "idle": {"matchers": ["team=infra"], "set": {"severity": "error"}},
    "used": {"set": {"labels": {"team": "infra"}}},
}


def catalog_of(world: World, mapping: str = "none") -> Catalog:
    """The world's definitions, linked, with one of `MAPPINGS`."""
    changes = []
    if spec := MAPPINGS[mapping]:
        changes.append(("mapping", mapping, Definition(kind="mapping", name=mapping, revision=1, spec=spec)))
    for key, spec in world.rule.definitions():
        kind, _, name = key.partition("/")
        changes.append((kind, name, Definition(kind=kind, name=name, revision=1, spec=spec)))  # type: ignore[arg-type]
    return Catalog(registry=load_registry()).with_changes(changes)  # type: ignore[arg-type]


async def main(arguments: Sequence[str] = ()) -> None:
    """Prints the cost of a message, and how many records were made."""
    options = _read(arguments)
    world = make_world(options.world, options.n)
    messages = world.messages()
    input_ = Input.of(world, messages, options.messages)
    catalog = catalog_of(world, options.mapping)
    if catalog.problems:
        sys.exit(f"bench judge: definitions that cannot be used: {dict(list(catalog.problems.items())[:3])}")
    outputs = Emptied(world)
    router = Router(load_settings(env_file=None), _Definitions(catalog), outputs)  # type: ignore[arg-type]
    before = psutil.Process().memory_info().rss
    await router.start()
    profile = cProfile.Profile() if options.profile else None
    costs = await _route(router, _Loop(world), input_, profile)
    outputs.empty()
    if profile:
        pstats.Stats(profile, stream=sys.stdout).sort_stats(options.sort).print_stats(options.rows)
    grown = (psutil.Process().memory_info().rss - before) / MIB
    said = _wrong_counts(messages, options.messages, outputs)
    batches = outputs.landed
    if said or (said := await _wrong_deliveries(router, outputs, world, messages, min(CHECKED, options.messages))):
        sys.exit(f"bench judge: the outputs are wrong: {'; '.join(said)}")
    print(f"judge, {world.name}, N={options.n:,}: µs of CPU a message, for each {SHOWN:,} messages:")
    for name, figures in (
        ("router", [f"{cost.router:.2f}" for cost in costs]),
        ("the hand-written loop's part", [f"{cost.loop:.2f}" for cost in costs]),
        ("beside each other", [f"{cost.router / cost.loop:.2f} ×" for cost in costs]),
    ):
        print(f"  {name:30}{''.join(f'{figure:>9}' for figure in figures)}")
    print(
        f"  {options.messages:,} messages made {outputs.records[DELIVERIES]:,} deliveries and"
        f" {outputs.records[ATTEMPTS.name]:,} records on attempts, {outputs.bytes / MIB:,.0f} MiB in"
        f" {batches:,} batches; memory grew by {grown:.0f} MiB, the loop's in it"
    )


def _read(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench judge", description="What judging costs, without a broker.")
    parser.add_argument("--world", choices=WORLDS, default=BROAD, help="(default: %(default)s)")
    parser.add_argument("--n", type=int, default=100, help="configurations (default: %(default)s)")
    parser.add_argument("--messages", type=int, default=400_000, help="(default: %(default)s)")
    parser.add_argument("--mapping", choices=MAPPINGS, default="none", help="of every message (default: %(default)s)")
    parser.add_argument("--profile", action="store_true", help="also prints what took how long; the figures are higher")
    parser.add_argument("--sort", default="tottime", help="order of the profile (default: %(default)s)")
    parser.add_argument("--rows", type=int, default=35, help="of the profile (default: %(default)s)")
    options = parser.parse_args(arguments)
    if options.n < 1 or options.messages < 1:
        parser.error("--n and --messages take numbers from 1")
    return options


@dataclass(frozen=True)
class Cost:
    """Microseconds for a message."""

    router: float
    loop: float


async def _route(router: Router, loop: "_Loop", input_: Input, profile: cProfile.Profile | None) -> list[Cost]:
    """Routes everything; the cost for each `SHOWN` messages. A rest of less than half counts with those before it."""
    costs: list[Cost] = []
    count = sum(map(len, input_.batches))
    done, shown = 0, 0
    router_s = loop_s = 0.0
    for start in range(0, len(input_.batches), TURN):
        batches = input_.batches[start : start + TURN]
        since = time.process_time()
        if profile:
            profile.enable()
        for batch in batches:
            await router.accept(batch, _nothing)
        if profile:
            profile.disable()
        between = time.process_time()
        loop.work(batches)
        router_s, loop_s = router_s + between - since, loop_s + time.process_time() - between
        done += sum(map(len, batches))
        if done == count or (done - shown >= SHOWN and count - done >= SHOWN / 2):
            costs.append(Cost(router_s / (done - shown) * 1e6, loop_s / (done - shown) * 1e6))
            router_s, loop_s, shown = 0.0, 0.0, done
    return costs


class _Loop:
    """What the hand-written loop does between fetching and sending."""

    def __init__(self, world: World) -> None:
        with tempfile.NamedTemporaryFile() as file:
            world.rule.write(Path(file.name))
            self._index = Index(Path(file.name), "")

    def work(self, batches: Sequence[Batch]) -> None:
        """Finds the deliveries of rounds of messages and builds their batches."""
        outputs: dict[tuple[str, int], list[tuple[bytes, bytes]]] = {}
        count = 0
        for number, batch in enumerate(batches, start=1):
            for record in batch.records:
                for output, value in self._index.deliveries(record.value or b""):
                    outputs.setdefault((output.topic, output.partition), []).append((output.key, value))
            count += len(batch)
            if count >= ROUND_RECORDS or number == len(batches):
                for values in outputs.values():
                    _build(values)
                outputs, count = {}, 0


def _build(values: Sequence[tuple[bytes, bytes]]) -> None:
    builder = BatchBuilder(BATCH_BYTES, 0, is_transactional=False)
    for key, value in values:
        if builder.append(key=key, value=value, timestamp=None) is None:
            builder._build()
            builder = BatchBuilder(BATCH_BYTES, 0, is_transactional=False)
            builder.append(key=key, value=value, timestamp=None)
    builder._build()


def _nothing() -> None:
    """What follows when a batch is finished."""


def _wrong_counts(messages: Messages, count: int, outputs: Emptied) -> list[str]:
    """What is wrong with the numbers of records; the router's counters are on `attempts` too, one record a second."""
    said = []
    due = messages.deliveries(0, count)
    nobody = messages.nobody(0, count)
    if outputs.records[DELIVERIES] != due:
        said.append(f"{outputs.records[DELIVERIES]} deliveries instead of {due}")
    if outputs.records[ATTEMPTS.name] < nobody:
        said.append(f"{outputs.records[ATTEMPTS.name]} attempts, and {nobody} messages that nobody gets")
    if outputs.records[DEAD_LETTERS.name]:
        said.append(f"{outputs.records[DEAD_LETTERS.name]} dead letters")
    return said


async def _wrong_deliveries(
    router: Router, outputs: Emptied, world: World, messages: Messages, count: int
) -> list[str]:
    """What is wrong with the deliveries of the first messages, judged once more."""
    outputs.empty()
    kept: list[tuple[str, int, bytes]] = []
    counts, outputs.records, outputs.kept, outputs.gathered = outputs.records, Counter(), kept, 1
    for batch in Input.of(world, messages, count).batches:
        await router.accept(batch, _nothing)
    outputs.empty()
    outputs.records, outputs.kept = counts, None
    found: Pairs = Counter()
    said = []
    for topic, _, value in kept:
        if topic.startswith(DELIVERIES):
            delivery = Delivery.decode(value)
            found[delivery.configuration, delivery.message_id] += 1
            if topic != DELIVERIES + delivery.consumer or delivery.encode() != value:
                said.append(f"a delivery that is not as it should be: {value!r} on {topic}")
    return said[:1] + faults(messages.expected(count), found)
