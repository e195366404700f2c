"""Retention."""

import asyncio
from datetime import datetime, timedelta

import pytest
from sqlalchemy import func, select, text

from control_api import retention
from control_api.models import AttemptRow, CounterRow, DryRunRow, IdempotencyRow, MessageRow
from control_api.retention import keep_pruning, prune
from notifier.database import Database
from notifier.errors import DatabaseError, SettingsError
from notifier.record import now
from notifier.settings import Settings, load_settings
from tests.rigs.history_rig import count_rows

pytest_plugins = ["tests.rigs.databases"]


def _attempt(offset: int, at: datetime) -> AttemptRow:
    texts = {"delivery": "d", "producer": "p", "message": "m", "outcome": "accepted", "reason": "ok"}
    return AttemptRow(generation=0, partition=0, offset=offset, number=1, **texts, started_at=at, ended_at=at)


def _message(offset: int, at: datetime) -> MessageRow:
    return MessageRow(generation=0, partition=0, offset=offset, digest=offset, at=at, words="build failed")


async def test_what_is_old_is_forgotten(store: Database, store_settings: Settings) -> None:
    old, new = now() - timedelta(days=8), now()
    async with store.write() as session:
        for at in (old, new):
            for number in range(3):
                session.add(_attempt(int(at.timestamp()) + number, at))
            session.add(IdempotencyRow(actor="a", key=str(at), request_hash="h", at=at))
            asked = {"configuration": "c", "since": at, "until": at, "actor": "a", "state": "done"}
            session.add(DryRunRow(id=str(at), **asked, report={}, samples={}, created_at=at, alive_at=at))
    assert await prune(store, store_settings.model_copy(update={"history_days": {**_DAYS, "attempts": 9}})) == 2
    assert await prune(store, store_settings) == 3
    assert await count_rows(store) == 3
    assert await prune(store, store_settings) == 0


_DAYS = load_settings(env_file=None).history_days


async def test_only_so_many_are_kept_the_newest(
    store: Database, store_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "_ROWS", 2)
    at = now()
    async with store.write() as session:
        for number in range(9):
            session.add(_attempt(number, at))
            session.add(_message(number, at))
            session.add(
                CounterRow(
                    minute=number + int(at.timestamp()) // 60, configuration="", outcome="o", reason="r", count=1
                )
            )
    rows = {**store_settings.history_rows, "attempts": 4, "messages": 3, "counters": 2}
    settings = store_settings.model_copy(update={"history_rows": rows})
    assert await prune(store, settings) == 5 + 6 + 7
    async with store.read() as session:
        assert list(await session.scalars(select(AttemptRow.offset).order_by(AttemptRow.id))) == [5, 6, 7, 8]
        assert list(await session.scalars(select(MessageRow.offset).order_by(MessageRow.id))) == [6, 7, 8]
        assert await session.scalar(select(func.count()).select_from(CounterRow)) == 2
        if store.is_sqlite:  # the index of words has no more than the table
            assert (
                await session.scalar(text("SELECT count(*) FROM message_search WHERE message_search MATCH 'failed'"))
                == 3
            )
    assert await prune(store, settings) == 0


def test_the_settings_say_how_much_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    def days(value: str) -> dict[str, int]:
        monkeypatch.setenv("NOTIFIER_HISTORY_DAYS", value)
        return dict(load_settings(env_file=None).history_days)

    assert days("") == {"messages": 7, "attempts": 7, "dead_letters": 30, "runs": 30, "answers": 30, "counters": 30}
    assert set(days("14").values()) == {14}
    assert days("9, attempts = 2, runs=3") == {
        "messages": 9,
        "attempts": 2,
        "dead_letters": 9,
        "runs": 3,
        "answers": 9,
        "counters": 9,
    }
    for wrong in ("x", "-1", "0", "attempts", "attempts=", "a=1", "attempts=1=2", ",", "99999999", "1.5"):
        with pytest.raises(SettingsError, match=r"^NOTIFIER_HISTORY_DAYS must be one number for all, or [^;]*$"):
            days(wrong)


async def test_whatever_fails_it_is_tried_again(
    store: Database, store_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcomes: list[Exception | None] = [RuntimeError("deadlock detected"), DatabaseError("away"), None]
    done = asyncio.Event()

    async def failing(*_: object) -> int:
        outcome = outcomes.pop(0)
        if outcome is not None:
            raise outcome
        done.set()
        await asyncio.Event().wait()
        return 0

    monkeypatch.setattr(retention, "prune", failing)
    pruning = asyncio.create_task(keep_pruning(store, store_settings, every_s=0.0))
    async with asyncio.timeout(10.0):
        await done.wait()
    pruning.cancel()
