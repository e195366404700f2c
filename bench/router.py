"""What routing costs: our router beside a hand-written aiokafka loop and a stock Faust agent that do the same work.

`python -m bench router [OPTION…]`, see `--help` and docs/benchmarks.md. All contenders run on one broker, one after another,
each as a process of its own; our router is `python -m notifier router`, with all that it records. The rule and its size are
described in `bench.rule`, how a flow is measured in `bench.trial`. Each contender must first get a small flow exactly
right, and every flow that is measured is checked too, before its figures count.

    scale     1 to 10,000 configurations in each world (`bench.worlds`), 8 consumers with 4 partitions each
    spread    1,000 configurations, each with a consumer of its own with 1 partition
    latency   100 configurations in each world, 500 messages a second: from just before the Kafka client's `send` until a follower
              in another process has read the delivery, so both ways to the broker and the follower's own work are in it
    workers   two or more routers that share the partitions, beside one: processor time of all of them
    change    10,000 configurations, one of which is edited now and then while messages flow: the longest time between two
              deliveries that reaches into the 3 s after an edit, and that ends in the 3 s before it
    fan_out   messages that make many deliveries; see `bench.fanout`
    memory    the router's after many messages; see `bench.memory`
"""

import asyncio
import itertools
import logging
import math
import os
import signal
import statistics
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from bench.fanout import measure_fan_out
from bench.memory import measure_memory
from bench.messages import Messages
from bench.plan import Plan, plan_of, read_options
from bench.progress import named, say
from bench.report import Results, Row, beside_loop, tables, write
from bench.rule import Configuration, make_rule, spec
from bench.trial import CONTENDERS, ROUTER, STOCK, Figures, Trial, no_collector, trial
from bench.worker import Failed, Worker
from bench.worlds import SMALL, World, make_world
from notifier.settings import PREFIX, load_settings, variable
from streams.broker.broker import EmbeddedBroker

SPREAD = 1_000
LATENCY_AT = 100  # configurations
LATENCY_RATE = 500.0
WORKERS_AT = 100  # configurations
CHANGE_AT = 10_000  # configurations
CHANGE_RATE = 2_000.0
EDITS = 5
EDIT_WINDOW_S = 3.0
FIRST_MESSAGES = 600  # of the flow by which a contender is checked before it is timed, at least
FEWEST_MESSAGES = 100  # of a flow that is measured
# The same for each consumer: the first write to a topic has to ask for its partitions.
FIRST_OF_A_CONSUMER = 10
MOST_OF_STOCK = 50_000  # messages of a flow of the stock agent
SETTLE_S = 1.5  # of a flow at a rate, not counted
FAST = 20_000.0  # messages a second; from here on the first flow ends too soon to say more


async def main(arguments: Sequence[str] = ()) -> None:
    """Runs what the arguments ask for, prints the figures and writes them to a file."""
    options = read_options(arguments)
    plan = plan_of(options)
    for name in list(os.environ):
        if name.startswith(PREFIX) and name != variable("cache_dir"):
            del os.environ[name]  # no setting of the person who runs this has a say
    # It calls it an error when a topic that was created this moment has no leader yet; what stays wrong is raised.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    with tempfile.TemporaryDirectory(prefix="notifier-bench-") as name, _broker(Path(name), options.kafka) as kafka:
        try:
            results = await _Bench(plan, kafka, Path(name)).run()
        except Failed as error:
            sys.exit(f"bench router: {error}")
    write(options.out, results)
    for line in tables(results):
        print(line)
    say(f"written to {options.out}")


class _Bench:
    """The parts of a plan on one broker."""

    def __init__(self, plan: Plan, kafka: str, folder: Path) -> None:
        self._plan = plan
        self._kafka = kafka
        self._folder = folder

    async def run(self) -> Results:
        """All parts; rows of figures by part."""
        results: Results = {}
        if "scale" in self._plan.parts:
            results["scale"], results["latency"] = [], []
            for world in self._plan.worlds:
                for count in self._plan.counts:
                    rows, latencies = await self._compare(make_world(world, count), with_latency=count == LATENCY_AT)
                    results["scale"] += rows
                    results["latency"] += latencies
        if "spread" in self._plan.parts:
            rule = make_rule(SPREAD, SPREAD, 1)
            results["spread"], _ = await self._compare(World(SMALL, rule, lambda: None), with_latency=False)
        if "workers" in self._plan.parts:
            results["workers"] = await self._share()
        if "change" in self._plan.parts:
            results["change"] = [await self._change(make_world(world, CHANGE_AT)) for world in self._plan.worlds]
        if "fan_out" in self._plan.parts:
            results |= await measure_fan_out(self._plan, self._kafka, self._folder)
        if "memory" in self._plan.parts:
            results["memory"] = await measure_memory(
                max(self._plan.counts), self._plan.memory, self._kafka, self._folder
            )
        return {part: rows for part, rows in results.items() if rows}

    async def _compare(self, world: World, *, with_latency: bool) -> tuple[list[Row], list[Row]]:
        """Every contender in one world."""
        rule = world.rule
        count, consumers = len(rule.configurations), len(rule.consumers.names)
        messages = world.messages()
        rows, latencies = [], []
        for contender in self._plan.contenders:
            about = {"world": world.name, "contender": contender, "configurations": count}
            about |= {"users": len(rule.users), "producers": len(rule.producers), "consumers": consumers}
            label = f"{CONTENDERS[contender]}, {world.name}, N={count:,}, {consumers:,} consumers"
            with named(label):
                made = trial(contender, rule, messages, self._kafka, self._folder)
                async with made as one, one.workers() as workers:
                    size = await self._first_flow(one, workers, label)
                    cold = await self._flow(one, workers, min(size, self._plan.cold), label)
                    warm = await self._flow(one, workers, size, label)
                    rows.append(
                        {
                            **about,
                            **asdict(warm),
                            "cold_messages": cold.messages,
                            "cold_rate": cold.rate,
                            "cold_cpu_s": cold.cpu_s,
                            "deliveries_a_message": round(messages.deliveries(0, one.written) / one.written, 3),
                            "nobody": round(messages.nobody(0, one.written) / one.written, 3),
                        }
                    )
                    if with_latency:
                        say(f"{label}: latency")
                        latencies.append({**about, **await self._latency(one, workers)})
        return [beside_loop(row, rows) for row in rows], latencies

    async def _first_flow(self, one: Trial, workers: Sequence[Worker], label: str) -> int:
        """Warms the contender up and checks it; how many messages make a flow of a fitting length, by its speed."""
        say(f"{label}: check")
        consumers = len(one.rule.consumers.names)
        most = min(self._plan.messages, MOST_OF_STOCK) if one.contender == STOCK else self._plan.messages
        figures = await one.warm_up(min(max(FIRST_MESSAGES, FIRST_OF_A_CONSUMER * consumers), most), workers)
        await one.check()
        if consumers >= SPREAD:  # most of the time went into finding the topics, which says nothing of the speed
            return most
        return max(FEWEST_MESSAGES, int(min(most, _speed(figures) * self._plan.flow_s)))

    async def _flow(self, one: Trial, workers: Sequence[Worker], size: int, label: str) -> Figures:
        """Measures a flow, and checks it."""
        say(f"{label}: {size:,} messages")
        figures = await one.measure(size, workers)
        await one.check()
        return figures

    async def _latency(self, one: Trial, workers: Sequence[Worker]) -> Row:
        sent: dict[str, int] = {}
        counted: set[str] = set()
        async with one.follower() as arrivals:
            with no_collector():
                async for name, at in one.flow(int((SETTLE_S + self._plan.latency_s) * LATENCY_RATE), LATENCY_RATE):
                    sent[name] = at
                    if len(sent) > SETTLE_S * LATENCY_RATE:
                        counted.add(name)
            await one.finish(workers)
            await asyncio.sleep(0.5)  # the follower notes what it has read
            taken = sorted((at - sent[name]) / 1e6 for name, at in arrivals() if name in counted)
        await one.check()
        return {
            "messages_per_s": LATENCY_RATE,
            "deliveries": len(taken),
            "p50_ms": round(statistics.median(taken), 2),
            "p99_ms": round(taken[int(0.99 * len(taken))], 2),
        }

    async def _share(self) -> list[Row]:
        rule = make_rule(WORKERS_AT)
        messages = Messages(rule)
        rows: list[Row] = []
        for number in (1, self._plan.workers):
            label = f"{number} × {CONTENDERS[ROUTER]}, N={WORKERS_AT:,}"
            with named(label):
                made = trial(ROUTER, rule, messages, self._kafka, self._folder)
                async with made as one, one.workers(number) as workers:
                    size = await self._first_flow(one, workers, label)
                    await one.all_take_part(workers)
                    figures = await self._flow(one, workers, rows[0]["messages"] if rows else size, label)
            rows.append({"contender": ROUTER, "workers": number, "configurations": WORKERS_AT, **asdict(figures)})
        return rows

    async def _change(self, world: World) -> Row:
        rule, messages = world.rule, world.messages()
        label = f"{CONTENDERS[ROUTER]}, {world.name}, N={CHANGE_AT:,}, with edits"
        with named(label):
            async with trial(ROUTER, rule, messages, self._kafka, self._folder) as one, one.workers() as workers:
                say(f"{label}: check")
                first = await one.warm_up(FIRST_MESSAGES, workers)
                await one.check()
                # More than it can do would be a queue, in which no pause is seen.
                rate = float(math.ceil(min(CHANGE_RATE, _speed(first) / 2)))
                say(f"{label}: {EDITS} edits at {rate:,.0f} messages/s")
                async with one.follower() as arrivals:
                    with no_collector():
                        edits = await self._edit(one, rate, rule.configurations[:EDITS])
                    await one.finish(workers)
                    await asyncio.sleep(0.5)
                    gaps = list(itertools.pairwise(at for _, at in arrivals()))
                await one.check()
        window = int(EDIT_WINDOW_S * 1e9)
        return {
            "world": world.name,
            "contender": ROUTER,
            "configurations": CHANGE_AT,
            "messages_per_s": rate,
            "before_ms": [_longest(gap for gap in gaps if at - window < gap[1] <= at) for at in edits],
            "after_ms": [_longest(gap for gap in gaps if gap[1] > at and gap[0] < at + window) for at in edits],
        }

    async def _edit(self, one: Trial, rate: float, configurations: Sequence[Configuration]) -> list[int]:
        """Lets messages flow and edits the configurations, one at a time; when, in nanoseconds of the clock."""
        assert one.publisher is not None
        tasks: list[asyncio.Task[None]] = []
        times: list[int] = []
        number = 0
        period = 2 * EDIT_WINDOW_S
        async for _, at in one.flow(int((SETTLE_S + (len(configurations) + 0.5) * period) * rate), rate):
            number += 1
            due = SETTLE_S + EDIT_WINDOW_S + len(times) * period
            if len(times) < len(configurations) and number >= due * rate:
                configuration = configurations[len(times)]
                change = [(f"configuration/{configuration.name}", spec(configuration, title="Edited"))]
                times.append(at)
                tasks.append(asyncio.create_task(one.publisher.publish(change)))
        await asyncio.gather(*tasks)
        return times


@contextmanager
def _broker(folder: Path, running: str | None) -> Iterator[str]:
    """The address of a broker that is running, or of one of our own that ends with the block."""
    if running is not None:
        yield running
        return
    data = folder / "broker"
    data.mkdir()
    broker = EmbeddedBroker(load_settings(env_file=None, data_dir=data, kafka_port=0))
    try:
        yield broker.start(die_with_parent=True)
    finally:
        broker.stop()


def _speed(figures: Figures) -> float:
    """Messages a second, roughly, as told by a first flow. Others may have had the processor: then its own time says more."""
    if figures.rate is None or not figures.cpu_s:
        return math.inf
    speed = max(figures.rate, 0.5e6 / figures.cpu_s)
    return speed if speed < FAST else math.inf


def _longest(gaps: Iterable[tuple[int, int]]) -> float:
    """Of times between two arrivals the longest, in milliseconds."""
    return round(max((later - sooner for sooner, later in gaps), default=0) / 1e6, 1)
