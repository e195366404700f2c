"""What the ledger costs: a start without its file and with it, a look-up, memory, reading on, following 5,000 attempts a second.

`python -m bench ledger [--ids 1000000] [--seconds 20] [--kafka HOST:PORT]`. Everything runs on this computer; the ledger is in a
process of its own (`bench.ledger_reader`), and must know each id that was written, or there is no figure.
"""

import argparse
import asyncio
import secrets
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
from aiokafka import AIOKafkaProducer, TopicPartition

from bench.ledger_reader import BEHIND, COLD, FOLLOW, WARM, Reading
from bench.progress import say
from notifier.attempt import Attempt, Origin
from notifier.kafka import ensure_topics, kafka_consumer, kafka_producer
from notifier.record import now
from notifier.settings import Settings, load_settings
from notifier.topics import ATTEMPTS, deliveries
from streams.broker.broker import EmbeddedBroker
from streams.delivery.group import GROUP
from streams.delivery.ledger import SETTLED, SPARED
from streams.delivery.ledger.filling import BEFORE_MS

RATE = 5_000  # attempts a second
MISSED = 100_000  # attempts that were written while the ledger did not run, and that it reads on from its file
_BATCH = 2_000  # records
_HEADERS = [(SETTLED, b"1"), (SPARED, b"0")]


def delivery_id(number: int) -> str:
    """The id of the n-th delivery."""
    return f"ci/build-{number:09}/to-everyone/chat/person-{number % 500}"


async def main(arguments: Sequence[str] = ()) -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(prog="python -m bench ledger", description="What the ledger costs.")
    parser.add_argument(
        "--ids", type=int, default=1_000_000, help="accepted deliveries on the topic (default: 1,000,000)"
    )
    parser.add_argument("--seconds", type=int, default=20, help="of following (default: 20)")
    parser.add_argument("--kafka", metavar="HOST:PORT", help="a broker that runs already (default: one of its own)")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        settings = load_settings(
            env_file=None, data_dir=Path(folder), kafka_port=0, topic_prefix=f"b{secrets.token_hex(3)}."
        )
        broker = None if options.kafka else EmbeddedBroker(settings)
        address = options.kafka if broker is None else broker.start(die_with_parent=True)
        try:
            await _measure(settings.model_copy(update={"kafka": address}), options.ids, options.seconds)
        finally:
            if broker is not None:
                broker.stop()


async def _measure(settings: Settings, ids: int, seconds: int) -> None:
    await ensure_topics(settings, [ATTEMPTS])
    encoder = _Encoder(settings)
    async with kafka_producer(settings) as producer:
        await _write_all(producer, encoder, range(ids))
        say(f"{ids:,} attempts are written")
        await _commit(settings, ids)
        cold = await _read(settings, COLD, ids)
        warm = await _read(settings, WARM, ids)
        written = ids + MISSED
        await _write_all(producer, encoder, range(ids, written))
        behind = await _read(settings, BEHIND, written)
        following = asyncio.create_task(_read(settings, FOLLOW, written, seconds))
        while not following.done():  # first of all while the process starts
            due = time.monotonic() + _BATCH / RATE
            await _write(producer, encoder, range(written, written + _BATCH))
            written += _BATCH
            await asyncio.sleep(max(0.0, due - time.monotonic()))
        follow = await following
    print(f"start without a file, {ids:,} ids: {cold.seconds:.1f} s, {cold.cpu_s / ids * 1e6:.1f} µs of CPU an id")
    print(f"start with the file: {warm.seconds:.2f} s, {warm.cpu_s:.2f} s of CPU")
    read_s, read_cpu_s = behind.seconds - warm.seconds, behind.cpu_s - warm.cpu_s
    print(
        f"reading on {MISSED:,} attempts: {MISSED / read_s:,.0f} a second, {read_cpu_s / MISSED * 1e6:.1f} µs of CPU each"
    )
    print(
        f"file: {cold.file_mib:.0f} MiB; memory grew by {cold.grown_mib:.0f} MiB without it, {warm.grown_mib:.0f} MiB with it"
    )
    print(f"look-up: {warm.miss_us:.1f} µs of CPU for an id that is not known, {warm.hit_us:.1f} µs for one that is")
    print(
        f"following {follow.rate:,.0f} attempts/s: {follow.cpu_share:.0%} of one core,"
        f" {follow.behind:,} behind at the end"
    )
    print(f"an attempt of the router: {warm.other_us:.2f} µs; counters of 100 KiB: {warm.counters_us:.1f} µs")


async def _commit(settings: Settings, offset: int) -> None:
    """Has the deliveries finished, as nearly all are that attempts tell of."""
    await ensure_topics(settings, [deliveries("chat")])
    place = TopicPartition(settings.topic_prefix + "deliveries.chat", 0)
    async with kafka_consumer(settings, group_id=settings.topic_prefix + GROUP) as kafka:
        kafka.assign([place])
        await kafka.commit({place: offset})


async def _read(settings: Settings, mode: str, ids: int, seconds: int = 0) -> Reading:
    reader = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.ledger_reader", mode, settings.kafka or "", settings.topic_prefix,
        str(settings.data_dir), str(ids), str(seconds), stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, _ = await reader.communicate()
    if reader.returncode:
        sys.exit(f"bench ledger: the reading `{mode}` failed")
    found = msgspec.json.decode(out, type=Reading)
    say(f"{mode}: {found}")
    return found


class _Encoder:
    """Attempts as delivery writes them."""

    def __init__(self, settings: Settings) -> None:
        self.topic = settings.topic_prefix + ATTEMPTS.name
        moment = now()
        self._value = Attempt(
            delivery="DELIVERY",
            producer="ci",
            message="build-000000000",
            outcome="accepted",
            reason="ok",
            started_at=moment,
            ended_at=moment,
            configuration="to-everyone",
            configuration_version=7,
            consumer="chat",
            recipient="person-1",
            origin=Origin(topic=settings.topic_prefix + "deliveries.chat", partition=0, offset=987654321),
        ).encode()

    def encode(self, number: int) -> bytes:
        """The attempt at the n-th delivery."""
        return self._value.replace(b"DELIVERY", delivery_id(number).encode()).replace(b"987654321", b"%d" % number)


async def _write_all(producer: AIOKafkaProducer, encoder: _Encoder, numbers: range) -> None:
    for start in range(0, len(numbers), 12 * _BATCH):
        await _write(producer, encoder, numbers[start : start + 12 * _BATCH])


async def _write(producer: AIOKafkaProducer, encoder: _Encoder, numbers: range) -> None:
    """Writes attempts, evenly over the partitions, an hour old at most."""
    moment_ms = int(time.time() * 1000) - BEFORE_MS // 2
    sent = []
    for place in range(ATTEMPTS.partitions):
        batch = None
        for number in numbers[place :: ATTEMPTS.partitions]:
            value = encoder.encode(number)
            while batch is None or batch.append(key=b"k", value=value, timestamp=moment_ms, headers=_HEADERS) is None:
                if batch is not None:
                    sent.append(await producer.send_batch(batch, encoder.topic, partition=place))
                batch = producer.create_batch()
        if batch is not None:
            sent.append(await producer.send_batch(batch, encoder.topic, partition=place))
    await asyncio.gather(*sent)
