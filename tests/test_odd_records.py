"""Records that a careless client writes, on every topic that a role reads, while the roles run: each costs itself.

The next good record of each topic is worked on, before and after a restart.

`ODD=long` goes on for `ODD_S` seconds (180); `ODD_SEED` repeats a run.
"""

import asyncio
import gc
import os
import random
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

import pytest

import filters
from control_api.history import records
from control_api.history.follower import History
from control_api.history.queries import AttemptQuery
from control_api.history.sight import Sight
from control_api.migrate import upgrade_database
from control_api.statuses import Statuses
from notifier.database import Database
from notifier.dead_letter import DeadLetter
from notifier.definition import Definition
from notifier.errors import RecordError
from notifier.registry import Registry
from notifier.settings import Settings
from producers.push import Push
from streams.app import run_roles
from tests.rigs import delivery_rig, runner_rig, ticker_rig
from tests.rigs.kafka_tools import produce, read_all, wait_until
from tests.rigs.raw_records import LATIN, ODD_KINDS, Write, batch, odd_batch, raw_writer, record
from tests.rigs.router_rig import publish
from tests.rigs.sink import Sink

LONG = os.environ.get("ODD") == "long"
SECONDS = float(os.environ.get("ODD_S", "180"))
AT_ONCE = 200 if LONG else 48  # odd batches in a round
REGISTRY = Registry((Push, runner_rig.Say, *filters.BUILT_IN, Sink))

ORIGIN = b'"origin":{"topic":"t","partition":0,"offset":1}'
AT = b'"2026-11-23T09:00:00Z"'
GOOD = {
    "messages": b'{"producer":"ci1","content":"odd","labels":{"a":"b"},"not_before":' + AT + b"}",
    "ticks": b'{"configuration":"odd","scheduled_at":' + AT + b"}",
    "runs": b'{"configuration":"odd","scheduled_at":' + AT + b',"trigger":"cron","state":"running","takeovers":1}',
    "definitions": Definition(kind="user", name="odd", revision=1, spec={}).encode(),
    "deliveries.sink": delivery_rig.make("odd").encode(),
    "parked": delivery_rig.make("odd", why="retry").encode(),
    "attempts": b'{"delivery":"odd","outcome":"accepted","reason":"ok","number":1,"producer":"ci","message":"odd","started_at":'
    + AT + b',"ended_at":' + AT + b"," + ORIGIN + b"}",
    "dead_letters": b'{"id":"odd","stage":"route","reason":"invalid","error":"x","topic":"t","at":' + AT + b',"offset":1}',
    "answers": b'{"id":"odd/1","delivery":"odd","producer":"ci","message":"odd","configuration":"odd","consumer":"sink",'
    + b'"button":"acknowledge","at":' + AT + b"}",
    "status": b'{"kind":"role","name":"odd@x","state":"ready","at":' + AT + b"}",
}  # fmt: skip


@pytest.fixture
def seed() -> int:
    """Seen in the report of a failure, and printed."""
    seed = int(os.environ.get("ODD_SEED") or random.randrange(1_000_000))
    print(f"ODD_SEED={seed}")
    return seed


@asynccontextmanager
async def roles(settings: Settings, database: Database) -> AsyncIterator[tuple[History, Statuses]]:
    """Router, runner, delivery, ticker and what the API follows, stopped in order at the end."""
    thresholds = gc.get_threshold()  # a router sets its own
    async with AsyncExitStack() as stack:
        stop = asyncio.Event()
        streams = asyncio.create_task(run_roles(settings, ["router", "runner"], stop, REGISTRY))

        async def end() -> None:
            stop.set()
            await streams
            gc.unfreeze()
            gc.set_threshold(*thresholds)

        stack.push_async_callback(end)
        await stack.enter_async_context(delivery_rig.working(settings, REGISTRY))
        await stack.enter_async_context(ticker_rig.running(settings))
        history, statuses = History(settings, database), Statuses(settings)
        for part in (history, statuses):
            await part.start()
            stack.push_async_callback(part.stop)
        yield history, statuses
        assert history.failed is None


class Rounds:
    """Rounds of odd records, and of good ones that must be worked on all the same."""

    def __init__(self, settings: Settings, database: Database, path: Path, seed: int, write: Write) -> None:
        self._settings = settings
        self._database = database
        self._path = path
        self._chance = random.Random(seed)
        self._write = write
        self.number = 0
        self.written: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()

    async def odd(self, count: int) -> None:
        """Writes that many odd batches, at least one of each kind."""
        for topic, good in GOOD.items():
            assert await self._write(topic, batch(record(good, b"user/odd", LATIN), 1)) == 0
        for number in range(count):
            kind = ODD_KINDS[number % len(ODD_KINDS)]
            topic = self._chance.choice(list(GOOD))
            error = await self._write(topic, odd_batch(self._chance, kind, GOOD[topic]))
            (self.refused if error else self.written)[kind] += 1

    async def good(self, statuses: Statuses, history: History) -> None:
        """Has a good record of each topic worked on."""
        self.number += 1
        n, settings = self.number, self._settings
        through = {"producers": [f"ci{n}", f"p{n}"], "consumers": ["sink"]}
        await publish(
            settings,
            {
                f"producer/ci{n}": {"type": "push"},
                f"producer/p{n}": {"type": "say", "parameters": {"items": [{"content": f"run{n}"}]}},
                f"configuration/c{n}": through,
                f"configuration/due{n}": {**through, "producers": [f"p{n}"], "schedule": {"cron": "* * * * * *"}},
            },
            n,
        )
        await produce(settings, "ticks", [runner_rig.tick(f"c{n}")], partition=0)
        delivery, parked = delivery_rig.make(f"good{n}"), delivery_rig.make(f"parked{n}", why="retry")
        await produce(settings, "deliveries.sink", [delivery.encode()], key="a")
        await produce(settings, "parked", [parked.encode()], key=parked.id)
        await wait_until(partial(self._told, n), 120, lambda: f"round {n}: {self._said()[-30:]}")
        await wait_until(partial(self._ticked, f"due{n}"), 120)
        await publish(settings, {f"configuration/due{n}": None}, n)
        await wait_until(partial(self._stored, n), 120, lambda: f"round {n}: {history.lag} {history.skipped}")
        roles = {"delivery", "router", "runner", "ticker"}
        await wait_until(lambda: {one.role for one in statuses.present()} >= roles and not statuses.stopped(), 120)

    async def _told(self, n: int) -> bool:
        said = self._said()
        if f"message{n}" not in said:  # its definitions may not have been there when the last one came
            message = {"producer": f"ci{n}", "content": f"message{n}"}
            await produce(self._settings, "messages", [message], partition=0)
            await asyncio.sleep(0.5)
        return {f"message{n}", f"run{n}", f"good{n}", f"parked{n}"} <= set(said)

    def _said(self) -> list[str]:
        return [line["content"] for line in delivery_rig.seen(self._path)]

    async def _ticked(self, configuration: str) -> bool:
        return any(one.key == configuration.encode() for one in await read_all(self._settings, "ticks"))

    async def _stored(self, n: int) -> bool:
        async with self._database.read() as session:
            tried, _ = await records.attempts(session, AttemptQuery(message=f"m-good{n}-0", limit=1), Sight())
            ran, _ = await records.runs(session, {"configuration": f"c{n}", "state": "done"}, 1, None)
            letters, _ = await records.dead_letters(session, {}, 1, None)
        return bool(tried and ran and letters)


@pytest.mark.timeout(SECONDS + 600 if LONG else 300)
async def test_odd_records_cost_themselves(settings: Settings, seed: int, capsys: pytest.CaptureFixture[str]) -> None:
    path = await delivery_rig.define_sink(settings, fixed=True)
    database = Database(settings)
    await upgrade_database(database)
    until = time.monotonic() + (SECONDS if LONG else 0)
    async with raw_writer(settings) as write:
        rounds = Rounds(settings, database, path, seed, write)
        begun = time.monotonic()
        skipped = passed_over = 0
        while True:
            async with roles(settings, database) as (history, statuses):
                if LONG or rounds.number == 0:  # the second round is the restart
                    await rounds.odd(AT_ONCE)
                await rounds.good(statuses, history)
                skipped += history.skipped
                passed_over = max([over.count for one in statuses.present() for over in one.passed_over] or [0])
            if time.monotonic() > until and rounds.number >= 2:
                break
    await database.close()
    assert set(rounds.written) | set(rounds.refused) == set(ODD_KINDS)
    with capsys.disabled():
        if LONG:
            await _report(settings, rounds, seed, time.monotonic() - begun, skipped, passed_over)


async def _report(
    settings: Settings, rounds: Rounds, seed: int, seconds: float, skipped: int, passed_over: int
) -> None:
    letters = Counter(
        (letter.topic.removeprefix(settings.topic_prefix), letter.reason) for letter in await _letters(settings)
    )
    print(f"\nseed {seed}: {rounds.number} rounds in {seconds:.0f} s")
    for kind in ODD_KINDS:
        print(f"  {kind}: {rounds.written[kind]} batches taken by Kafka, {rounds.refused[kind]} refused")
    print(f"  passed over by the history: {skipped}; as definitions, since the last restart: {passed_over}")
    for (topic, reason), count in sorted(letters.items()):
        print(f"  dead letters of {topic}, {reason}: {count}")


async def _letters(settings: Settings) -> list[DeadLetter]:
    """Those that are some: odd ones lie among them."""
    found = []
    for one in await read_all(settings, "dead_letters"):
        try:
            found.append(DeadLetter.decode(one.value or b""))
        except RecordError:
            continue
    return found
