"""Fan-out: what a delivery costs where one message makes many, and whether others wait for it meanwhile.

    many       1,000 configurations; each message matches some 225 of them, and all its deliveries go to one person
    everyone   a message without receiver, to each of the 10,000 users of one configuration
    long       a backlog of 20,000 messages as in `many` (4.5 million deliveries), while more arrive for some minutes

Of the first two a backlog is routed for the cost. Then ordinary messages of another partition flow, 200 a second to a consumer of
their own, while another backlog is routed: the longest time between two of their deliveries, as a follower in another process
sees it, is a bound for how long the router's loop stood still. Before any figure counts, each message has made as many deliveries
as the rule says, and no delivery is there twice. In `long` the process and its group's generation must be the same at the end.
"""

import asyncio
import itertools
import random
import statistics
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.audit import count_deliveries
from bench.group import read_group
from bench.messages import Messages
from bench.plan import Plan
from bench.progress import named, say
from bench.report import Row
from bench.rule import Configuration, Consumers, Rule
from bench.traffic import BroadTraffic, Traffic, broad_text
from bench.trial import MIB, ROUTER, Trial, no_collector, trial
from bench.worker import Failed, Worker
from bench.worlds import CONSUMERS, PARTITIONS, PRODUCERS, PRODUCERS_EACH, USERS, keyword_pair
from notifier.kafka import ensure_topics, kafka_producer
from notifier.topics import MESSAGES, deliveries

CONFIGURATIONS = 1_000
EVERYONE_PART = 40  # a message to everyone for that many which match many configurations: about as many deliveries
WARM_UP = 24  # messages that warm the router up and are checked before anything is measured
ORDINARY = "ordinary"  # the producer, configuration and consumer of the ordinary messages
ORDINARY_PER_S = 200.0
SETTLE_S = 3.0  # of ordinary messages alone
FAN_OUT_AT, ORDINARY_AT = 0, 1  # partitions
MORE_PER_S = 20.0  # messages that arrive meanwhile in `long`
SAMPLE_S = 1.0


async def measure_fan_out(plan: Plan, kafka: str, folder: Path) -> dict[str, list[Row]]:
    """Rows of both cases, or of the long one."""
    if plan.minutes:
        with named("fan-out, long"):
            return {"fan_out_long": [await _long(plan.backlog, plan.minutes, kafka, folder)]}
    rows = []
    for name, make_case in (("many", many), ("everyone", everyone)):
        with named(f"fan-out, {name}"):
            size = plan.fan_out if name == "many" else max(1, plan.fan_out // EVERYONE_PART)
            rows.append(await _measure(name, make_case(), size, kafka, folder))
    return {"fan_out": rows}


@dataclass(frozen=True)
class Case:
    """A rule and what comes."""

    rule: Rule
    traffic: Traffic


def many() -> Case:
    """Configurations for any receiver."""
    chance = random.Random(1)
    producers = tuple(f"producer-{number:02d}" for number in range(PRODUCERS))
    consumers = Consumers(tuple(f"consumer-{number:04d}" for number in range(CONSUMERS)), PARTITIONS, people=True)
    rule = Rule(
        users=tuple(f"user-{number:05d}" for number in range(USERS)),
        configurations=tuple(
            Configuration(
                name=f"configuration-{number:05d}",
                producers=tuple(chance.sample(producers, PRODUCERS_EACH)),
                users=(),
                skip_keywords=keyword_pair(chance),
                consumer=consumers.names[number % CONSUMERS],
            )
            for number in range(CONFIGURATIONS)
        ),
        consumers=consumers,
        producers=producers,
        ignore_case=True,
    )
    return Case(rule, BroadTraffic(rule))


class _ToEveryone(Traffic):
    """Messages without receiver, and without keywords that drop them."""

    def draw(self, number: int) -> dict[str, Any]:
        return {"content": broad_text(random.Random(number)), "producer": "producer-00"}


def everyone() -> Case:
    """One configuration with all users."""
    users = tuple(f"user-{number:05d}" for number in range(USERS))
    configuration = Configuration(
        name="configuration-00000",
        producers=("producer-00",),
        users=users,
        skip_keywords=("never-said", "nor-this"),
        consumer="consumer-0000",
    )
    consumers = Consumers((configuration.consumer,), PARTITIONS, people=True)
    rule = Rule(users=users, configurations=(configuration,), consumers=consumers, producers=configuration.producers)
    return Case(rule, _ToEveryone())


async def _measure(name: str, case: Case, size: int, kafka: str, folder: Path) -> Row:
    messages = Messages(case.rule, case.traffic)
    label = f"fan-out, {name}"
    async with _router(case, messages, kafka, folder) as (one, workers):
        say(f"{label}: check")
        await one.warm_up(WARM_UP if name == "many" else 1, workers)
        await _check(one)
        first = one.written
        messages.make(first + size)
        made = messages.deliveries(first, first + size)
        say(f"{label}: {size:,} messages, {made:,} deliveries")
        figures = await one.measure(size, workers)
        await _check(one)
        say(f"{label}: ordinary messages beside {max(1, size // 4):,} of these")
        case.traffic.partition = FAN_OUT_AT
        beside = await _beside(one, workers, max(1, size // 4))
        await _check(one)
    each = size / made
    return {
        "case": name,
        "contender": ROUTER,
        "configurations": len(case.rule.configurations),
        "users": len(case.rule.users),
        "messages": size,
        "deliveries": made,
        "deliveries_per_s": None if figures.rate is None else round(figures.rate / each),
        "cpu_us": None if figures.cpu_s is None else round(figures.cpu_s * each, 3),
        "rss_max_mib": figures.rss_max_mib,
        **beside,
    }


@asynccontextmanager
async def _router(
    case: Case, messages: Messages, kafka: str, folder: Path
) -> AsyncIterator[tuple[Trial, Sequence[Worker]]]:
    """The router with the case's rule, and one more configuration for the ordinary messages."""
    async with trial(ROUTER, case.rule, messages, kafka, folder) as one:
        assert one.publisher is not None
        await ensure_topics(one.settings, [deliveries(ORDINARY)])
        ordinary = {"users": [case.rule.users[0]], "producers": [ORDINARY], "filters": ["receiver-exists"]}
        await one.publisher.publish(
            [
                (f"producer/{ORDINARY}", {"type": "push"}),
                (f"consumer/{ORDINARY}", {"type": "script", "parameters": {"script": "nothing", "partitions": 1}}),
                (f"configuration/{ORDINARY}", {**ordinary, "consumers": [ORDINARY]}),
            ]
        )
        async with one.workers() as workers:
            yield one, workers


async def _check(one: Trial) -> None:
    """Raises Failed unless each message has made its deliveries and none is there twice."""
    found, repeated = await count_deliveries(one.settings, one.partitions)
    expected = one.messages.counts(one.written)
    if repeated:
        raise Failed(f"{repeated} deliveries are there twice")
    if found != expected:
        wrong = next(name for name in expected | found if found[name] != expected[name])
        raise Failed(f"{wrong} has made {found[wrong]} deliveries instead of {expected[wrong]}")


async def _beside(one: Trial, workers: Sequence[Worker], size: int) -> Row:
    """How ordinary messages fare while others fan out."""
    enough = asyncio.Event()
    one.messages.make(one.written + size)
    async with one.follower(ORDINARY) as arrivals:
        with no_collector():
            flow = asyncio.create_task(_flow(one, enough))
            await asyncio.sleep(SETTLE_S)
            begun = time.time_ns()
            await one.write(size)
            await one.finish(workers)
            ended = time.time_ns()
            await asyncio.sleep(0.5)
            enough.set()
            sent = await flow
        await asyncio.sleep(1.0)  # the follower notes what it has read
        arrived = arrivals()
    if Counter(name for name, _ in arrived) != Counter(sent.keys()):
        raise Failed(f"of {len(sent)} ordinary messages {len(arrived)} have arrived")
    taken = sorted((at - sent[name]) / 1e6 for name, at in arrived if begun <= sent[name] <= ended)
    settled = begun - int(1e9 * SETTLE_S / 2)
    return {
        "beside_s": round((ended - begun) / 1e9, 2),
        "gap_ms": _longest(arrived, begun, ended),
        "gap_before_ms": _longest(arrived, settled, begun),
        "beside_p50_ms": round(statistics.median(taken), 2),
        "beside_p99_ms": round(taken[int(0.99 * len(taken))], 2),
        "beside_max_ms": round(taken[-1], 2),
    }


async def _flow(one: Trial, enough: asyncio.Event) -> dict[str, int]:
    """Writes ordinary messages until it is enough; when each was sent, in nanoseconds of the clock, by its id."""
    sent: dict[str, int] = {}
    topic = one.settings.topic_prefix + MESSAGES.name
    receiver = one.rule.users[0]
    async with kafka_producer(one.settings, linger_ms=0) as producer:
        acknowledgements = []
        start = time.monotonic()
        while not enough.is_set():
            await asyncio.sleep(max(0.0, start + len(sent) / ORDINARY_PER_S - time.monotonic()))
            name = f"{ORDINARY}-{one.written}-{len(sent)}"
            value = f'{{"producer":"{ORDINARY}","id":"{name}","receiver":"{receiver}","content":"all is well"}}'
            sent[name] = time.time_ns()
            acknowledgements.append(await producer.send(topic, value.encode(), partition=ORDINARY_AT))
        await asyncio.gather(*acknowledgements)
    return sent


def _longest(arrived: Sequence[tuple[str, int]], begun: int, ended: int) -> float:
    """The longest time between two arrivals that reaches into a time, in milliseconds."""
    gaps = itertools.pairwise(at for _, at in arrived)
    return round(max((after - at for at, after in gaps if after > begun and at < ended), default=0) / 1e6, 1)


async def _long(backlog: int, minutes: float, kafka: str, folder: Path) -> Row:
    case = many()
    messages = Messages(case.rule, case.traffic)
    label = "fan-out, long"
    more = int(minutes * 60 * MORE_PER_S)
    async with _router(case, messages, kafka, folder) as (one, workers):
        await one.warm_up(WARM_UP, workers)
        await _check(one)
        before = await read_group(one.settings, ROUTER)
        messages.make(WARM_UP + backlog + more)
        due = messages.deliveries(0, WARM_UP + backlog)
        say(
            f"{label}: a backlog of {backlog:,} messages, {due:,} deliveries; then {MORE_PER_S:g}/s for {minutes:g} min"
        )
        samples = _Samples(one, workers[0], due)
        await one.write(backlog)
        async for _ in one.flow(more, MORE_PER_S):
            await samples.take()
        while samples.deliveries < messages.deliveries(0, one.written):
            await samples.take()
            await asyncio.sleep(SAMPLE_S)
        await one.finish(workers)
        after = await read_group(one.settings, ROUTER)
        if before != after:
            raise Failed(f"the group is not the same any more: {before} became {after}")
        say(f"{label}: check")
        await _check(one)
        made = samples.deliveries - messages.deliveries(0, WARM_UP)
    return {
        "contender": ROUTER,
        "minutes": minutes,
        "messages": one.written,
        "deliveries": samples.deliveries,
        "backlog_s": samples.backlog_s,
        "cpu_us": round(samples.cpu_s / made * 1e6, 3),
        "still_s": round(samples.still_s, 1),
        "generation": after.generation,
        "samples": samples.rows,
    }


class _Samples:
    """What is seen of a long flow from outside, once a second."""

    def __init__(self, one: Trial, worker: Worker, due: int) -> None:
        self._one = one
        self._worker = worker
        self._due = due  # deliveries, until the backlog is done
        self._begun = self._last = self._moved = time.monotonic()
        self._cpu_s = worker.usage().cpu_s
        self.cpu_s = 0.0
        self.deliveries = 0
        self.backlog_s: float | None = None
        self.still_s = 0.0  # the longest time without a delivery while the backlog was routed
        self.rows: list[Row] = []

    async def take(self) -> None:
        """Looks, if a second has passed since the last time. Raises Failed when the process has ended or stands still."""
        now = time.monotonic()
        if now - self._last < SAMPLE_S:
            return
        self._last = now
        usage = self._worker.usage()
        found = await self._one.outputs()
        if found > self.deliveries:
            self.deliveries, self._moved = found, now
        elif self.backlog_s is None:
            self.still_s = max(self.still_s, now - self._moved)
            if self.still_s > 100:
                raise Failed(f"no delivery for {self.still_s:.0f} s:\n{self._worker.log()}")
        self.cpu_s = usage.cpu_s - self._cpu_s
        if self.backlog_s is None and found >= self._due:
            self.backlog_s = round(now - self._begun, 1)
        seconds = round(now - self._begun, 1)
        self.rows.append({"seconds": seconds, "deliveries": found, "rss_mib": round(usage.rss / MIB, 1)})
