"""A consumer that is paused loses nothing: what waits, who is told, and how it goes on, on a real broker."""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from consumers.telegram.telegram import Telegram
from notifier.catalog import Catalog
from notifier.kafka import ensure_topics
from notifier.outcome import Reason
from notifier.plugin import Result
from notifier.record import now
from notifier.registry import Registry, close_secrets
from notifier.seal import load_seal
from notifier.settings import Settings
from notifier.status import CONSUMER, PAUSE, State, Status
from notifier.topics import deliveries
from streams.delivery import breaker, holds, pauses
from streams.delivery.board import Board
from streams.delivery.consumers import Consumers
from streams.delivery.notices import Notices
from streams.delivery.pauses import Pauses
from streams.writer import Headers, Writer
from tests.rigs.bot_api import GROUP, TOKEN, serving
from tests.rigs.delivery_rig import (
    attempts,
    dead_letters,
    define,
    define_sink,
    make,
    saw,
    seen,
    send,
    wait_for_attempts,
    with_,
    working,
)
from tests.rigs.kafka_tools import produce, read_all, wait_until
from tests.rigs.sink import REGISTRY

WAITING = int(os.environ.get("NOTIFIER_TEST_WAITING", "200"))  # deliveries


async def said(settings: Settings, name: str = "sink") -> list[Status | None]:
    """What was said of a consumer, in order; None for a tombstone."""
    records = [record for record in await read_all(settings, "status") if record.key == f"consumer/{name}".encode()]
    return [None if record.value is None else Status.decode(record.value) for record in records]


async def is_(settings: Settings, state: State, name: str = "sink", **fields: Any) -> Status | None:
    """The newest status, where it is as expected."""
    newest = ([None, *await said(settings, name)])[-1]
    if newest is None or newest.state != state:
        return None
    return newest if all(getattr(newest, field) == value for field, value in fields.items()) else None


async def want(settings: Settings, state: State, name: str = "sink", **fields: Any) -> None:
    """Says what a person wants of a consumer, as the control API does."""
    status = Status(kind=PAUSE, name=name, state=state, at=now(), by="account ada", **fields)
    await produce(settings, "status", [status.encode()], key=f"{PAUSE}/{name}")


@asynccontextmanager
async def operators(settings: Settings) -> AsyncIterator[tuple[Settings, Any]]:
    """Settings with an operators' consumer, and where it writes."""
    path = await define_sink(settings, "ops", fixed=True)
    yield with_(settings, operators_consumer="ops"), path


async def test_a_token_is_revoked_while_many_wait_and_they_all_arrive_in_order_once_it_is_mended(
    settings: Settings,
) -> None:
    settings = with_(settings, retry_schedule_s=(0.2,))
    async with operators(settings) as (settings, told):
        path = await define_sink(settings, fixed=True, otherwise="unauthorized")
        await send(settings, [make(str(n), number=n) for n in range(WAITING)])
        async with working(settings):
            await saw(told, 1)
            first = await wait_until(lambda: is_(settings, "paused", reason="unauthorized", told="paused"))
            assert first.detail == "the service answered 401"
            assert first.since is not None
            assert first.not_before is not None
        assert await is_(settings, "paused")  # the worker is gone, and the pause is not
        tried = len(seen(path))
        async with working(settings):
            await saw(path, tried + 1)
            again = await is_(settings, "paused")
            assert again is not None
            assert (again.since, again.told) == (first.since, "paused")
            await define_sink(settings, fixed=True)
            await wait_for_attempts(settings, WAITING + 1, outcome="accepted")
            await saw(told, 2)
    lines = [line for line in seen(path) if line["answer"] == "accept"]
    assert [int(line["content"]) for line in lines] == list(range(WAITING))
    assert await dead_letters(settings) == []
    found = await attempts(settings)
    assert {a.delivery for a in found if a.reason == "unauthorized"} == {make("0").id}
    notices = [a for a in found if a.consumer == "ops"]
    assert [(a.outcome, a.message.rpartition("/")[0]) for a in notices] == [
        ("accepted", "sink/paused"),
        ("accepted", "sink/resumed"),
    ]
    assert [line["content"].partition(",")[0] for line in seen(told)] == [
        "Its credential was refused",
        f"It was paused since {notices[0].message.rpartition('/')[2]}",
    ]


async def test_a_service_that_stops_listening_pauses_its_consumer_until_it_is_back(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(breaker, "SLOW_S", 1.0)
    monkeypatch.setattr(holds, "DOWN_SCHEDULE_S", (0.5, 1.0))
    async with serving() as api:
        settings = with_(settings, retry_schedule_s=(0.7, 0.7, 600.0), lane_wait_s=60.0, telegram_api=api.url)
    # It does not listen any more.
    await ensure_topics(settings, [deliveries("chat")])
    sealed = close_secrets(load_seal(settings), "consumer", "chat", {"bot_token": TOKEN}, frozenset({"bot_token"}))
    await define(settings, "chat", {"type": "telegram", "parameters": {"chat_id": GROUP, **sealed}})
    await send(settings, [make(str(n), consumer="chat", number=n, lane="chat") for n in range(20)])
    async with working(settings, Registry([Telegram])):
        status = await wait_until(lambda: is_(settings, "paused", "chat"))
        assert status.reason == "connection"
        await wait_for_attempts(settings, 5, outcome="deferred", reason="connection")  # two probes at least
        async with serving(port=api.port) as api:
            await wait_for_attempts(settings, 20, outcome="accepted")
            assert [text.rpartition(" ")[2] for text in api.texts] == [str(n) for n in range(20)]
        await wait_until(lambda: _is_tombstone(settings, "chat"))
    assert await dead_letters(settings) == []
    assert {a.delivery for a in await attempts(settings) if a.outcome == "deferred"} == {
        make("0", consumer="chat", lane="chat").id
    }


async def test_chats_that_all_fail_at_once_wait_until_one_of_them_is_answered(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holds, "DOWN_SCHEDULE_S", (3.0,))
    settings = with_(settings, retry_schedule_s=(30.0,))
    path = await define_sink(settings, plan={str(n): ["fail", "accept"] for n in range(10)})
    await send(settings, [make(str(n), number=n, lane=f"lane-{n}") for n in range(10)])
    async with working(settings):
        status = await wait_until(lambda: is_(settings, "paused"))
        assert (status.reason, status.detail) == ("server_error", "the service answered 500")
        await send(settings, [make(str(n), number=n, lane=f"lane-{n}") for n in range(10, 20)])
        await wait_for_attempts(settings, 20, outcome="accepted")
        await wait_until(lambda: _is_tombstone(settings, "sink"))
    answers = [line["answer"] for line in seen(path)]
    assert answers == ["fail"] * 10 + ["accept"] * 20  # what came during the pause was no probe, or found it mended
    assert await dead_letters(settings) == []


async def _is_tombstone(settings: Settings, name: str) -> bool:
    return (await said(settings, name))[-1:] == [None]


async def test_two_workers_obey_a_pause_by_hand_and_the_operators_are_told_once(settings: Settings) -> None:
    async with operators(settings) as (settings, told):
        path = await define_sink(settings, partitions=4, fixed=False)
        await want(settings, "paused", detail="the room is closed")
        made = [make(str(n), number=n, lane=f"lane-{n % 8}") for n in range(40)]
        async with working(settings), working(settings):
            status = await wait_until(lambda: is_(settings, "paused", told="paused"))
            assert (status.reason, status.by, status.detail) == ("paused", "account ada", "the room is closed")
            await send(settings, made)
            await saw(told, 1)
            await define_sink(settings, partitions=4, fixed=False)  # a change of the consumer does not end it
            other = await define_sink(settings, "other")
            await send(settings, [make("20", consumer="other", number=20)])
            await saw(other, 1)
            assert seen(path) == []
            await want(settings, "resumed")
            await wait_for_attempts(settings, 40 + 1 + 2, outcome="accepted")
            await saw(told, 2)
            assert await is_(
                settings, "resumed", told=None
            )  # it stays for some minutes, so that nobody is told too often
            await want(settings, "paused")
            await wait_until(lambda: is_(settings, "paused", told=None))
            await want(settings, "resumed")
            await wait_until(lambda: is_(settings, "resumed"))
    for lane in range(8):
        assert [int(line["content"]) for line in seen(path) if line["address"] == f"lane-{lane}"] == list(
            range(lane, 40, 8)
        )
    assert next(line["content"].partition(",")[0] for line in seen(told)) == "account ada paused it"
    assert len(seen(told)) == 2


async def test_a_consumer_that_is_paused_for_too_long_is_disabled_until_somebody_has_it_go_on(
    settings: Settings,
) -> None:
    settings = with_(settings, disable_paused_after_days=0.00001)
    async with operators(settings) as (settings, told):
        path = await define_sink(settings)
        await want(settings, "paused")
        await send(settings, [make(str(n), number=n) for n in range(5)])
        async with working(settings):
            await wait_for_attempts(settings, 5, outcome="refused", reason="disabled")
        async with working(settings):
            await send(settings, [make("5", number=5)])
            await wait_for_attempts(settings, 6, outcome="refused", reason="disabled")
            assert seen(path) == []
            await want(settings, "resumed")
            await wait_until(lambda: is_(settings, "resumed"))
            await send(settings, [make("6", number=6)])
            await saw(path, 1)
            await wait_until(lambda: "resumed" in states(told))
    assert sorted((letter.reason, letter.delivery) for letter in await dead_letters(settings)) == [
        ("disabled", make(str(n), number=n).id) for n in range(6)
    ]
    # That it is paused is told, too, where the worker is quicker than the limit.
    assert [state for state in states(told) if state != "paused"] == ["disabled", "resumed"]


def states(told: Path) -> list[str]:
    """What the operators were told, in order."""
    return [line["id"].split("/")[1].split("%2F")[1] for line in seen(told)]


class Written(Writer):
    """What was written last."""

    value: bytes | None = None

    async def write(self, topic: str, key: str | None, value: bytes | None, headers: Headers = ()) -> None:
        self.value = value


@pytest.mark.parametrize(
    ("reason", "overdue_s", "state"),
    [
        pytest.param("connection", 5, "disabled", id="tried"),
        pytest.param("connection", 3600, "paused", id="not tried of late"),
        pytest.param("paused", 3600, "disabled", id="by hand"),
    ],
)
async def test_what_nobody_tried_of_late_is_not_disabled_before_its_next_try(
    reason: Reason, overdue_s: float, state: State
) -> None:
    """After days without a worker, or without anything to send, nobody knows how the service is."""
    settings = Settings(_env_file=None, disable_paused_after_days=1)
    board, written = Board(settings), Written(settings)
    found = Pauses(settings, written, board, Notices(None, written), lambda consumer: None)
    since, not_before = now() - timedelta(days=2), now() - timedelta(seconds=overdue_s)
    said = Status(
        kind=CONSUMER, name="sink", state="paused", reason=reason, at=since, since=since, not_before=not_before
    )
    board.said["sink"] = said
    if reason == "paused":
        board.wanted["sink"] = said
    holds_ = holds.Holds((), found.begin, found.end)
    worker = asyncio.create_task(found.run(Consumers(Catalog(registry=REGISTRY), {}, holds_), lambda: ["sink"]))
    await asyncio.sleep(0.05)
    worker.cancel()
    assert board.said["sink"].state == state
    assert (written.value is not None) == (state == "disabled")


async def test_a_try_that_was_under_way_when_its_consumer_was_disabled_does_not_pause_it_anew() -> None:
    settings = Settings(_env_file=None)
    board, written = Board(settings), Written(settings)
    found = Pauses(settings, written, board, Notices(None, written), lambda consumer: None)
    held = holds.Holds((), found.begin, found.end)
    at = now()
    board.said["sink"] = Status(kind=CONSUMER, name="sink", state="disabled", reason="timeout", at=at, since=at)
    found.hear("sink", Consumers(Catalog(registry=REGISTRY), {}, held))
    failed = Result(outcome="deferred", reason="unauthorized")
    held.learn("sink", time.monotonic(), [breaker.Tried("1")], [failed])
    assert (board.said["sink"].state, "sink" in held.disabled) == ("disabled", True)
    accepted = Result(outcome="accepted", reason="ok")
    held.learn("sink", time.monotonic(), [breaker.Tried("1")], [accepted])  # it is mended, though
    assert (board.said["sink"].state, "sink" in held.disabled) == ("resumed", False)
    await found.finish()


async def test_the_end_does_not_wait_for_a_broker_that_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    class Away(Writer):
        async def write(self, topic: str, key: str | None, value: bytes | None, headers: Headers = ()) -> None:
            await asyncio.Event().wait()

    monkeypatch.setattr(pauses, "_FINISH_S", 0.01)
    settings = Settings(_env_file=None)
    away = Away(settings)
    found = Pauses(settings, away, Board(settings), Notices(None, away), lambda consumer: None)
    found.begin("sink", holds.Held(reason="timeout", said="", wait_s=5.0, step=0))
    async with asyncio.timeout(5):
        await found.finish()


async def test_an_operators_consumer_that_writes_to_people_is_not_told_and_none_is_told_of_itself(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    path = await define_sink(settings, "ops", fixed=False)
    await define_sink(settings, fixed=True)
    async with working(with_(settings, operators_consumer="ops")):
        await want(settings, "paused")
        await wait_until(lambda: is_(settings, "paused"))
        await wait_until(lambda: "which writes to people" in caplog.text)
        await define_sink(settings, "ops", fixed=True)
        await saw(path, 1)  # as soon as it can be told, it is
        await want(settings, "paused", "ops")
        await wait_until(lambda: is_(settings, "paused", "ops"))
        await want(settings, "resumed", "ops")
        await want(settings, "resumed")
        await saw(path, 2)
    assert {line["id"].split("/")[1].split("%2F")[0] for line in seen(path)} == {"sink"}


def test_the_gap_between_messages_is_longer_than_a_probe_takes() -> None:
    assert pauses.GAP.total_seconds() > 2 * holds.DOWN_SCHEDULE_S[-1]
