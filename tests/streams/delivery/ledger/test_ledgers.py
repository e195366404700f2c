"""Ledgers on a real broker: what a worker knows of the past, with its file and without, whatever lies on `attempts`."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
from aiokafka import AIOKafkaProducer, TopicPartition

from notifier.attempt import Counter, Counters, Origin
from notifier.kafka import ensure_topics, kafka_admin, kafka_producer
from notifier.record import kafka_time, now
from notifier.settings import Settings
from notifier.topics import ATTEMPTS
from streams.delivery.ledger import SETTLED, SPARED, Ledger, Ledgers, Unread, filling
from streams.delivery.ledger.file import KEPT_S
from streams.delivery.ledger.filling import Filling
from streams.delivery.ledger.folder import ClaimedFile
from streams.delivery.ledger.line import digest
from tests.rigs.history_rig import attempt
from tests.rigs.kafka_tools import produce, wait_until

HOUR_S = 3600.0


@asynccontextmanager
async def known(
    settings: Settings, *, moved_s: float = 0.0, kept: int = 1_000_000, oldest_s: float | None = None
) -> AsyncIterator[Ledger]:
    """The ledger of the first partition of the sink's topic, as a worker knows it that begins with it now."""
    await ensure_topics(settings, [ATTEMPTS])
    ledgers = Ledgers(settings, lambda: time.time() + moved_s, kept)
    running = asyncio.create_task(ledgers.run())
    try:
        yield await loaded(settings, ledgers, oldest_s)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def loaded(settings: Settings, ledgers: Ledgers, oldest_s: float | None = None) -> Ledger:
    ledger = Ledger(ledgers.accepted)
    since_ms = int((time.time() if oldest_s is None else oldest_s) * 1000)
    await ledgers.load({TopicPartition(topic_of(settings), 0): (ledger, Unread(0, since_ms))})
    return ledger


def topic_of(settings: Settings) -> str:
    return settings.topic_prefix + "deliveries.sink"


def tried(settings: Settings, delivery: str, offset: int = 0, **changes: Any) -> bytes:
    origin = Origin(topic=topic_of(settings), partition=0, offset=offset)
    return attempt("0", delivery=delivery, origin=origin, **changes).encode()


async def write(
    producer: AIOKafkaProducer,
    settings: Settings,
    value: bytes,
    ago_s: float = 0.0,
    headers: Mapping[str, bytes] | None = None,
    partition: int = 0,
) -> None:
    await producer.send(
        settings.topic_prefix + ATTEMPTS.name,
        value,
        key=b"a",
        partition=partition,
        timestamp_ms=int((time.time() - ago_s) * 1000),
        headers=list((headers or {SPARED: b"0"}).items()),
    )


async def accept(settings: Settings, deliveries: Mapping[str, float]) -> None:
    """Writes that these were accepted, by how many seconds ago."""
    await ensure_topics(settings, [ATTEMPTS])
    async with kafka_producer(settings) as producer:
        for delivery, ago_s in deliveries.items():
            await write(producer, settings, tried(settings, delivery), ago_s)


async def delete_topic(settings: Settings) -> None:
    name = settings.topic_prefix + ATTEMPTS.name
    async with kafka_admin(settings) as admin:
        await admin.delete_topics([name])

        async def is_gone() -> bool:
            return name not in await admin.list_topics()

        await wait_until(is_gone)


async def test_what_any_worker_had_accepted_is_known_after_23_hours_with_a_file_and_without(settings: Settings) -> None:
    await accept(settings, {"a": 23 * HOUR_S, "b": 0.0})
    async with known(settings) as ledger:  # no file: it is read from the topic
        assert "a" in ledger
        assert "b" in ledger
        assert "c" not in ledger
        ledger.accept("own")
        assert "own" in ledger
        await accept(settings, {"c": 0.0})  # by another worker
        await wait_until(lambda: "c" in ledger)
    await delete_topic(settings)  # the file alone is asked
    async with known(settings, moved_s=23 * HOUR_S, kept=1) as ledger:
        assert all(delivery in ledger for delivery in ("a", "b", "c", "own"))


@pytest.mark.parametrize(("kept", "knows"), [(1, False), (1000, True)], ids=["a day", "so many others"])
async def test_a_file_is_filled_for_a_day_and_for_so_many_ids(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, kept: int, knows: bool
) -> None:
    monkeypatch.setattr(filling, "_STEP", 2)
    old = {f"old-{n}": 40 * HOUR_S for n in range(10)}
    await accept(settings, {**old, "day": 23 * HOUR_S, "liar": 3000 * HOUR_S, "new": 0.0, "newer": 0.0})
    async with known(settings, kept=kept) as ledger:
        assert all(delivery in ledger for delivery in ("day", "liar", "new", "newer"))
        assert ("old-0" in ledger) == knows


async def test_the_tries_at_a_record_that_waits_for_days_are_known_to_a_new_machine(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filling, "_STEP", 5)
    written_at, again_at = kafka_time(int((time.time() - 60 * HOUR_S) * 1000)), kafka_time(int(time.time() * 1000))
    assert written_at is not None
    await ensure_topics(settings, [ATTEMPTS])
    async with kafka_producer(settings) as producer:
        for number in (1, 2):
            value = tried(
                settings, "a", 3, outcome="deferred", reason="rate_limited", number=number, not_before=again_at
            )
            await write(producer, settings, value, 59 * HOUR_S, {SPARED: b"1"})
        await write(producer, settings, tried(settings, "b", 4, outcome="refused"), 58 * HOUR_S, {SETTLED: b"1"})
        for n in range(40):
            await write(producer, settings, tried(settings, f"c-{n}", 5 + n), HOUR_S)
    async with known(settings, kept=1, oldest_s=written_at.timestamp()) as ledger:
        past, settled = ledger.tries("a", 3, written_at), ledger.tries("b", 4, written_at)
        assert past is not None
        assert settled is not None
        assert (past.number, past.spared, past.told, past.not_before, past.settled) == (2, 2, True, again_at, False)
        assert settled.settled
        assert ledger.tries("another", 3, written_at) is None  # of a topic that was created anew


async def test_reading_that_breaks_off_goes_on_and_counts_nothing_twice(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filling, "_STEP", 4)
    written_at = now()
    await ensure_topics(settings, [ATTEMPTS])
    async with kafka_producer(settings) as producer:
        for n in range(20):
            value = tried(settings, "a", outcome="deferred", reason="rate_limited", number=n + 1)
            await write(producer, settings, value, headers={SPARED: b"1"})
    read, reads = Filling._read_between, 0

    async def breaks_off(*arguments: Any) -> Any:
        nonlocal reads
        reads += 1
        found = await read(*arguments)
        if reads in (2, 3):
            raise OSError("the broker is away")  # what was read is not in the file
        return found

    monkeypatch.setattr(Filling, "_read_between", breaks_off)
    for _ in range(2):
        async with known(settings, oldest_s=0.0) as ledger:
            past = ledger.tries("a", 0, written_at)
            assert past is not None
            assert (past.number, past.spared) == (20, 20)
    assert reads == 7


async def test_a_topic_that_is_created_anew_is_read_and_nothing_is_forgotten(settings: Settings) -> None:
    await accept(settings, {"a": 0.0, "b": 0.0})
    async with known(settings) as ledger:
        assert "b" in ledger
    await delete_topic(settings)
    await accept(settings, {f"n-{n}": 0.0 for n in range(5)})  # more than there were
    async with known(settings) as ledger:
        assert all(f"n-{n}" in ledger for n in range(5))
        assert "a" in ledger
        await delete_topic(settings)  # and while it is followed
        await accept(settings, {"later": 0.0})
        await wait_until(lambda: "later" in ledger)
        assert "a" in ledger


async def test_the_ledger_of_another_cluster_holds_nothing_back(settings: Settings) -> None:
    await accept(settings, {"a": 0.0})
    claimed = ClaimedFile(settings, time.time)
    claimed.file.begin_with("another cluster")
    claimed.file.write([digest("there")], [], {})
    claimed.close()
    async with known(settings) as ledger:
        assert "a" in ledger
        assert "there" not in ledger


async def test_nothing_that_a_client_writes_ends_the_following_or_makes_it_forget(settings: Settings) -> None:
    await accept(settings, {"a": 0.0})
    good: dict[str, Any] = msgspec.json.decode(tried(settings, "odd"))
    odd: list[Any] = [
        b"",
        b"[]",
        b"\xff" + topic_of(settings).encode(),
        Counters(
            worker="w", at=now(), counters=(Counter(configuration=topic_of(settings), reason="filtered", count=1),)
        ).encode(),
        {**good, "v": 99, "delivery": "newer"},
        {**good, "v": 99, "origin": "elsewhere", "x": topic_of(settings)},
        {**good, "ended_at": "9999-12-31T23:59:59-05:00"},
        {**good, "not_before": "0001-01-01T00:00:00Z"},
        {**good, "number": 2**70},
        {**good, "delivery": "\u0000"},
        {**good, "delivery": "x" * 16_384, "origin": {**good["origin"], "offset": 2**63 - 1, "partition": 2**31 - 1}},
        {**good, "delivery": "a", "outcome": "refused", "ended_at": "9000-01-01T00:00:00Z", "number": 2**31 - 1},
        b'{"delivery": "lone \\ud800", "outcome": "accepted", "origin": {"topic": "%b"}}' % topic_of(settings).encode(),
        b"[" * 100_000 + topic_of(settings).encode(),
    ]
    values = [value if isinstance(value, bytes) else msgspec.json.encode(value) for value in odd]
    await produce(settings, "attempts", [*values, None], key="k")
    async with kafka_producer(settings) as producer:
        for ago_s in (-3000.0, 1e9):  # to come, and in 1995
            await write(producer, settings, tried(settings, "a"), ago_s)
            await write(producer, settings, tried(settings, "b"), ago_s)
    await accept(settings, {"c": 0.0})
    for _ in range(2):
        async with known(settings) as ledger:
            assert all(delivery in ledger for delivery in ("a", "b", "c", "newer", "\u0000"))
            assert "odd" not in ledger
            await produce(settings, "attempts", values)
            await accept(settings, {"d": 0.0})
            await wait_until(lambda: "d" in ledger)


async def test_only_a_moved_clock_and_many_others_make_it_forget(settings: Settings) -> None:
    await accept(settings, {"a": 0.0})
    for moved_s, others in ((KEPT_S + 60, 3), (2 * KEPT_S + 120, 3)):
        async with known(settings, kept=3) as ledger:
            assert "a" in ledger
        await accept(settings, {f"{moved_s}-{n}": 0.0 for n in range(others)})
        async with known(settings, kept=3, moved_s=moved_s) as ledger:
            assert f"{moved_s}-0" in ledger
    async with known(settings, kept=3) as ledger:
        assert "a" not in ledger
