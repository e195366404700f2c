"""What it takes to know what is parked: a delivery worker's start, an API's start, and a page of the list.

`python -m bench parked [--deliveries 100000] [--kafka HOST:PORT]`. Everything runs on this computer and in this process.
"""

import argparse
import asyncio
import secrets
import tempfile
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import msgspec
import psutil

from control_api.access.actor import COMMAND_LINE
from control_api.migrate import upgraded
from control_api.parked.parked import ParkedDeliveries, ParkedQuery
from notifier.catalog import Catalog
from notifier.delivery import Delivery, delivery_id
from notifier.kafka import ensure_topics, kafka_producer
from notifier.message import Message
from notifier.record import now
from notifier.seal import generate_key, load_seal
from notifier.settings import Settings, load_settings
from notifier.topics import PARKED
from streams.broker.broker import EmbeddedBroker
from streams.delivery.consumers import Consumers
from streams.delivery.holds import Holds
from streams.delivery.parking import Parking
from streams.registry import load_registry

_AT_ONCE = 20_000  # sent before one waits
_CONTENT = "the build failed: 3 tests of 1,204 do not pass; " * 10
_PAGES = 20


async def main(arguments: Sequence[str] = ()) -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(prog="python -m bench parked", description="What knowing what is parked takes.")
    parser.add_argument("--deliveries", type=int, default=100_000, help="that are parked (default: 100,000)")
    parser.add_argument("--kafka", metavar="HOST:PORT", help="a broker that runs already (default: one of its own)")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        settings = load_settings(
            env_file=None, data_dir=Path(folder), kafka_port=0, secret_key=generate_key(),
            topic_prefix=f"b{secrets.token_hex(3)}.",
        )  # fmt: skip
        broker = None if options.kafka else EmbeddedBroker(settings)
        address = options.kafka if broker is None else broker.start(die_with_parent=True)
        try:
            await _measure(settings.model_copy(update={"kafka": address}), options.deliveries)
        finally:
            if broker is not None:
                broker.stop()


async def _measure(settings: Settings, count: int) -> None:
    await _park(settings, count)
    await _load_worker(settings, count)
    async with upgraded(settings) as database:
        parked = ParkedDeliveries(settings, database)
        began = _Began()
        await parked.start()
        try:
            await parked.waiting._loaded.wait()
            assert len(await parked.waiting.all()) == count
            began.tell("an API", count)
            await _list(parked)
        finally:
            await parked.stop()


class _Began:
    """The moment at which something began."""

    def __init__(self) -> None:
        self._rss = psutil.Process().memory_info().rss
        self._at, self._cpu = time.perf_counter(), time.process_time()

    def tell(self, who: str, count: int) -> None:
        took, cpu = time.perf_counter() - self._at, time.process_time() - self._cpu
        grown = (psutil.Process().memory_info().rss - self._rss) / 1024 / 1024
        print(
            f"{who} knows {count:,} parked deliveries after {took:.1f} s: {cpu / count * 1e6:.0f} µs of this process"
            f" and {grown * 1024 * 1024 / count:,.0f} bytes each ({grown:.0f} MiB)"
        )


async def _park(settings: Settings, count: int) -> None:
    await ensure_topics(settings, [PARKED])
    topic, due = settings.topic_prefix + PARKED.name, now() + timedelta(days=30)
    message = msgspec.Raw(Message(producer="ci", content=_CONTENT, receiver="alice").encode())
    async with kafka_producer(settings, linger_ms=20, max_batch_size=512 * 1024, enable_idempotence=False) as producer:
        sent = []
        for number in range(count):
            recipient = f"person-{number % 1000}"
            delivery = Delivery(
                id=delivery_id("ci", f"message-{number}", f"all-{number % 10}", "chat", recipient),
                configuration=f"all-{number % 10}",
                configuration_version=1,
                consumer="chat",
                lane=recipient,
                message=message,
                message_id=f"message-{number}",
                recipient=recipient,
                not_before=due + timedelta(seconds=number % 3600),
                why="held",
            )
            sent.append(await producer.send(topic, delivery.encode(), key=delivery.id.encode()))
            if len(sent) == _AT_ONCE:
                await asyncio.gather(*sent)
                sent.clear()
        await asyncio.gather(*sent)


async def _load_worker(settings: Settings, count: int) -> None:
    """As a delivery worker does when it starts."""
    catalog = Catalog(registry=load_registry(), seal=load_seal(settings))
    holds = Holds(settings.retry_schedule_s, lambda *_: None, lambda _: None)
    parking = Parking(settings, Consumers(catalog, {}, holds))
    began = _Began()
    task = asyncio.create_task(parking.run())
    try:
        while not parking._shelves or not all(shelf.read for shelf in parking._shelves.values()):
            await asyncio.sleep(0.02)
        assert sum(len(shelf.waiting) for shelf in parking._shelves.values()) == count
        began.tell("a delivery worker", count)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _list(parked: ParkedDeliveries) -> None:
    for what, given in (("all", {}), ("of one person", {"recipient": "person-7"})):
        cursor: str | None = None
        began, pages = time.perf_counter(), 0
        while pages < _PAGES:
            query = ParkedQuery.model_validate({"limit": 100, "cursor": cursor, **given})
            _, cursor = await parked.list(COMMAND_LINE, query)
            pages += 1
            if cursor is None:
                break
        print(f"a page of 100, {what}: {(time.perf_counter() - began) / pages * 1000:.0f} ms")
