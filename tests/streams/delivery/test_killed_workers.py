"""Delivery workers as processes, killed and stopped: nothing is lost, and only what was in flight is repeated."""

import asyncio
import os
import random
import secrets
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest

from notifier.delivery import Delivery
from notifier.settings import PREFIX, Settings, load_settings
from streams.broker.broker import EmbeddedBroker
from streams.broker.ports import free_port
from tests.rigs.delivery_rig import (
    attempts,
    define,
    define_sink,
    make,
    saw,
    seen,
    send,
    wait_for_attempts,
)
from tests.rigs.kafka_tools import WAIT_S, wait_until
from tests.rigs.repository import ROOT

LONG = os.environ.get("FAULTS") == "long"
KILLS = 20 if LONG else 1
LANES = 8


@pytest.fixture
def own_broker(tmp_path: Path) -> Iterator[EmbeddedBroker]:
    """A broker of the test's own, not started."""
    broker = EmbeddedBroker(load_settings(env_file=None, data_dir=tmp_path / "own", kafka_port=free_port()))
    yield broker
    broker.stop()


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


def repeated(path: Path, killed: set[int]) -> tuple[int, int]:
    """How many deliveries were sent once more because their worker was killed, and for no such reason."""
    senders: dict[str, list[int]] = {}
    for line in seen(path):
        senders.setdefault(line["id"], []).append(line["pid"])
    again = [pid for pids in senders.values() for pid in pids[:-1]]
    return sum(pid in killed for pid in again), sum(pid not in killed for pid in again)


@pytest.mark.slow
async def test_kills_and_a_broker_that_restarts_lose_nothing_and_repeat_what_was_in_flight(
    settings: Settings, own_broker: EmbeddedBroker
) -> None:
    """`FAULTS=long`: twenty kills at random moments and five restarts of the broker; `FAULT_SEED` repeats the moments."""
    seed = int(os.environ.get("FAULT_SEED") or secrets.randbelow(2**32))
    chance = random.Random(seed)
    settings = settings.model_copy(update={"kafka": own_broker.start(die_with_parent=True)})
    path = await define_sink(settings, partitions=4, otherwise="slow 0.02")
    made: list[Delivery] = []
    killed: set[int] = set()

    async def more(count: int) -> None:
        """More deliveries, some of which are sent when this returns."""
        numbers = range(len(made), len(made) + count)
        made.extend(make(str(n), lane=f"lane-{n % LANES}", number=n) for n in numbers)
        before = len(seen(path))
        await send(settings, made[-count:])
        await saw(path, before + chance.randint(1, count // 2))

    async with workers(settings) as group:
        group.start()
        group.start()
        for number in range(KILLS):
            await more(200)
            victim = chance.choice(group.running)
            await group.end(victim, signal.SIGKILL)
            killed.add(victim.pid)
            if number % 4 == 0:
                await more(100)
                await asyncio.to_thread(own_broker.stop)
                await asyncio.sleep(chance.random() * 3)
                await asyncio.to_thread(partial(own_broker.start, die_with_parent=True))
            group.start()  # not before: one that finds no broker at its start ends
        while {process.pid for process in group.running} - {line["pid"] for line in seen(path)}:
            await more(50)  # until each has sent some
        await more(100)
        for process in list(group.running):
            assert await group.end(process) == 0  # with what was in flight finished
        group.start()
        await wait_until(lambda: all_accepted(settings, made))
        assert [await group.end(process) for process in list(group.running)] == [0]
    in_flight, needless = repeated(path, killed)
    print(
        f"seed {seed}: {len(made)} deliveries, {len(killed)} kills: {in_flight} sent again that were in flight at one,"
        f" {needless} for another reason"
    )
    await audit(settings, path, made, killed=LANES * KILLS)
    assert needless == 0
    await asyncio.to_thread(own_broker.stop)  # and a restart of everything
    own_broker.start(die_with_parent=True)
    sent = len(seen(path))
    async with workers(settings) as group:
        await send(settings, made[:50])
        group.start()
        await wait_for_attempts(settings, 50, reason="duplicate")
    assert len(seen(path)) == sent


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
