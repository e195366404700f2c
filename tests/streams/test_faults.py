"""What becomes of messages when routers, their broker, their topics and their definitions are disturbed under load.

Each row of `FAULTS` is one disturbance of two routers at 500 messages a second, audited id by id (`tests.rigs.audit`). In
`make test` each is short; `make test-faults` (`FAULTS=long`) takes the full times and twenty repetitions. `FAULT_SEED` repeats
the random moments of a run that failed.
"""

import asyncio
import os
import random
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from notifier.settings import Settings, load_settings
from streams.broker.broker import EmbeddedBroker
from streams.broker.ports import free_port
from tests.rigs.audit import Report
from tests.rigs.faults import RATE, Scene, scene
from tests.rigs.kafka_tools import wait_until

LONG = os.environ.get("FAULTS") == "long"

# After a crash what was done since the last commit is done again: commit interval (0.5 s) x rate, and what is in flight,
# which is bounded in bytes and not in messages; so say two seconds of messages. A busy machine commits late, so the number
# counts in the long version alone; which messages may be repeated does not depend on the machine (`Scene.needless`).
CRASH = 2 * RATE


@dataclass(frozen=True, kw_only=True)
class Pace:
    """How long things last, in seconds; and how often."""

    before: float  # of load before the fault
    after: float  # of load after it
    stopped: float  # of SIGSTOP; longer than the session of 10 s, so that others take over
    joins: int
    stay: float  # of one that joined, and of its absence after that
    gone: float  # of a topic that comes back while it is waited for
    lost: float  # of a topic that comes back after its deliveries are parked
    missing_wait: float | None  # that a router waits for a topic; None: as it does by default
    broker: float  # of the broker's absence
    edits: int
    edit: float  # between two of them
    repetitions: int  # of a fresh group
    late: float  # that the second router of a fresh group comes later, at most


PACE = (
    Pace(before=5, after=10, stopped=15, joins=5, stay=4, gone=20, lost=60, missing_wait=None, broker=10,
         edits=20, edit=0.5, repetitions=20, late=3)
    if LONG
    else Pace(before=0.2, after=0.5, stopped=11, joins=1, stay=0.3, gone=1.5, lost=3, missing_wait=1, broker=1,
              edits=8, edit=0.1, repetitions=2, late=1.5)
)  # fmt: skip


async def killed(at: Scene) -> None:
    """SIGKILL."""
    at.signal(at.any_router(), signal.SIGKILL)
    await at.read_no_further()


async def stopped(at: Scene) -> None:
    """SIGSTOP, so long that others take over, and SIGCONT: it does not know that it was away."""
    router = at.any_router()
    at.signal(router, signal.SIGSTOP)
    await at.read_no_further()
    await asyncio.sleep(PACE.stopped)
    at.signal(router, signal.SIGCONT)


async def terminated(at: Scene) -> None:
    """SIGTERM."""
    router = at.any_router()
    at.signal(router, signal.SIGTERM)
    assert await router.ended() == 0


async def replaced(at: Scene) -> None:
    """All routers end at the same time, and others begin: a new version, or the end of `notifier router --workers 2`."""
    old = list(at.routers)
    for router in old:
        at.signal(router, signal.SIGTERM)
    for router in old:
        assert await router.ended() == 0
    for router in [at.start(), at.start()]:
        await router.ready()


async def added(at: Scene) -> None:
    """A third router."""
    await at.start().ready()


async def joins_and_leaves(at: Scene) -> None:
    """Routers that come and go."""
    for _ in range(PACE.joins):
        router = at.start()
        await router.ready()
        await at.pause(PACE.stay * 2)
        at.signal(router, signal.SIGTERM)
        assert await router.ended() == 0
        await at.pause(PACE.stay * 2)


async def broker_restarted(at: Scene) -> None:
    """The broker goes and comes back."""
    await at.restart_broker(PACE.broker)


async def topic_gone(at: Scene) -> None:
    """A consumer's topic is missing for a while."""
    await at.delete_topic("two")
    await asyncio.sleep(PACE.gone)
    await at.create_topic("two")


async def topic_gone_for_long(at: Scene) -> None:
    """A consumer's topic is missing for so long that deliveries are parked."""
    await at.delete_topic("two")
    await asyncio.sleep(PACE.lost)
    await at.create_topic("two")


async def unreadable(at: Scene) -> None:
    """Three hundred records in a row that are no messages."""
    values = [b"{broken", b"\xff\xfe", b"[" * 1000, b'{"producer": "ci", "content": NaN}', b"", b"42"]
    partition = at.feeder.sent[-1].partition
    await at.write_unreadable(values * (300 // len(values)), partition)


async def edited(at: Scene) -> None:
    """A definition is changed again and again."""
    last = PACE.edits + 1
    for revision in range(2, last + 1):
        await at.edit(revision)
        await at.pause(PACE.edit * 2)
    await wait_until(lambda: any(found.version == last for found in reversed(at.reader.seen)))


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A disturbance, and what may come of it."""

    do: Callable[[Scene], Awaitable[None]]
    repeated: int = 0  # messages at most, in the long version; none in both where it is 0
    own_broker: bool = False
    parks: bool = False
    missing_wait: float | None = None  # seconds; None: as by default
    short: bool = True  # whether it is in the short version too
    stall: float | None = None  # seconds at most, of partitions that all can read; generous, for it is no benchmark


FAULTS = [
    Fault(do=killed, repeated=CRASH),
    Fault(do=stopped, repeated=CRASH),
    Fault(do=terminated),
    Fault(do=replaced, short=False),  # for the time it takes
    Fault(do=added),
    Fault(do=joins_and_leaves),
    Fault(do=broker_restarted, repeated=CRASH, own_broker=True),
    Fault(do=topic_gone, repeated=CRASH),
    Fault(do=topic_gone_for_long, repeated=CRASH, parks=True, missing_wait=PACE.missing_wait),
    Fault(do=unreadable, stall=20),
    Fault(do=edited),
]


@pytest.fixture
def seed() -> int:
    """Of the random moments."""
    return int(os.environ.get("FAULT_SEED") or random.randrange(1_000_000))


@pytest.fixture
def own_broker(tmp_path: Path) -> EmbeddedBroker:
    """A broker of the test's own, not started."""
    return EmbeddedBroker(load_settings(env_file=None, data_dir=tmp_path / "own", kafka_port=free_port()))


@asynccontextmanager
async def told(at: Scene, name: str) -> AsyncIterator[None]:
    """Prints at the end what was found, and keeps what explains a failure."""
    try:
        yield
    except BaseException:
        report = at.audit()
        print(f"\n{report.line(name)}; seed {at.seed}; see {at.keep(report)}")
        for what in ("lost", "repeated", "overtaken", "backward", "strange"):
            print(f"{what}: {', '.join(list(getattr(report, what))[:20])}")
        raise
    else:
        print(f"\n{at.audit().line(name)}; seed {at.seed}")
    finally:
        print("\n".join(at.notes))


async def nothing_is_lost(at: Scene, repeated: int) -> Report:
    """Ends the load, and checks what holds after every fault; answers what was found."""
    report = await at.report()
    assert report.lost == []
    assert at.needless(report) == []
    assert not report.repeated or repeated
    assert not LONG or len(report.repeated) <= repeated
    assert report.overtaken == []
    assert report.backward == []
    assert report.strange == []
    assert at.fallen() == []
    return report


async def disturb(at: Scene, fault: Fault) -> None:
    """Two routers at work; the fault; and some load after it."""
    for _ in range(2):
        at.start()
    for router in at.routers:
        await router.ready()
    at.feeder.start()
    await at.flowing()
    await asyncio.sleep(PACE.before)
    await at.pause(0.5)  # so that it hits another moment of the commit interval each time
    await at.begin()
    await fault.do(at)
    await at.flowing()  # whoever was killed is missed after 10 s only
    await asyncio.sleep(PACE.after)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault.short or LONG], ids=lambda one: one.do.__name__)
async def test_nothing_is_lost(
    fault: Fault, settings: Settings, own_broker: EmbeddedBroker, tmp_path: Path, seed: int
) -> None:
    broker = None
    if fault.own_broker:
        broker = own_broker
        settings = settings.model_copy(update={"kafka": broker.start(die_with_parent=True)})
    name = fault.do.__name__
    made = scene(settings, tmp_path, seed=seed, broker=broker, missing_wait_s=fault.missing_wait)
    try:
        async with made as at, told(at, name):
            await disturb(at, fault)
            report = await nothing_is_lost(at, fault.repeated)
            assert (report.parked > 0) == fault.parks
            if fault.stall is not None:
                poisoned = {int(record.partition("/")[0]) for record in at.unreadable}
                others = [stall for partition, stall in report.stalls.items() if partition not in poisoned]
                assert max(others) < fault.stall
    finally:
        own_broker.stop()


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("repetition", range(PACE.repetitions))
async def test_a_fresh_group_loses_nothing(settings: Settings, tmp_path: Path, seed: int, repetition: int) -> None:
    async with scene(settings, tmp_path, seed=seed) as at, told(at, f"fresh group {repetition}"):
        at.feeder.start()
        await wait_until(lambda: at.feeder.sent)
        at.start()
        await at.pause(PACE.late)
        at.start()
        for router in at.routers:
            await router.ready()
        await asyncio.sleep(PACE.after)
        await nothing_is_lost(at, repeated=0)
