"""What it takes to find and explain a message: the index is filled from a topic, then asked for random messages.

`python -m bench explain [--messages 1000000] [--kafka HOST:PORT] [--database URL]`. Everything runs on this computer.
"""

import argparse
import asyncio
import json
import random
import secrets
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from control_api.access.actor import COMMAND_LINE
from control_api.definitions.relay import Relay
from control_api.definitions.services import Services
from control_api.explain.explaining import Explaining
from control_api.explain.query import ExplainQuery
from control_api.history.message_index import MessageIndex, places
from control_api.migrate import upgraded
from control_api.registry import load_registry
from notifier.database import Database
from notifier.kafka import ensure_topics, kafka_producer
from notifier.seal import generate_key, load_seal
from notifier.settings import Settings, load_settings
from notifier.topics import MESSAGES
from streams.broker.broker import EmbeddedBroker

ASKED = 300  # messages
_AT_ONCE = 20_000  # sent before one waits


async def main(arguments: Sequence[str] = ()) -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(prog="python -m bench explain", description="What finding a message takes.")
    parser.add_argument("--messages", type=int, default=1_000_000, help="on the topic (default: 1,000,000)")
    parser.add_argument("--kafka", metavar="HOST:PORT", help="a broker that runs already (default: one of its own)")
    parser.add_argument("--database", metavar="URL", help="an empty database (default: SQLite)")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        settings = load_settings(
            env_file=None, data_dir=Path(folder), kafka_port=0, database_url=options.database, secret_key=generate_key(),
            topic_prefix=f"b{secrets.token_hex(3)}.",
        )  # fmt: skip
        broker = None if options.kafka else EmbeddedBroker(settings)
        address = options.kafka if broker is None else broker.start(die_with_parent=True)
        try:
            await _measure(settings.model_copy(update={"kafka": address}), options.messages)
        finally:
            if broker is not None:
                broker.stop()


async def _measure(settings: Settings, count: int) -> None:
    async with upgraded(settings) as database:
        services = Services(database, load_registry(), load_seal(settings))
        await services.create(COMMAND_LINE, "producer", {"name": "ci", "type": "push"})
        await services.create(COMMAND_LINE, "configuration", {"name": "all", "producers": ["ci"]})
        relay = Relay(settings, database)
        await relay.publish()
        await relay.close()
        await _write(settings, count)
        started, cpu = time.perf_counter(), time.process_time()
        await MessageIndex(settings, database).catch_up()
        took, cpu = time.perf_counter() - started, time.process_time() - cpu
        print(
            f"{count:,} messages are indexed at {count / took:,.0f} a second, {cpu / count * 1e6:.1f} µs of this process each"
        )
        await _ask(settings, database, count)


async def _write(settings: Settings, count: int) -> None:
    await ensure_topics(settings, [MESSAGES])
    topic = settings.topic_prefix + MESSAGES.name
    async with kafka_producer(settings, linger_ms=20, max_batch_size=512 * 1024, enable_idempotence=False) as producer:
        sent = []
        for number in range(count):
            value = {"producer": "ci", "id": f"message-{number}", "content": "build failed"}
            sent.append(await producer.send(topic, json.dumps(value).encode(), partition=number % MESSAGES.partitions))
            if len(sent) == _AT_ONCE:
                await asyncio.gather(*sent)
                sent.clear()
        await asyncio.gather(*sent)


async def _ask(settings: Settings, database: Database, count: int) -> None:
    explaining = Explaining(settings, database, load_registry())
    ids = [f"message-{number}" for number in random.sample(range(count), min(count, ASKED))]
    finding, answering = [], []
    try:
        await explaining.answer(ExplainQuery(producer="ci", id=ids[0]), COMMAND_LINE)  # connects, and makes the catalog
        for id_ in ids:
            started = time.perf_counter()
            async with database.read() as session:
                assert await places(session, settings, "ci", id_)
            finding.append(time.perf_counter() - started)
            started = time.perf_counter()
            await explaining.answer(ExplainQuery(producer="ci", id=id_), COMMAND_LINE)
            answering.append(time.perf_counter() - started)
    finally:
        await explaining.close()
    for what, times in (("found in the index", finding), ("explained, reading the topic", answering)):
        p50, p99 = statistics.median(times), sorted(times)[int(len(times) * 0.99)]
        print(f"one is {what} in {p50 * 1000:.1f} ms at the median, {p99 * 1000:.1f} ms at the 99th percentile")
