"""What the history costs: storing messages and attempts, and searching them while more come.

`python -m bench history [--rows 1000000] [--asked 20] [--database URL]`. Records are made here and stored as the followers do
it, so neither a broker nor a topic is measured; all but the first and the last are copies of the first, made by the database.
Everything runs on this computer.
"""

import argparse
import asyncio
import itertools
import json
import random
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
from aiokafka import ConsumerRecord, TopicPartition
from sqlalchemy import text

from control_api.history import message_index, storing
from control_api.history.counters import CounterQuery, counters
from control_api.history.messages import messages
from control_api.history.queries import AttemptQuery, MessageQuery
from control_api.history.records import attempts
from control_api.history.sight import Sight
from control_api.migrate import upgraded
from control_api.models import Base
from control_api.retention import prune
from notifier.attempt import Attempt
from notifier.database import Database
from notifier.outcome import Outcome, Reason
from notifier.record import now
from notifier.seal import generate_key
from notifier.settings import Settings, load_settings

_FIRST = 25_000  # records that are stored one by one, and then copied
_LAST = 5_000  # records that are stored where all others are
_BATCH = 1_000  # records in one transaction, as the followers have it
_PARTITIONS = 12
_DAYS = 6  # over which the records are spread
_EVERY_S = 0.1
_PER_SECOND = 200  # attempts that come while searches run
_WORDS = 20_000
_ALL = Sight()

_Ask = Callable[[], Awaitable[Any]]


async def main(arguments: Sequence[str] = ()) -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(prog="python -m bench history", description="What the history costs.")
    parser.add_argument("--rows", type=int, default=1_000_000, help="messages, and attempts (default: 1,000,000)")
    parser.add_argument("--asked", type=int, default=20, help="how often each search is asked (default: 20)")
    parser.add_argument("--database", metavar="URL", help="an empty database (default: SQLite)")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        settings = load_settings(
            env_file=None, data_dir=Path(folder), kafka="127.0.0.1:1", database_url=options.database,
            secret_key=generate_key(),
        )  # fmt: skip
        async with upgraded(settings) as database:
            made = _Made(options.rows)
            await _store(database, made, range(min(options.rows, _FIRST)))
            await _copy(database, made)
            await _store(database, made, range(options.rows, options.rows + _LAST))
            await _ask(database, made, options.asked)
            await _prune(database, settings, options.rows)


class _Made:
    """Records as they might be: words as people use them, users and configurations of which few have the most."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.random = random.Random(7)
        letters = "abcdefghijklmnoprstuvwабвгдежзиклмнопрсту"
        self.words = ["".join(self.random.choices(letters, k=self.random.randint(3, 10))) for _ in range(_WORDS)]
        self._weights = list(itertools.accumulate(1 / (place + 1) for place in range(_WORDS)))
        self._start = now() - timedelta(days=_DAYS)
        self._step = timedelta(days=_DAYS) / count

    def at(self, number: int) -> datetime:
        """When it came."""
        return self._start + self._step * number

    def message(self, number: int) -> bytes:
        """A message of twelve words; one in 1,000 has a word of its own."""
        words = self.random.choices(self.words, cum_weights=self._weights, k=12)
        if number % 1_000 == 0:
            words.append(f"rare{number}")
        value = {
            "producer": f"p{number % 20}",
            "id": f"m{number}",
            "title": " ".join(words[:4]),
            "content": " ".join(words),
        }
        return json.dumps(value, ensure_ascii=False).encode()

    def attempt(self, number: int) -> bytes:
        """The attempt at that message; one in 100 was refused, one in 100,000 for another reason."""
        seldom = number % 100_000 == 50_000
        outcome: Outcome = "refused" if seldom or number % 100 == 0 else "accepted"
        reason: Reason = "unauthorized" if seldom else "forbidden" if outcome == "refused" else "ok"
        at, producer, user = self.at(number), f"p{number % 20}", f"user{int(5_000 * self.random.random() ** 3)}"
        configuration = f"c{int(100 * self.random.random() ** 3)}"
        return Attempt(
            delivery=f"{producer}/m{number}/{configuration}/chat/{user}", producer=producer, message=f"m{number}",
            configuration=configuration, consumer=f"chat{number % 10}", recipient=user,
            outcome=outcome, reason=reason, started_at=at, ended_at=at,
        ).encode()  # fmt: skip

    def batches(self, topic: str, make: Callable[[int], bytes], numbers: range) -> Iterator[list[ConsumerRecord]]:
        """Records of that topic, a batch each."""
        for start in range(numbers.start, numbers.stop, _BATCH):
            yield [
                ConsumerRecord(
                    topic, number % _PARTITIONS, number // _PARTITIONS, int(self.at(number).timestamp() * 1000), 0,
                    None, make(number), None, -1, 0, (),
                )
                for number in range(start, min(start + _BATCH, numbers.stop))
            ]  # fmt: skip


def _generations(topic: str) -> dict[TopicPartition, int]:
    return {TopicPartition(topic, number): 0 for number in range(_PARTITIONS)}


async def _copy(database: Database, made: _Made) -> None:
    """Copies the first records until there are enough; each copy is later, and of other messages."""
    started = time.perf_counter()
    if database.is_sqlite:
        later = "strftime('%Y-%m-%d %H:%M:%f', {0}, '+' || :seconds || ' seconds') || '000'"
    else:
        later = "{0} + make_interval(secs => :seconds)"
    places = f'"offset" + :copy * {_FIRST}'
    for copy in range(1, made.count // _FIRST):
        values = {"copy": copy, "seconds": (made.at(copy * _FIRST) - made.at(0)).total_seconds()}
        for table, times in (("message", ("at",)), ("attempt", ("started_at", "ended_at"))):
            columns = [column.name for column in Base.metadata.tables[table].columns if column.name != "id"]
            new = {name: f'"{name}"' for name in columns}
            new |= {name: later.format(f'"{name}"') for name in times}
            new |= {"offset": places, "digest": "digest / 2 + :copy", "message": "message || '-' || :copy"}
            names, expressions = ", ".join(f'"{name}"' for name in columns), ", ".join(new.values())
            query = f"INSERT INTO {table} ({names}) SELECT {expressions} FROM {table} WHERE id <= {_FIRST}"
            async with database.write() as session:
                await session.execute(text(query), values)
    async with database.write() as session:
        counts = (
            "SELECT minute + :minutes * :copy, configuration, outcome, reason, count FROM counter WHERE id <= :last"
        )
        last = await session.scalar(text("SELECT max(id) FROM counter"))
        minutes = int(_DAYS * 1440 * _FIRST / made.count) + 1
        for copy in range(1, made.count // _FIRST):
            query = f"INSERT INTO counter (minute, configuration, outcome, reason, count) {counts}"
            await session.execute(text(query), {"minutes": minutes, "copy": copy, "last": last})
    print(f"copied in {time.perf_counter() - started:.0f} s", flush=True)


async def _store(database: Database, made: _Made, numbers: range) -> None:
    async def store_messages(records: list[ConsumerRecord]) -> None:
        await message_index.store(database, records, _generations("messages"))

    async def store_attempts(records: list[ConsumerRecord]) -> None:
        await storing.store(database, records, _generations("attempts"), "")

    for topic, make, store in (
        ("messages", made.message, store_messages), ("attempts", made.attempt, store_attempts),
    ):  # fmt: skip
        took = cpu = 0.0
        for records in made.batches(topic, make, numbers):
            started, used = time.perf_counter(), time.process_time()
            await store(records)
            took, cpu = took + time.perf_counter() - started, cpu + time.process_time() - used
        print(
            f"{len(numbers):,} {topic} behind {numbers.start:,}: {len(numbers) / took:,.0f} stored a second, "
            f"{cpu / len(numbers) * 1e6:.0f} µs of this process each; {_resident_mb():.0f} MB resident",
            flush=True,
        )
    if database.is_sqlite:
        print(f"the database has {Path(database.url.database or '').stat().st_size / 1e6:,.0f} MB", flush=True)


def _searches(database: Database, made: _Made) -> dict[str, _Ask]:
    far = now() - timedelta(days=_DAYS - 1)
    common, other = made.words[0], made.words[1]
    rare = f"rare{_BATCH * 3}"

    def search(read: Any, model: Any, **conditions: Any) -> _Ask:
        async def ask() -> None:
            async with database.read() as session:
                await read(session, model(**conditions), _ALL)

        return ask

    def count(**conditions: Any) -> _Ask:
        async def ask() -> None:
            async with database.read() as session:
                await counters(session, CounterQuery(**conditions))

        return ask

    asked: dict[str, _Ask] = {}
    for name, read, model in (("messages", messages, MessageQuery), ("attempts", attempts, AttemptQuery)):
        for conditions in (
            {"q": rare}, {"q": common}, {"q": f"{common} {other}"}, {"q": f"{common} {rare}"}, {"q": common[:3]},
            {"q": "nowhere"}, {"q": common, "recipient": "user4000"}, {"q": common, "until": far},
            {"producer": "p7"}, {"recipient": "user0"}, {"recipient": "user4000"}, {"reason": "unauthorized"},
            {"outcome": "refused", "configuration": "c99"}, {"consumer": "chat3", "producer": "p4"},
            {"configuration": "c1", "reason": "unauthorized"}, {"until": far}, {"since": far},
            {"until": far, "recipient": "user0"},
        ):  # fmt: skip
            words = " ".join(f"{key}={'far back' if value is far else value}" for key, value in conditions.items())
            asked[f"{name} {words}"] = search(read, model, **conditions)
    asked["counters of a day by the minute"] = count(limit=1_000)
    asked["counters of a configuration by the hour"] = count(configuration="c1", step="hour", since=far)
    asked["counters of all by the day"] = count(step="day", since=far, by="outcome")
    return asked


async def _ask(database: Database, made: _Made, times: int) -> None:
    writing = asyncio.create_task(_keep_writing(database, made))
    for name, ask in _searches(database, made).items():
        found = []
        for _ in range(times):
            started = time.perf_counter()
            await ask()
            found.append((time.perf_counter() - started) * 1000)
        p50, p99 = statistics.median(found), sorted(found)[int(times * 0.99)]
        print(f"{name}: {p50:.1f} ms at the median, {p99:.1f} ms at the 99th percentile", flush=True)
    writing.cancel()
    written, took, behind = (await asyncio.gather(writing))[0]
    print(
        f"meanwhile {written / took:,.0f} attempts a second were stored ({_PER_SECOND} came), at most {behind:.2f} s late; "
        f"{_resident_mb():.0f} MB resident"
    )


async def _keep_writing(database: Database, made: _Made) -> tuple[int, float, float]:
    """Stores attempts as they come, until cancelled; how many, in which time, and how late the latest was."""
    begun, written, behind = time.perf_counter(), 0, 0.0
    try:
        while True:
            await asyncio.sleep(_EVERY_S)
            elapsed = time.perf_counter() - begun
            number, count = made.count + _LAST + written, min(_BATCH, int(elapsed * _PER_SECOND) - written)
            for records in made.batches("attempts", made.attempt, range(number, number + count)):
                await asyncio.shield(storing.store(database, records, _generations("attempts"), ""))
            written += count
            behind = max(behind, time.perf_counter() - begun - written / _PER_SECOND)
    except asyncio.CancelledError:
        return written, time.perf_counter() - begun, behind


async def _prune(database: Database, settings: Settings, rows: int) -> None:
    """How long another writer waits while a part of all is deleted."""
    kept = {**settings.history_rows, "messages": rows * 98 // 100, "attempts": rows * 98 // 100}
    started, used = time.perf_counter(), time.process_time()
    pruning = asyncio.create_task(prune(database, settings.model_copy(update={"history_rows": kept})))
    waits = []
    while not pruning.done():
        begun = time.perf_counter()
        async with database.write():
            waits.append(time.perf_counter() - begun)
        await asyncio.sleep(0.05)
    count, took = await pruning, time.perf_counter() - started
    cpu = (time.process_time() - used) / max(1, count)
    print(
        f"{count:,} rows were deleted at {count / took:,.0f} a second, {cpu * 1e6:.0f} µs of this process each; "
        f"another writer waited {statistics.median(waits) * 1000:.0f} ms at the median, {max(waits) * 1000:.0f} ms at most"
    )


def _resident_mb() -> float:
    return float(psutil.Process().memory_info().rss) / 1e6
