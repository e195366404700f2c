"""Delivery workers as processes, killed and stopped: nothing is lost, and only what was in flight is repeated."""

import asyncio
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from notifier.delivery import Delivery
from notifier.settings import PREFIX, Settings
from tests.rigs.delivery_rig import (
    attempts,
    define,
    define_sink,
    make,
    saw,
    seen,
    send,
)
from tests.rigs.kafka_tools import WAIT_S, wait_until
from tests.rigs.repository import ROOT


class Workers:
    """Delivery workers as processes of their own."""

    def __init__(self, settings: Settings) -> None:
        names = ("kafka", "topic_prefix", "data_dir", "lane_wait_s")
        self._environment = {
            **os.environ,
            **{PREFIX + name.upper(): str(getattr(settings, name)) for name in names},
            PREFIX + "SECRET_KEY": settings.secret_key.get_secret_value() if settings.secret_key else "",
            PREFIX + "RETRY_SCHEDULE_S": ",".join(str(part) for part in settings.retry_schedule_s),
        }
        self.running: list[subprocess.Popen[bytes]] = []

    def start(self) -> subprocess.Popen[bytes]:
        process = subprocess.Popen([sys.executable, "-m", "tests.rigs.sink"], cwd=ROOT, env=self._environment)
        self.running.append(process)
        return process

    async def end(self, process: subprocess.Popen[bytes], number: signal.Signals = signal.SIGTERM) -> int:
        process.send_signal(number)
        status = await asyncio.to_thread(process.wait, WAIT_S)
        self.running.remove(process)  # not before: one that does not end is left to be killed
        return status


@asynccontextmanager
async def workers(settings: Settings) -> AsyncIterator[Workers]:
    """Workers, all of which are gone at the end."""
    found = Workers(settings)
    try:
        yield found
    finally:
        for process in found.running:
            process.kill()
            process.wait()


async def audit(settings: Settings, path: Path, made: Sequence[Delivery], killed: int) -> None:
    """Nothing is lost, nothing is accepted twice but what was in flight, and each lane's first tries are in order."""
    given = Counter(line["id"] for line in seen(path))
    accepted = Counter(a.delivery for a in await attempts(settings) if a.outcome == "accepted")
    assert set(given) == {delivery.id for delivery in made}
    assert set(accepted) == set(given)
    assert sum(given.values()) - len(given) <= killed
    assert max(accepted.values()) <= 2
    lane_of = {delivery.id: delivery.lane for delivery in made}
    first: dict[str, list[str]] = {}
    for line in seen(path):
        order = first.setdefault(lane_of[line["id"]], [])
        if line["id"] not in order:
            order.append(line["id"])
    for lane, order in first.items():
        assert order == [delivery.id for delivery in made if delivery.lane == lane]


async def all_accepted(settings: Settings, made: Sequence[Delivery]) -> bool:
    accepted = {a.delivery for a in await attempts(settings) if a.outcome == "accepted"}
    return accepted >= {delivery.id for delivery in made}


@pytest.mark.slow
async def test_nothing_is_lost_when_a_worker_is_killed(settings: Settings) -> None:
    path = await define_sink(settings, partitions=4, otherwise="slow 0.02")
    made = [make(str(n), lane=f"lane-{n % 8}", number=n) for n in range(400)]
    async with workers(settings) as group:
        first = group.start()
        group.start()
        await send(settings, made[:200])
        await saw(path, random.randint(20, 120))
        await group.end(first, signal.SIGKILL)
        await send(settings, made[200:])
        group.start()
        await wait_until(lambda: all_accepted(settings, made))
    await audit(settings, path, made, killed=8)


@pytest.mark.slow
async def test_an_orderly_stop_repeats_nothing(settings: Settings) -> None:
    path = await define_sink(settings, partitions=4, otherwise="slow 0.02")
    made = [make(str(n), lane=f"lane-{n % 8}", number=n) for n in range(300)]
    async with workers(settings) as group:
        first = group.start()
        await send(settings, made[:150])
        await saw(path, 20)
        second = group.start()
        await saw(path, 60)
        assert await group.end(first) == 0
        await send(settings, made[150:])
        await wait_until(lambda: all_accepted(settings, made))
        assert await group.end(second) == 0
    await audit(settings, path, made, killed=0)
    assert len(seen(path)) == len(made)


@pytest.mark.slow
async def test_what_was_accepted_and_not_recorded_is_sent_again_under_the_same_id(settings: Settings) -> None:
    path = await define_sink(settings, plan={"0": ["hang", "accept"]}, timeout_s=60)
    await send(settings, [make("0")])
    async with workers(settings) as group:
        worker = group.start()
        await saw(path, 1)  # the service has it; the worker dies before it can say so
        await group.end(worker, signal.SIGKILL)
        await define(settings, "sink", {"type": "sink", "parameters": {"path": str(path)}}, revision=2)
        group.start()
        await wait_until(lambda: all_accepted(settings, [make("0")]))
    assert [line["id"] for line in seen(path)] == [make("0").id] * 2
