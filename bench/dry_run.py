"""What a dry run costs, and that it counts what a real router delivers: beside a hand-written loop over the same messages.

`python -m bench dry-run [--messages 1000000] [--rounds 2] [--kafka HOST:PORT]`. The messages are those of the world `broad` with
one configuration, which takes all of them: 10,000 users, 20 producers. Each reading is a process of its own (`bench.dry_reader`),
one after another, all of them in each round. At the end a real router delivers the same messages by the draft, and its
deliveries are counted on the topics.
"""

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from bench.dry_reader import ALL, LOOP, MODES, ONE, STORED, Reading
from bench.progress import say
from bench.trial import ROUTER, STILL_S, Trial, trial
from bench.worlds import BROAD, make_world
from notifier.settings import PREFIX, load_settings, variable
from streams.broker.broker import EmbeddedBroker
from streams.broker.ports import free_port

CHUNK = 50_000  # messages made and written at once
NAMES = {
    LOOP: "hand-written aiokafka loop",
    ALL: "dry run with a draft, of all messages",
    STORED: "dry run without a draft, of all messages",
    ONE: "dry run of one producer of twenty",
}


async def main(arguments: Sequence[str] = ()) -> None:
    """Prints the figures, and fails where the counts are not equal."""
    parser = argparse.ArgumentParser(prog="python -m bench dry-run", description="What a dry run costs.")
    parser.add_argument("--messages", type=int, default=1_000_000, help="(default: 1,000,000)")
    parser.add_argument("--rounds", type=int, default=2, help="of readings (default: 2)")
    parser.add_argument("--kafka", metavar="HOST:PORT", help="a broker that runs already (default: one of its own)")
    options = parser.parse_args(arguments)
    for name in list(os.environ):
        if name.startswith(PREFIX) and name != variable("cache_dir"):
            del os.environ[name]  # no setting of the person who runs this has a say
    world = make_world(BROAD, 1)
    with tempfile.TemporaryDirectory(prefix="notifier-bench-") as name:
        folder = Path(name)
        broker = EmbeddedBroker(load_settings(env_file=None, data_dir=folder, kafka_port=free_port()))
        kafka = options.kafka or broker.start(die_with_parent=True)
        try:
            async with trial(ROUTER, world.rule, world.messages(), kafka, folder) as one:
                for first in range(0, options.messages, CHUNK):
                    await one.write(min(CHUNK, options.messages - first))
                    one.messages.forget(one.written)
                say(f"{one.written:,} messages are on the topic")
                found = await _read(one, kafka, options.rounds)
                delivered = await _deliver(one, found[ALL][0].deliveries)
        finally:
            if options.kafka is None:
                broker.stop()
    _report(found, options.messages, delivered)


async def _read(one: Trial, kafka: str, rounds: int) -> dict[str, list[Reading]]:
    found: dict[str, list[Reading]] = {mode: [] for mode in MODES}
    for _ in range(rounds):
        for mode in MODES:
            reader = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "bench.dry_reader", mode, kafka, one.settings.topic_prefix,
                stdout=asyncio.subprocess.PIPE,
            )  # fmt: skip
            out, _ = await reader.communicate()
            if reader.returncode:
                sys.exit(f"bench dry-run: the reading `{mode}` failed")
            found[mode].append(msgspec.json.decode(out, type=Reading))
            say(f"{mode}: {found[mode][-1]}")
    return found


async def _deliver(one: Trial, expected: int) -> int:
    """How many deliveries a real router makes of the messages; it is ended once no more come."""
    async with one.workers():
        delivered, since = 0, time.monotonic()
        while delivered < expected and time.monotonic() - since < STILL_S:
            await asyncio.sleep(0.5)
            now = await one.outputs()
            if now > delivered:
                delivered, since = now, time.monotonic()
        await asyncio.sleep(2)  # for those that should not come
    return await one.outputs()


def _report(found: dict[str, list[Reading]], messages: int, delivered: int) -> None:
    loop = min(reading.cpu_s for reading in found[LOOP])
    for mode, readings in found.items():
        cpu = min(reading.cpu_s for reading in readings)
        seconds = min(reading.seconds for reading in readings)
        grown = max(reading.grown_mib for reading in readings)
        print(
            f"{NAMES[mode]:42} {cpu / messages * 1e6:6.2f} µs of CPU a message ({cpu / loop:.2f} × the loop),"
            f" {messages / seconds:9,.0f} messages/s, memory grew by {grown:.0f} MiB"
        )
    counted = {reading.deliveries for mode in (ALL, LOOP) for reading in found[mode]}
    read = {reading.messages for readings in found.values() for reading in readings}
    if counted != {delivered} or read != {messages}:
        sys.exit(f"bench dry-run: the router delivered {delivered:,}, and counted were {counted} of {read} messages")
    print(f"the dry run counted {delivered:,} deliveries, and so many a real router made of the same messages")
