"""What pushing costs: `notifier api` beside the same API with one Kafka transaction a request, on one broker in one run.

`python -m bench intake [--seconds 8] [--clients 50] [--kafka HOST:PORT]`. Each client keeps one connection and pushes one message
a request, the next when the last is answered. Then one client alone. Every message that was answered with 202 must lie on the
topic exactly once before a figure is printed. Everything runs on this computer; a client's own work is in its times.
"""

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from aiokafka import AIOKafkaConsumer

from bench.worker import Failed, Worker
from control_api.access import tokens
from control_api.definitions.apply import apply_command
from notifier.kafka import kafka_consumer
from notifier.seal import generate_key
from notifier.settings import PREFIX, Settings, load_settings, variable
from notifier.topics import MESSAGES
from streams.broker.broker import EmbeddedBroker
from streams.broker.ports import free_port

CONTENDERS = {"together": ("notifier", "api"), "one by one": ("bench.one_by_one",)}
WARM_UP_S = 2.0
READY_S = 60.0
ALONE = 200  # requests of one client alone

DEFINITIONS = "producers: [{name: bench, type: push}]\n"


@dataclass(frozen=True)
class Figures:
    """What one contender did."""

    rate: float  # requests a second, of all clients together
    p50_ms: float
    p99_ms: float
    alone_ms: float  # the median of one client alone
    cpu_us: float  # of the API, a request


async def main(arguments: Sequence[str] = ()) -> None:
    """Prints the figures of both, and their ratio."""
    parser = argparse.ArgumentParser(prog="python -m bench intake", description="What pushing costs.")
    parser.add_argument("--seconds", type=float, default=8.0, help="of a flow that is measured (default: 8)")
    parser.add_argument("--clients", type=int, default=50, help="at the same time (default: 50)")
    parser.add_argument("--kafka", metavar="HOST:PORT", help="a broker that runs already (default: one of its own)")
    options = parser.parse_args(arguments)
    for name in list(os.environ):
        if name.startswith(PREFIX) and name != variable("cache_dir"):
            del os.environ[name]  # no setting of the person who runs this has a say
    with tempfile.TemporaryDirectory(prefix="notifier-bench-") as name:
        folder = Path(name)
        broker = EmbeddedBroker(load_settings(env_file=None, data_dir=folder, kafka_port=free_port()))
        kafka = options.kafka or broker.start(die_with_parent=True)
        found: dict[str, Figures] = {}
        try:
            for number, contender in enumerate(CONTENDERS):
                settings = _settings(folder / str(number), kafka, f"bench{os.getpid()}-{number}.")
                found[contender] = await _measure(contender, settings, options.clients, options.seconds)
        except Failed as error:
            sys.exit(f"bench intake: {error}")
        finally:
            if options.kafka is None:
                broker.stop()
    for contender, figures in found.items():
        print(
            f"intake, requests {contender}: {options.clients} clients {figures.rate:,.0f}/s, p50 {figures.p50_ms:.1f} ms,"
            f" p99 {figures.p99_ms:.1f} ms; alone p50 {figures.alone_ms:.1f} ms; {figures.cpu_us:,.0f} µs of CPU a request"
        )
    print(f"intake, together beside one by one: {found['together'].rate / found['one by one'].rate:.1f} × as many")


def _settings(folder: Path, kafka: str, prefix: str) -> Settings:
    folder.mkdir()
    port = free_port()
    (folder / ".env").write_text(f"{variable('http_port')}={port}\n")
    return load_settings(
        env_file=None, data_dir=folder, kafka=kafka, topic_prefix=prefix, http_port=port, secret_key=generate_key()
    )


async def _measure(contender: str, settings: Settings, clients: int, seconds: float) -> Figures:
    definitions = settings.data_dir / "definitions.yaml"
    definitions.write_text(DEFINITIONS)
    await apply_command(settings, definitions, prune=False, dry_run=False)
    token = await tokens.create_token(settings, name="bench", scopes=["push"])
    worker = Worker(CONTENDERS[contender], settings, settings.data_dir / "log")
    try:
        await _ready(settings.http_port, worker)
        pushers = [Pusher(settings.http_port, token, f"c{number}") for number in range(clients)]
        await asyncio.gather(*(one.push_for(WARM_UP_S) for one in pushers))
        alone = await Pusher(settings.http_port, token, "alone").push(ALONE)
        before, began = worker.usage(), time.monotonic()
        times = sorted(t for some in await asyncio.gather(*(one.push_for(seconds) for one in pushers)) for t in some)
        took = time.monotonic() - began
        cpu_s = worker.usage().cpu_s - before.cpu_s
        await _check(settings, [id_ for one in pushers for id_ in one.accepted])
    finally:
        worker.stop()
    return Figures(
        rate=len(times) / took,
        p50_ms=1000 * times[len(times) // 2],
        p99_ms=1000 * times[int(0.99 * len(times))],
        alone_ms=1000 * sorted(alone)[len(alone) // 2],
        cpu_us=1e6 * cpu_s / len(times),
    )


class Pusher:
    """One client with one connection."""

    def __init__(self, port: int, token: str, name: str) -> None:
        self._port, self._name, self._count = port, name, 0
        self._head = (
            f"POST /api/v1/messages HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {token}\r\n"
            "Content-Type: application/json\r\nContent-Length: "
        ).encode()
        self.accepted: list[str] = []

    async def push_for(self, seconds: float) -> list[float]:
        """Pushes for that long; the seconds that each request took."""
        return await self._push(None, time.monotonic() + seconds)

    async def push(self, count: int) -> list[float]:
        """Pushes that many."""
        return await self._push(count, None)

    async def _push(self, count: int | None, end: float | None) -> list[float]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        times: list[float] = []
        try:
            while len(times) != count and (end is None or time.monotonic() < end):
                self._count += 1
                id_ = f"{self._name}-{self._count}"
                body = json.dumps(
                    {"producer": "bench", "id": id_, "receiver": self._name, "content": "x" * 200}
                ).encode()
                began = time.monotonic()
                writer.write(self._head + str(len(body)).encode() + b"\r\n\r\n" + body)
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
                answer = await reader.readexactly(length)
                times.append(time.monotonic() - began)
                if not head.startswith(b"HTTP/1.1 202"):
                    raise Failed(f"a push was answered with {head[:12]!r} {answer!r}")
                self.accepted.append(id_)
        finally:
            writer.close()
        return times


async def _ready(port: int, worker: Worker) -> None:
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline:
        worker.usage()  # raises when it has ended
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.2)
            continue
        writer.write(b"GET /health/ready HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = await reader.read()
        writer.close()
        if answer.startswith(b"HTTP/1.1 200"):
            return
        await asyncio.sleep(0.2)
    raise Failed(f"the API was not ready within {READY_S:g} s:\n{worker.log()}")


async def _check(settings: Settings, accepted: Sequence[str]) -> None:
    """Raises Failed unless each accepted message lies on the topic exactly once."""
    consumer: AIOKafkaConsumer = kafka_consumer(
        settings, isolation_level="read_committed", auto_offset_reset="earliest"
    )
    consumer.subscribe([settings.topic_prefix + MESSAGES.name])
    await consumer.start()
    found: Counter[str] = Counter()
    try:
        while fetched := await consumer.getmany(timeout_ms=2000):
            for records in fetched.values():
                found.update(json.loads(record.value)["id"] for record in records)
    finally:
        await consumer.stop()
    wrong = [id_ for id_ in accepted if found[id_] != 1]
    if wrong:
        raise Failed(f"{len(wrong)} of {len(accepted)} accepted messages do not lie on the topic once: {wrong[0]}")
