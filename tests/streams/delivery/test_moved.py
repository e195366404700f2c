"""What `status` says of chats that have another number, whoever wrote it."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
import pytest_asyncio

from notifier.catalog import Catalog
from notifier.definition import definition_key
from notifier.record import now
from notifier.settings import Settings
from notifier.status import CHAT, Status
from streams.delivery import moved
from streams.delivery.board import Board
from streams.delivery.consumers import Consumers
from streams.delivery.holds import Holds
from streams.delivery.moved import Moved
from streams.writer import Headers, Writer
from tests.rigs.sink import REGISTRY


class Written(Writer):
    """What was written, in order."""

    def __init__(self) -> None:
        super().__init__(Settings(_env_file=None))
        self.records: list[tuple[str | None, bytes | None]] = []

    async def write(self, topic: str, key: str | None, value: bytes | None, headers: Headers = ()) -> None:
        assert topic == "status"
        await asyncio.sleep(0)
        self.records.append((key, value))


@pytest_asyncio.fixture
async def written() -> Written:
    return Written()


def record(name: str = "chat/-4242", became: str | None = "-1004242", **fields: Any) -> bytes:
    return Status(**{"kind": CHAT, "name": name, "state": "moved", "at": now(), "became": became, **fields}).encode()


async def test_a_move_that_one_worker_finds_holds_for_all_and_after_restarts(written: Written) -> None:
    finder, other = Moved(written), Moved(written)
    before = other.of("chat")
    finder.of("chat").moved("-4242", "-1004242")
    assert finder.of("chat").now("-4242") == "-1004242"
    await finder.finish()
    ((key, value),) = written.records
    board = Board(Settings(_env_file=None))
    board.others = {CHAT: lambda key, value: other.take(key.removeprefix(f"{CHAT}/"), value)}
    assert key == "chat/chat/-4242"
    assert board.take(key, value) is None  # which is about no pause
    assert (before.now("-4242"), before.now("-4243"), other.of("mail").now("-4242")) == ("-1004242", "-4243", "-4242")
    assert "-1004242" in str(Status.decode(value or b"").detail)
    board.take(key, None)
    assert (before.now("-4242"), before.has("-4242")) == ("-4242", False)


async def test_what_nobody_could_have_written_moves_nothing(written: Written) -> None:
    found = Moved(written)
    long = "chat/" + "9" * 500
    for name, value in (
        ("chat/-4242", b"\xff"),
        ("chat/-4242", b'{"v": 2}'),
        ("chat/-4242", record("mail/-4242")),
        ("chat/-4242", record(became=None)),
        ("chat/-4242", record(became="")),
        ("chat/-4242", record(became="-4242")),
        ("chat/-4242", record(became="9" * 500)),
        ("chat/-4242", record(state="paused")),
        ("chat/-4242", record(kind="consumer")),
        ("chat/", record("chat/")),
        ("/-4242", record("/-4242")),
        ("chat", record("chat")),
        (long, record(long)),
        ("chat/-4242", None),
    ):
        found.take(name, value)
    assert found.of("chat").all() == found.of("mail").all() == found.of("").all() == {}


async def test_so_many_are_kept_and_no_more(written: Written, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moved, "MOST", 2)
    found = Moved(written)
    for number in (1, 2, 3, 1):
        found.take(f"chat/-{number}", record(f"chat/-{number}", f"-100{number}", detail="x" * 100_000))
    assert found.of("chat").all() == {"-1": "-1001", "-2": "-1002"}
    found.take("chat/-1", None)
    found.take("chat/-3", record("chat/-3", "-1003"))
    assert found.of("chat").all() == {"-2": "-1002", "-3": "-1003"}


async def test_with_a_change_of_the_consumer_it_is_over(written: Written) -> None:
    found = Moved(written)
    for name in ("chat/-1", "chat/-2", "chatter/-1"):
        found.take(name, record(name))
    found.forget({"chat", "none"})
    await found.finish()
    assert written.records == [("chat/chat/-1", None), ("chat/chat/-2", None)]
    assert (found.of("chat").all(), found.of("chatter").all()) == ({}, {"-1": "-1004242"})


async def test_what_changed_or_went_while_no_worker_was_there_is_over_too(written: Written) -> None:
    found = Moved(written)
    at = now()
    for name, said_at in (("new/-1", at - timedelta(hours=2)), ("old/-1", at), ("gone/-1", at)):
        found.take(name, record(name, at=said_at))
    catalog = Catalog(
        registry=REGISTRY, problems={definition_key("consumer", name): "broken" for name in ("new", "old")}
    )
    changed_at = {definition_key("consumer", name): at - timedelta(hours=1) for name in ("new", "old")}
    found.forget_older(Consumers(catalog, changed_at, Holds((), lambda *_: None, lambda *_: None)))
    await found.finish()
    assert sorted(key or "" for key, _ in written.records) == ["chat/gone/-1", "chat/new/-1"]
    assert found.of("old").all() == {"-1": "-1004242"}


async def test_the_end_does_not_wait_for_a_broker_that_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    class Away(Writer):
        async def write(self, topic: str, key: str | None, value: bytes | None, headers: Headers = ()) -> None:
            await asyncio.Event().wait()

    monkeypatch.setattr(moved, "_FINISH_S", 0.01)
    found = Moved(Away(Settings(_env_file=None)))
    found.of("chat").moved("-1", "-2")
    async with asyncio.timeout(5):
        await found.finish()
