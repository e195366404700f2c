"""The process that `python -m bench ledger` measures: a ledger, without anything that delivers."""

import asyncio
import logging
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

import msgspec
import psutil
from aiokafka import TopicPartition

from notifier.attempt import Counter, Counters
from notifier.record import now
from notifier.settings import Settings, load_settings
from streams.delivery.ledger import Ledger, Ledgers, Unread
from streams.delivery.ledger.line import read_line

COLD, WARM, BEHIND, FOLLOW = "cold", "warm", "behind", "follow"
LOOK_UPS = 50_000
MIB = 1024 * 1024

_Value = TypeVar("_Value")


class Reading(msgspec.Struct, kw_only=True):
    """What was measured. Times of CPU unless it says otherwise."""

    seconds: float  # of a clock, until partitions may begin
    cpu_s: float  # until then
    grown_mib: float  # RSS since the start of the process
    file_mib: float
    miss_us: float
    hit_us: float
    other_us: float  # to pass over an attempt of the router
    counters_us: float  # to pass over counters
    rate: float = 0.0  # attempts a second while following
    cpu_share: float = 0.0  # of one core, while following
    behind: int = 0  # attempts that were written and not read when it ended


async def read(settings: Settings, ids: int, seconds: int) -> Reading:
    """Starts a ledger, asks it, and follows for so many seconds."""
    from bench.ledger import delivery_id

    process = psutil.Process()
    before, began, cpu = process.memory_info().rss, time.monotonic(), time.process_time()
    ledgers = Ledgers(settings)
    running = asyncio.create_task(ledgers.run())
    ledger = await _loaded(settings, ledgers)
    seconds_taken, cpu_s = time.monotonic() - began, time.process_time() - cpu
    if not all(delivery_id(number) in ledger for number in range(0, ids, 7)):
        sys.exit("an id that was accepted is not known")
    known, unknown = (
        [f"{delivery_id(number * (ids // LOOK_UPS or 1) % ids)}{end}" for number in range(LOOK_UPS)]
        for end in ("", "-no")
    )
    folder = settings.data_dir / "ledger"
    found = Reading(
        seconds=seconds_taken,
        cpu_s=cpu_s,
        grown_mib=(process.memory_info().rss - before) / MIB,
        file_mib=sum(file.stat().st_size for file in folder.iterdir()) / MIB,
        miss_us=_us(unknown, ledger.__contains__),
        hit_us=_us(known, ledger.__contains__),
        other_us=_us(
            [_record(b'{"delivery":"ci/1","origin":{"topic":"messages"}' + b" " * 300)] * 10_000, _pass_over(settings)
        ),
        counters_us=_us([_record(_counters())] * 200, _pass_over(settings)),
    )
    if seconds:
        began, cpu, count = time.monotonic(), time.process_time(), _read_so_far(ledgers)
        await asyncio.sleep(seconds)
        found.rate = (_read_so_far(ledgers) - count) / (time.monotonic() - began)
        found.cpu_share = (time.process_time() - cpu) / (time.monotonic() - began)
        at = _read_so_far(ledgers)
        await _loaded(settings, ledgers)
        found.behind = _read_so_far(ledgers) - at
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    return found


async def _loaded(settings: Settings, ledgers: Ledgers) -> Ledger:
    ledger = Ledger(ledgers.accepted)
    unread = Unread(2**62, int(time.time() * 1000))
    await ledgers.load({TopicPartition(settings.topic_prefix + "deliveries.chat", 0): (ledger, unread)})
    return ledger


def _read_so_far(ledgers: Ledgers) -> int:
    assert ledgers._store is not None
    return sum(place.high for place in ledgers._store.file.places.values())


def _us(values: Sequence[_Value], call: Callable[[_Value], object]) -> float:
    began = time.thread_time()
    for value in values:
        call(value)
    return (time.thread_time() - began) / len(values) * 1e6


def _record(value: bytes) -> Any:
    return SimpleNamespace(value=value, headers=(), offset=0, topic="")


def _counters() -> bytes:
    some = tuple(Counter(configuration=f"to-{n}-people", reason="filtered", count=n) for n in range(2000))
    return Counters(worker="w", at=now(), counters=some).encode()


def _pass_over(settings: Settings) -> Callable[[Any], object]:
    topics = (settings.topic_prefix + "deliveries.").encode()
    return lambda record: read_line(record, topics)


def main() -> None:
    """Prints the reading as JSON."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO)
    _, kafka, prefix, folder, ids, seconds = sys.argv[1:]
    settings = load_settings(env_file=None, kafka=kafka, topic_prefix=prefix, data_dir=Path(folder))
    sys.stdout.buffer.write(msgspec.json.encode(asyncio.run(read(settings, int(ids), int(seconds)))))


if __name__ == "__main__":
    main()
