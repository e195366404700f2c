"""Counters: each attempt counts once, in its minute, and is answered by minute, hour and day."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiokafka import TopicPartition

from control_api.history import storing
from control_api.history.counters import MAX_STEPS, CounterQuery, counters
from notifier.attempt import Counter, Counters
from notifier.database import Database
from notifier.errors import InputError
from notifier.record import JsonObject, now
from tests.rigs.history_rig import attempt, count_rows, record_at, store_attempts

pytest_plugins = ["tests.rigs.databases"]
START = datetime(2026, 11, 1, 10, 59, 30, tzinfo=UTC)


def _dropped(at: datetime, *counts: tuple[str, int]) -> Counters:
    some = tuple(Counter(configuration=name, reason="filtered", count=count) for name, count in counts)
    return Counters(worker="w", at=at, counters=some)


async def _ask(database: Database, **conditions: Any) -> JsonObject:
    async with database.read() as session:
        return await counters(session, CounterQuery(**conditions))


async def _points(database: Database, **conditions: Any) -> list[tuple[Any, ...]]:
    found: list[tuple[Any, ...]] = []
    conditions = {"since": START - timedelta(days=1), "until": START + timedelta(days=1), **conditions}
    while True:
        answer = await _ask(database, **conditions)
        found += [(one["at"][8:16], one["configuration"], one["reason"], one["count"]) for one in answer["items"]]
        if answer["next_cursor"] is None:
            return found
        conditions["cursor"] = answer["next_cursor"]


@pytest.mark.parametrize("limit", [500, 1])
async def test_attempts_and_what_was_dropped_are_counted_by_step(store: Database, limit: int) -> None:
    second = timedelta(seconds=1)
    made = [
        attempt("m1", ended_at=START),
        attempt("m2", ended_at=START + 29 * second),
        attempt("m3", ended_at=START + 30 * second),
        attempt("m4", ended_at=START, outcome="refused", reason="forbidden", configuration="other"),
        attempt("m5", ended_at=START, outcome="suppressed", reason="unknown_receiver", configuration=None),
        _dropped(START, ("to-chat", 5), ("other", 0), ("x\0y", 2)),
        _dropped(START + 31 * second, ("to-chat", 3)),
    ]
    await store_attempts(store, made)
    assert await _points(store, limit=limit) == [
        ("01T11:00", "to-chat", "filtered", 3),
        ("01T11:00", "to-chat", "ok", 1),
        ("01T10:59", "x\N{SYMBOL FOR NULL}y", "filtered", 2),
        ("01T10:59", "to-chat", "filtered", 5),
        ("01T10:59", "to-chat", "ok", 2),
        ("01T10:59", "other", "forbidden", 1),
        ("01T10:59", None, "unknown_receiver", 1),
    ]
    assert await _points(store, limit=limit, step="hour", configuration="to-chat") == [
        ("01T11:00", "to-chat", "filtered", 3),
        ("01T11:00", "to-chat", "ok", 1),
        ("01T10:00", "to-chat", "filtered", 5),
        ("01T10:00", "to-chat", "ok", 2),
    ]
    assert await _points(store, limit=limit, step="day", by="reason", reason="filtered") == [
        ("01T00:00", None, "filtered", 10)
    ]
    assert await _points(store, limit=limit, step="day", by="") == [("01T00:00", None, None, 15)]
    assert await _points(store, limit=limit, until=START, by="", outcome="accepted") == [("01T10:59", None, None, 2)]
    assert await _points(store, limit=limit, since=START + 30 * second, by="", outcome="accepted") == [
        ("01T11:00", None, None, 1)
    ]


async def test_who_does_not_know_that_another_goes_on_counts_nothing_twice(store: Database) -> None:
    made = [attempt("m1", ended_at=START), attempt("m2", ended_at=START), _dropped(START, ("to-chat", 5))]
    await store_attempts(store, made)
    await store_attempts(store, made[:2])  # and leads no offset back
    await store_attempts(store, [made[2]], start=2)
    await store_attempts(store, [made[2], attempt("m3", ended_at=START)], start=2)
    assert await count_rows(store) == 3
    assert await _points(store, by="") == [("01T10:59", None, None, 8)]
    # A new topic of that name begins at 0 again.
    again = [record_at("attempts", 0, made[0].encode())]
    assert await storing.store(store, again, {TopicPartition("attempts", 0): 1}, "") == []
    assert await _points(store, by="") == [("01T10:59", None, None, 9)]
    assert await storing.store(store, again, {TopicPartition("attempts", 0): 0}, "") == []
    assert await _points(store, by="") == [("01T10:59", None, None, 9)]


async def test_odd_counters_cost_themselves(store: Database) -> None:
    far = datetime(8999, 1, 1, tzinfo=UTC)
    made = [_dropped(START, ("a", 2**63 - 1)) for _ in range(3)]
    made += [_dropped(far, ("a", 1)), _dropped(datetime(1970, 1, 1, tzinfo=UTC), ("a", 1))]
    await store_attempts(store, [*made, attempt("m1", ended_at=far), attempt("m2", ended_at=START)])
    assert [one[3] for one in await _points(store)] == [1, 3 * 10**12]
    latest = await _ask(store)
    assert latest["until"] >= latest["since"]
    assert sum(one["count"] for one in latest["items"]) == 2  # what is in the future counts now


async def test_odd_questions_are_refused_by_name(store: Database) -> None:
    for pointer, conditions in (
        ("/by", {"by": "name"}),
        ("/by", {"by": "reason;drop"}),
        ("/since", {"since": now() - timedelta(minutes=MAX_STEPS + 2)}),
        ("/cursor", {"cursor": "x"}),
        ("/cursor", {"cursor": "WzEsMl0"}),
        ("/cursor", {"cursor": "Wzk5OTk5OTk5OTk5OTk5OTk5OTk5OTksIiIsIiIsIiJd"}),
    ):
        with pytest.raises(InputError, match=pointer):
            await _ask(store, **conditions)
    assert (await _ask(store, since=now(), until=START))["items"] == []
    assert (await _ask(store, until=datetime(1970, 1, 1, tzinfo=UTC)))["items"] == []
    assert (await _ask(store, until=datetime(9000, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)))["items"] == []
