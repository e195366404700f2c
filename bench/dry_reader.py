"""One reading of all messages by a process of its own: `python -m bench.dry_reader MODE KAFKA PREFIX`. Prints JSON.

loop      a hand-written aiokafka loop: decodes each message, looks for the keywords, and counts
all       a dry run of a configuration that takes every message, with a draft: both versions judge each message
stored    the same without a draft
one       a dry run of a configuration that takes the messages of one producer of twenty
"""

import asyncio
import resource
import sys
import time
from dataclasses import replace

import msgspec
import psutil
from aiokafka import AIOKafkaConsumer, TopicPartition

from bench.judge import catalog_of
from bench.loop import ROUND_RECORDS
from bench.rule import spec
from bench.worlds import BROAD, make_world
from control_api.dry_run.comparison import Comparison
from control_api.dry_run.engine import dry_run
from control_api.dry_run.reading import Span
from control_api.dry_run.world import compare
from notifier.bounds import END, FIRST
from notifier.settings import load_settings
from notifier.topics import MESSAGES

MODES = LOOP, ALL, STORED, ONE = "loop", "all", "stored", "one"


class Reading(msgspec.Struct):
    """What one reading did."""

    messages: int
    deliveries: int  # of the draft; of the stored version in `stored` and `one`
    seconds: float
    cpu_s: float
    grown_mib: float  # the largest memory, beyond what there was before the first message


class _Heard(msgspec.Struct, gc=False):
    producer: str
    receiver: str
    content: str


def comparison(mode: str) -> Comparison:
    """The configuration of the world of one, which takes all, without its keywords; and with them as the draft."""
    world = make_world(BROAD, 1)
    (configuration,) = world.rule.configurations
    name, draft = configuration.name, spec(configuration)
    catalog = catalog_of(world)
    stored = catalog.configurations[name]
    producers = stored.spec.producers[:1] if mode == ONE else stored.spec.producers
    filters = stored.spec.filters if mode == ONE else ("receiver-exists",)
    changed = replace(stored, spec=stored.spec.model_copy(update={"producers": producers, "filters": filters}))
    return compare(replace(catalog, configurations={name: changed}), name, draft if mode == ALL else None)


async def read_by_dry_run(mode: str, kafka: str, prefix: str) -> Reading:
    """As the API's child does."""
    settings = load_settings(env_file=None, kafka=kafka, topic_prefix=prefix)
    compared = comparison(mode)
    before, since, cpu = _rss(), time.monotonic(), time.process_time()
    async for report in dry_run(settings, compared, Span(since=FIRST, until=END)):
        last = report
    return Reading(
        messages=last.messages,
        deliveries=last.would_deliver,
        seconds=time.monotonic() - since,
        cpu_s=time.process_time() - cpu,
        grown_mib=_grown(before),
    )


async def read_by_loop(kafka: str, prefix: str) -> Reading:
    """What a good programmer writes for this one question."""
    world = make_world(BROAD, 1)
    (configuration,) = world.rule.configurations
    users, producers = frozenset(configuration.users), frozenset(configuration.producers)
    first, second = (word.casefold() for word in configuration.skip_keywords)
    decode = msgspec.json.Decoder(_Heard).decode
    count = deliveries = 0
    before, since, cpu = _rss(), time.monotonic(), time.process_time()
    consumer = AIOKafkaConsumer(
        bootstrap_servers=kafka,
        enable_auto_commit=False,
        isolation_level="read_committed",
        auto_offset_reset="earliest",
    )
    async with consumer:
        partitions = [TopicPartition(prefix + MESSAGES.name, number) for number in range(world.rule.partitions)]
        consumer.assign(partitions)
        ends = await consumer.end_offsets(partitions)
        while any([await consumer.position(partition) < end for partition, end in ends.items()]):
            for records in (await consumer.getmany(timeout_ms=500, max_records=ROUND_RECORDS)).values():
                for record in records:
                    heard = decode(record.value)
                    count += 1
                    if heard.producer in producers and heard.receiver in users:
                        content = heard.content.casefold()
                        deliveries += first not in content and second not in content
    return Reading(count, deliveries, time.monotonic() - since, time.process_time() - cpu, _grown(before))


def _rss() -> float:
    return float(psutil.Process().memory_info().rss) / 2**20


def _grown(before: float) -> float:
    return max(0.0, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 - before)


def main(mode: str, kafka: str, prefix: str) -> None:
    """The process."""
    work = read_by_loop(kafka, prefix) if mode == LOOP else read_by_dry_run(mode, kafka, prefix)
    sys.stdout.buffer.write(msgspec.json.encode(asyncio.run(work)) + b"\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
