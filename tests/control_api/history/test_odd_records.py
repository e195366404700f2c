"""What any Kafka client may have written to the history's topics: it costs itself, and what comes after it is stored."""

import logging
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from sqlalchemy import func, select

from control_api.models import AttemptRow, DeadLetterRow, HistoryOffsetRow, RunRow
from control_api.models.history import ATTEMPT
from notifier.database import Database
from notifier.record import JsonObject, now
from notifier.run import Run
from notifier.settings import Settings
from tests.rigs.api_rig import client, is_ready, running
from tests.rigs.history_rig import attempt, count_rows, dead_letter, following
from tests.rigs.kafka_tools import produce, wait_until
from tests.rigs.odd_times import OUT_OF_RANGE

pytest_plugins = ["tests.rigs.databases"]

NUMBERS = (-5, 2**31, 2**62, 2**63, 2**64, 2**70)
FITS_64 = (2**31, 2**62)


def _with(good: bytes, **changes: Any) -> bytes:
    """The record with other values; numbers of any size."""
    marks = {f"?{name}?": str(value) for name, value in changes.items() if type(value) is int}
    fields = {name: f"?{name}?" if type(value) is int else value for name, value in changes.items()}
    data = orjson.dumps({**orjson.loads(good), **fields})
    for mark, number in marks.items():
        data = data.replace(b'"' + mark.encode() + b'"', number.encode())
    return data


def _odd_attempts() -> Iterator[bytes]:
    good = attempt("odd").encode()
    for name in ("started_at", "ended_at", "not_before"):
        yield from (_with(good, **{name: time}) for time in OUT_OF_RANGE)
    yield from (_with(good, number=number) for number in NUMBERS)
    yield from (_with(good, configuration_version=number) for number in NUMBERS if number not in FITS_64)
    for number in ("-1", str(2**31), str(2**70)):
        yield _with(good)[:-1] + b',"origin":{"topic":"t","partition":' + number.encode() + b',"offset":1}}'
    yield _with(good, delivery="x" * 600_000)
    yield _with(good, configuration="x" * 600_000)
    yield _with(good, v=2**70)
    yield from (b"", b"\xff", b"[]", b'{"counters":[{"count":-1}]}', b"9" * 5000)


def _odd_letters() -> Iterator[bytes]:
    good = dead_letter("odd").encode()
    for name in ("at", "timestamp", "redriven_at"):
        yield from (_with(good, **{name: time}) for time in OUT_OF_RANGE)
    for name in ("partition", "attempts"):
        yield from (_with(good, **{name: number}) for number in NUMBERS)
    yield from (_with(good, offset=number) for number in NUMBERS if number not in FITS_64)


def _odd_runs() -> Iterator[bytes]:
    good = Run(configuration="c", scheduled_at=now()).encode()
    for name in ("scheduled_at", "started_at", "ended_at", "lease_until"):
        yield from (_with(good, **{name: time}) for time in OUT_OF_RANGE)
    yield from (_with(good, takeovers=number) for number in NUMBERS)
    yield from (_with(good, producers=[{"producer": "p", "messages": number}]) for number in (-5, 2**31))
    yield _with(good, configuration="x" * 600_000)


# Stored all the same, as far as a text can say it.
KEPT_LETTERS: tuple[JsonObject, ...] = (
    {"id": "nul\0", "delivery": "a\0/b/c/d/e", "error": "\0", "key": "\0"},
    {"id": "percent", "delivery": "%zz%/%ff%00/%e/%/*"},
    {"id": "giant", "delivery": "/".join("x" * 150_000 for _ in range(5))},
)


async def test_what_cannot_be_stored_is_passed_over_and_its_neighbours_are_stored(
    database_settings: Settings, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    settings = database_settings
    good = [attempt(f"m{number}").encode() for number in range(60)]
    odd = list(_odd_attempts())
    mixed = [value for pair in zip(odd, good, strict=False) for value in pair] + good[len(odd) :] + odd[len(good) :]
    letters = [dead_letter(one["id"]).encode() for one in KEPT_LETTERS]
    letters = [_with(letter, **one) for letter, one in zip(letters, KEPT_LETTERS, strict=True)]
    odd_letters, odd_runs = list(_odd_letters()), list(_odd_runs())
    await produce(settings, "attempts", mixed, partition=0)
    await produce(settings, "dead_letters", odd_letters + letters, partition=0)
    await produce(settings, "runs", [*odd_runs, Run(configuration="c", scheduled_at=now()).encode()], key="c/x")
    with caplog.at_level(logging.ERROR):
        async with following(settings, database) as history:
            await wait_until(lambda: history.lag == 0 and history.skipped, otherwise=lambda: caplog.text[-2000:])
            for table, count in ((AttemptRow, 60), (DeadLetterRow, 3), (RunRow, 1)):
                await wait_until(lambda table=table, count=count: _has(database, table, count), otherwise=str(table))  # type: ignore[misc]
            wrong = len(odd) + len(odd_letters) + len(odd_runs)
            await wait_until(lambda: history.skipped == wrong, otherwise=lambda: f"{history.skipped} of {wrong}")
            skips = [record for record in caplog.records if getattr(record, "action", "") == "skip_record"]
    assert len(skips) == wrong
    assert len({(getattr(r, "topic", ""), getattr(r, "partition", 0), getattr(r, "offset", 0)) for r in skips}) == wrong
    assert not [record for record in caplog.records if getattr(record, "action", "") == "follow"]
    caplog.clear()
    async with following(settings, database) as history:  # a restart reads none of it again
        await produce(settings, "attempts", [attempt("after").encode()], partition=0)
        await wait_until(lambda: _has(database, AttemptRow, 61))
        assert history.skipped == 0


async def _has(database: Database, table: Any, count: int) -> bool:
    return await count_rows(database, table) == count


async def test_a_row_that_the_database_refuses_is_passed_over_alone(
    database_settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever the record's own rules let through: a number beyond the column, and what only one kind of database refuses."""
    real = ATTEMPT.row

    def row(record: Any) -> Any:
        found = real(record)
        match record.message:
            case "number":
                found["configuration_version"] = 2**70
            case "time":
                found["ended_at"] = found["ended_at"].replace(tzinfo=None)
            case "fault":
                raise KeyError("a fault of ours")
        return found

    monkeypatch.setattr(ATTEMPT, "row", row)
    names = ["first", "number", "second", "time", "fault", *(f"m{number}" for number in range(40)), "number", "last"]
    await produce(database_settings, "attempts", [attempt(name).encode() for name in names], partition=0)
    async with following(database_settings, database) as history:
        await wait_until(lambda: _has(database, AttemptRow, 43), otherwise=lambda: caplog.text[-2000:])
        await wait_until(lambda: history.skipped == 4)
    async with database.read() as session:
        stored = list(await session.scalars(select(AttemptRow.__table__.c.message).order_by(AttemptRow.id)))
        place = select(func.max(HistoryOffsetRow.offset)).where(HistoryOffsetRow.topic.endswith("attempts"))
        assert await session.scalar(place) == len(names)
    assert stored == [name for name in names if name not in ("number", "time", "fault")]
    skips = [record for record in caplog.records if getattr(record, "action", "") == "skip_record"]
    assert sorted(getattr(record, "offset", -1) for record in skips) == [1, 3, 4, 45]
    assert all(len(record.getMessage()) < 1000 for record in skips)


async def test_a_name_too_long_for_an_index_costs_only_its_record(
    database_settings: Settings, database: Database
) -> None:
    """PostgreSQL refuses such a row, SQLite keeps it."""
    long = "".join(chr(0x4E00 + (number * 7919) % 20_000) for number in range(5000))  # does not compress well
    letter = dead_letter("long", delivery=f"ci/1/{long}/chat/alice")
    values = [dead_letter("before").encode(), letter.encode(), dead_letter("after").encode()]
    await produce(database_settings, "dead_letters", values, partition=0)
    async with following(database_settings, database) as history:
        await wait_until(lambda: history.lag == 0)
        kept = 3 if database.is_sqlite else 2
        await wait_until(lambda: _has(database, DeadLetterRow, kept))
        assert history.skipped == 3 - kept


async def test_health_says_how_many_were_passed_over(settings: Settings) -> None:
    async with running(settings) as url, client(url) as asking:
        await wait_until(lambda: is_ready(asking))
        await produce(settings, "attempts", [b"junk", attempt("good").encode(), b"junk"], partition=0)

        async def told() -> bool:
            history = (await asking.get("/health/ready")).json()["parts"]["history"]
            return bool(history["ready"] and history.get("skipped") == 2)

        await wait_until(told)
