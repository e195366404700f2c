"""Messages and attempts are found by words and by every other condition, on each kind of database."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text

from control_api.history import listing
from control_api.history.message_rows import MAX_TEXT
from control_api.history.messages import message, messages
from control_api.history.queries import AttemptQuery, MessageQuery
from control_api.history.records import attempts
from control_api.history.sight import Sight
from control_api.models import ChangeRow, DefinitionRow
from notifier.database import Database
from notifier.errors import InputError, UnknownName
from notifier.folded import folded
from notifier.record import JsonObject
from tests.rigs.history_rig import attempt, store_attempts, store_messages

pytest_plugins = ["tests.rigs.databases"]
ALL = Sight()
START = datetime(2026, 11, 1, tzinfo=UTC)
MESSAGES: list[JsonObject | bytes] = [
    {"producer": "ci", "id": "m0", "content": "Build 42 failed", "title": "Сборка упала", "labels": {"team": "infra"}},
    {"producer": "ci", "id": "m1", "content": "build passed", "receiver": "alice", "sender": "bob", "severity": "info"},
    {"producer": "alerts", "id": "m2", "content": 'disk full\0: "NEAR(a b)" 100% \' \\ ок', "url": "http://x"},
    {"producer": "alerts", "content": "x" * (MAX_TEXT + 1) + " beyond"},
    b"no message",
    {"producer": "ci", "id": "m5"},
    {"producer": "alerts", "id": "m6", "content": "build deployed", "labels": {"a": "x" * MAX_TEXT}},
]


async def _found(database: Database, read: Any, query: Any, sight: Sight = ALL) -> list[str]:
    found: list[str] = []
    async with database.read() as session:
        while True:
            items, cursor = await read(session, query, sight)
            found += [item["message"] if "outcome" in item else item["id"] for item in items]
            if cursor is None:
                return found
            query = query.model_copy(update={"cursor": cursor})


async def _messages(database: Database, **conditions: Any) -> list[str]:
    return await _found(database, messages, MessageQuery(**conditions))


async def _attempts(database: Database, **conditions: Any) -> list[str]:
    return await _found(database, attempts, AttemptQuery(**conditions))


@pytest.fixture
async def filled(store: Database) -> Database:
    """Messages of an hour each, and attempts at them."""
    await store_messages(store, MESSAGES, [START + timedelta(hours=hour) for hour in range(len(MESSAGES))])
    times = [START + timedelta(days=1, hours=hour) for hour in range(5)]
    made = [
        attempt("m0", started_at=times[0], ended_at=times[0]),
        attempt("m0", started_at=times[1], ended_at=times[1], recipient="Bob", outcome="refused", reason="forbidden"),
        attempt("m1", started_at=times[2], ended_at=times[2], configuration="other"),
        attempt("m2", started_at=times[3], ended_at=times[3], producer="alerts", consumer="mail"),
        attempt("m9", started_at=times[4], ended_at=times[4]),
    ]
    await store_attempts(store, made)
    return store


async def test_messages_are_found_by_words(filled: Database) -> None:
    by_place = f"0-3-{int((START + timedelta(hours=3)).timestamp() * 1000)}"
    assert await _messages(filled) == ["m6", by_place, "m2", "m1", "m0"]
    for asked, expected in (
        ("build", ["m6", "m1", "m0"]),
        ("BUIL", ["m6", "m1", "m0"]),
        ("сборка build", ["m0"]),
        ("УПАЛ", ["m0"]),
        ("build passed failed", []),
        ("bu", []),  # two letters are no beginning
        ("42", ["m0"]),
        ("near (", ["m2"]),
        ('"NEAR(a b)" 100%', ["m2"]),
        ("a* b* NOT", []),
        ("ОК' OR 1=1 --", []),
        ("x" * 400, [by_place]),
        ("beyond", []),  # the 4,000 characters that are kept
        ("infra", []),  # labels are shown and not found
    ):
        assert await _messages(filled, q=asked) == expected, asked
        assert await _messages(filled, q=asked, limit=1) == expected, asked
    for wrong in ("", " * \"' %_ \0", " ".join(f"w{number}" for number in range(21))):
        with pytest.raises(InputError, match="/q"):
            await _messages(filled, q=wrong)


async def test_messages_are_found_by_all_else(filled: Database) -> None:
    for conditions, expected in (
        ({"producer": "ci"}, ["m1", "m0"]),
        ({"producer": "ci", "q": "build"}, ["m1", "m0"]),
        ({"message": "m2"}, ["m2"]),
        ({"message": "m2", "producer": "ci"}, []),
        ({"recipient": "Bob"}, ["m0"]),
        ({"consumer": "mail"}, ["m2"]),
        ({"outcome": "accepted"}, ["m2", "m1", "m0"]),
        ({"outcome": "accepted", "q": "build", "configuration": "other"}, ["m1"]),
        ({"outcome": "refused", "reason": "ok"}, []),  # of one attempt
        ({"since": START + timedelta(hours=1), "until": START + timedelta(hours=2)}, ["m1"]),
        ({"until": START}, []),
        ({"q": "build", "since": START + timedelta(hours=1)}, ["m6", "m1"]),
        ({"q": "build", "until": START + timedelta(hours=1), "recipient": "alice"}, ["m0"]),
    ):
        assert await _messages(filled, **conditions) == expected, conditions
        assert await _messages(filled, **conditions, limit=1) == expected, conditions


async def test_attempts_are_found_by_words_of_their_messages(filled: Database) -> None:
    for conditions, expected in (
        ({"q": "build"}, ["m1", "m0", "m0"]),
        ({"q": "build", "outcome": "accepted"}, ["m1", "m0"]),
        ({"q": "Диск"}, []),
        ({"q": "disk", "producer": "alerts", "consumer": "mail"}, ["m2"]),
        ({"q": "build", "configuration": "to-chat", "recipient": "alice", "reason": "ok"}, ["m0"]),
        ({"since": START + timedelta(days=1, hours=2), "until": START + timedelta(days=1, hours=4)}, ["m2", "m1"]),
        ({"until": START + timedelta(days=1, hours=1), "outcome": "accepted"}, ["m0"]),
        ({"since": START + timedelta(days=9)}, []),
    ):
        assert await _attempts(filled, **conditions) == expected, conditions
        assert await _attempts(filled, **conditions, limit=1) == expected, conditions


async def test_windows_change_no_answer(filled: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is common on both sides is gone through in windows; pages may then be short and lead on."""
    monkeypatch.setattr(listing, "FEW", 0)
    for windows in ((1,), (1, 2), (3, 3)):
        monkeypatch.setattr(listing, "WINDOWS", windows)
        await test_messages_are_found_by_words(filled)
        await test_messages_are_found_by_all_else(filled)
        await test_attempts_are_found_by_words_of_their_messages(filled)


async def test_without_an_index_of_words_texts_are_looked_at(filled: Database) -> None:
    if filled.is_sqlite:
        async with filled.write() as session:
            for name in ("TRIGGER message_search_add", "TRIGGER message_search_delete", "TABLE message_search"):
                await session.execute(text(f"DROP {name}"))
        await test_messages_are_found_by_words(filled)


async def test_a_recipient_is_found_as_names_are_compared(filled: Database) -> None:
    async with filled.write() as session:
        change = ChangeRow(at=START, actor="cli", summary="s")
        session.add(change)
        await session.flush()
        times = {"created_at": START, "updated_at": START, "changed_by": "cli", "revision": change.revision}
        for name in ("alice", "Bob"):
            session.add(DefinitionRow(kind="user", name=name, name_key=folded(name), spec={}, **times))
    assert await _attempts(filled, recipient="bob") == await _attempts(filled, recipient="ＢＯＢ") == ["m0"]
    assert await _attempts(filled, recipient="ALICE", message="m1") == ["m1"]
    assert await _messages(filled, recipient="bOB") == ["m0"]
    assert await _attempts(filled, recipient="nobody") == []


async def test_a_message_is_shown_with_its_attempts(filled: Database) -> None:
    async with filled.read() as session:
        shown = await message(session, "ci", "m0", ALL)
        assert (shown["title"], shown["labels"], shown["cut"]) == ("Сборка упала", {"team": "infra"}, False)
        assert [one["recipient"] for one in shown["attempts"]] == ["Bob", "alice"]
        odd = await message(session, "alerts", "m2", ALL)
        assert re.fullmatch('disk full\N{SYMBOL FOR NULL}: "NEAR.*', odd["content"])
        assert [(await message(session, "alerts", "m6", ALL))[name] for name in ("labels", "cut")] == [{}, True]
        for producer, id_ in (("ci", "m2"), ("ci", "m5"), ("nobody", "m0")):
            with pytest.raises(UnknownName):
                await message(session, producer, id_, ALL)
