"""How fast one delivery worker sends webhooks, on a real broker, to a sink on loopback.

`python -m bench webhook [--count 100000] [--at-once 50] [--unsigned]`. The deliveries lie on their topic before the worker
starts. Printed are the rate from the first that arrived to the last, the worker's processor time for each, its memory on the
way, and how many connections it made. Each delivery must have arrived.
"""

import argparse
import asyncio
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from bench.hook_sink import HookSink, sinking
from bench.worker import Worker
from notifier.kafka import ensure_topics
from notifier.registry import close_secrets
from notifier.seal import generate_key, load_seal
from notifier.settings import Settings, load_settings
from notifier.topics import deliveries
from streams.broker.broker import EmbeddedBroker
from streams.broker.ports import free_port
from tests.rigs.delivery_rig import define, send
from tests.rigs.plugin_world import make_delivery

NAME = "hook"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"  # nobody's
LIMIT_S = 600.0
SAMPLES = 10  # of memory
MIB = 1024 * 1024
CONTENT = "build failed: " + "the log of a step that went wrong. " * 5


async def main(arguments: Sequence[str] = ()) -> None:
    """Prints rate, processor time, memory and connections."""
    parser = argparse.ArgumentParser(prog="python -m bench webhook", description=__doc__)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--at-once", type=int, default=50)
    parser.add_argument("--unsigned", action="store_true")
    options = parser.parse_args(list(arguments))
    with tempfile.TemporaryDirectory(prefix="notifier-bench-") as name, sinking() as sink:
        folder = Path(name).resolve()
        broker = EmbeddedBroker(load_settings(env_file=None, data_dir=folder / "broker", kafka_port=free_port()))
        address = await asyncio.to_thread(broker.start, die_with_parent=True)
        try:
            data = folder / "delivery"
            data.mkdir()
            settings = load_settings(
                env_file=None, kafka=address, data_dir=data, secret_key=generate_key(), allowed_addresses=("127.0.0.1",)
            )
            await _prepare(settings, sink.url, options.count, options.at_once, signed=not options.unsigned)
            await _measure(settings, sink, options.count)
        finally:
            await asyncio.to_thread(broker.stop)


async def _prepare(settings: Settings, url: str, count: int, at_once: int, *, signed: bool) -> None:
    parameters: dict[str, object] = {"url": url, "at_once": at_once}
    if signed:
        sealed = close_secrets(load_seal(settings), "consumer", NAME, {"secret": SECRET}, frozenset({"secret"}))
        parameters |= sealed
    await ensure_topics(settings, [deliveries(NAME, 1)])
    await define(settings, NAME, {"type": "webhook", "parameters": parameters})
    await define(settings, "u0", {}, kind="user")
    await define(settings, "all", {"consumers": [NAME]}, kind="configuration", revision=2)
    for start in range(0, count, 10_000):
        numbers = range(start, min(start + 10_000, count))
        await send(settings, [make_delivery(CONTENT, number=n, consumer=NAME, recipient="u0") for n in numbers])


async def _measure(settings: Settings, sink: HookSink, count: int) -> None:
    worker = Worker(("notifier", "delivery"), settings, settings.data_dir / "delivery.log")
    samples: list[float] = []
    try:
        deadline = time.monotonic() + LIMIT_S
        while sink.requests == 0:
            worker.usage()  # raises where it has ended
            if time.monotonic() > deadline:
                raise SystemExit(f"nothing arrives:\n{worker.log()}")
            await asyncio.sleep(0.01)
        began, first, cpu_s = time.monotonic(), sink.requests, worker.usage().cpu_s
        while sink.ids < count:
            if sink.ids >= (len(samples) + 1) * count // SAMPLES:
                samples.append(worker.usage().rss / MIB)
            if time.monotonic() > deadline:
                raise SystemExit(f"{sink.ids:,} of {count:,} arrived in {LIMIT_S:g} s:\n{worker.log()}")
            await asyncio.sleep(0.01)
        took, used = time.monotonic() - began, worker.usage()
        await asyncio.to_thread(worker.stop)
    finally:
        worker.kill()
    sent = count - first
    memory = " ".join(f"{mib:.0f}" for mib in (*samples, used.rss / MIB))
    print(
        f"webhook: {sent / took:,.0f} deliveries a second, {(used.cpu_s - cpu_s) / sent * 1e6:.0f} µs of CPU each;"
        f" {sink.ids:,} arrived in {sink.requests:,} requests by {sink.connections} connections; MiB on the way: {memory}"
    )
