"""The ledger's file: what it holds, for how long, and what becomes of one that is damaged."""

import asyncio
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from notifier.errors import NotifierError
from notifier.settings import load_settings
from streams.delivery.ledger.accepted import Accepted
from streams.delivery.ledger.feed import Feed, TopicChanged
from streams.delivery.ledger.file import KEPT_S, LedgerFile, Place
from streams.delivery.ledger.folder import ClaimedFile
from streams.delivery.ledger.ledgers import Ledgers
from streams.delivery.ledger.line import Line, digest
from streams.delivery.ledger.store import Store


class Clock:
    """A clock that is moved."""

    def __init__(self) -> None:
        self.at = 1_800_000_000.0

    def __call__(self) -> float:
        return self.at


@contextmanager
def opened(path: Path, clock: Clock, kept: int = 3) -> Iterator[LedgerFile]:
    file = LedgerFile(path, clock, kept=kept)
    try:
        yield file
    finally:
        file.close()


def fill(file: LedgerFile) -> None:
    file.begin()
    file.fill()
    file.commit()


def ids(*texts: str) -> list[bytes]:
    return [digest(text) for text in texts]


def known(file: LedgerFile) -> set[str]:
    return {text for text in "abcdefghi" if file.contains(digest(text))}


def line(offset: int = 7, delivery: str = "a", **changes: object) -> Line:
    values = {"at": 10.0, "number": 1, "spared": 0, "not_before": None, "told": 0, "settled": 0, **changes}
    return Line(digest(delivery), False, "t.deliveries.sink", 0, offset, **values)  # type: ignore[arg-type]


def test_an_id_stays_for_a_day_and_so_many_others_whichever_is_longer(tmp_path: Path) -> None:
    clock = Clock()
    with opened(tmp_path / "0.sqlite3", clock) as file:
        fill(file)
        file.write(ids("a"), (), {})
        file.write(ids("b", "c", "d"), (), {})  # more than are kept, within the day
        clock.at += KEPT_S - 1
        file.write(ids("e"), (), {})
        assert known(file) == set("abcde")
        clock.at += 2
        file.write((), (), {})  # these are the older ones now
        clock.at += 10 * KEPT_S
        file.write(ids("f", "g"), (), {})  # many days, but too few others
        assert known(file) == set("abcdefg")
        file.write(ids("h"), (), {})
        assert known(file) == set("fgh")
        assert file.count == 3
    with opened(tmp_path / "0.sqlite3", clock) as file:
        assert known(file) == set("fgh")
        assert file.filled


def test_many_ids_are_looked_up_together_as_each_by_itself(tmp_path: Path) -> None:
    clock = Clock()
    asked = [str(n) for n in range(250)]
    with opened(tmp_path / "0.sqlite3", clock) as file:
        fill(file)
        file.write(ids(*asked[:100]), (), {})
        clock.at += KEPT_S + 1
        file.write((), (), {})  # these are in the older table now
        file.write(ids(*asked[100:200:2]), (), {})
        accepted = Accepted()
        accepted.add("220")  # not written yet
        assert accepted.among(asked) == {"220"}
        accepted.keep_in(file, lambda error: error)
        found = accepted.among([*asked, "0"])
        assert found == {text for text in asked if text in accepted} == {*asked[:100], *asked[100:200:2], "220"}
        assert accepted.among([]) == frozenset()


def test_a_clock_that_was_wrong_once_does_not_keep_ids_for_ever(tmp_path: Path) -> None:
    clock = Clock()
    clock.at += 1000 * KEPT_S
    with opened(tmp_path / "0.sqlite3", clock) as file:
        fill(file)
        file.write(ids("a", "b", "c"), (), {})
        clock.at -= 999 * KEPT_S
        file.write((), (), {})
        for text in ("def", "ghi"):
            clock.at += KEPT_S
            file.write(ids(*text), (), {})
        assert known(file) == set("ghi")


def test_nothing_is_forgotten_while_the_past_is_still_being_read(tmp_path: Path) -> None:
    clock = Clock()
    with opened(tmp_path / "0.sqlite3", clock) as file:
        for text in ("abc", "def", "ghi"):
            file.write(ids(*text), (), {})
            clock.at += 2 * KEPT_S
        assert known(file) == set("abcdefghi")


def test_ids_tries_and_places_are_written_together_or_not_at_all(tmp_path: Path) -> None:
    clock = Clock()
    with opened(tmp_path / "0.sqlite3", clock) as file:
        file.write(ids("a"), [line()], {0: Place(0, 5, 0)})
        file.begin()
        file.add(ids("b"), [line(8)])
        file.move({0: Place(0, 9, 0)})
        assert known(file) == {"a"}  # not before the commit
        file.roll_back()
        file.begin()  # as a process that is killed now
        file.add(ids("c"), [line(9)])
        file.move({0: Place(0, 10, 0)})
    with opened(tmp_path / "0.sqlite3", clock) as file:
        assert known(file) == {"a"}
        assert file.places == {0: Place(0, 5, 0)}
        assert [found.offset for found in file.tries("t.deliveries.sink", 0, 0)] == [7]
        assert file.count == 1


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0)], ids=["forwards", "backwards"])
def test_the_tries_at_a_record_add_up_in_either_order(tmp_path: Path, order: tuple[int, ...]) -> None:
    lines = [
        line(number=1, at=10.0, spared=1, told=1, not_before=11.0),
        line(number=2, at=20.0, spared=1, told=1, not_before=25.0),
        line(number=3, at=30.0, not_before=90.0),
    ]
    with opened(tmp_path / "0.sqlite3", Clock()) as file:
        for place in order:
            file.write((), [lines[place]], {})
        (found,) = file.tries("t.deliveries.sink", 0, 7)
        assert (found.number, found.at, found.spared, found.told, found.not_before) == (3, 30.0, 2, 0, 90.0)
        file.write((), [line(number=3, settled=1)], {})
        file.write((), [line(delivery="another", number=9)], {})
        assert {(found.number, found.settled) for found in file.tries("t.deliveries.sink", 0, 7)} == {(3, 1), (9, 0)}


def test_tries_are_forgotten_once_committed_or_too_old_to_be_read_again(tmp_path: Path) -> None:
    clock = Clock()
    with opened(tmp_path / "0.sqlite3", clock) as file:
        file.write((), [line(1), line(2)], {})
        clock.at += 7 * KEPT_S
        file.write((), [line(3)], {})
        file.forget_tries({("t.deliveries.sink", 0): 2, ("t.deliveries.other", 0): 9})
        assert [found.offset for found in file.tries("t.deliveries.sink", 0, 0)] == [2, 3]
        assert [found.offset for found in file.tries("t.deliveries.sink", 0, 3)] == [3]
        clock.at += 2 * KEPT_S
        file.forget_tries({})
        assert [found.offset for found in file.tries("t.deliveries.sink", 0, 0)] == [3]


def test_two_workers_of_one_data_folder_have_a_file_each(tmp_path: Path) -> None:
    settings = load_settings(env_file=None, data_dir=tmp_path)
    first, second = (ClaimedFile(settings, Clock()) for _ in range(2))
    assert [claimed.file.path.name for claimed in (first, second)] == ["0.sqlite3", "1.sqlite3"]
    first.close()
    third = ClaimedFile(settings, Clock())
    assert third.file.path.name == "0.sqlite3"
    third.close()
    second.close()


@pytest.mark.parametrize("kind", ["no database", "cut short", "torn", "of another format"])
def test_a_damaged_file_is_moved_aside_and_said(tmp_path: Path, kind: str) -> None:
    settings = load_settings(env_file=None, data_dir=tmp_path)
    claimed = ClaimedFile(settings, Clock())
    claimed.file.write([digest(str(n)) for n in range(5000)], [], {0: Place(0, 1, 0)})
    claimed.close()
    path = tmp_path / "ledger" / "0.sqlite3"
    whole = path.read_bytes()
    if kind == "of another format":
        connection = sqlite3.connect(path)
        connection.execute("PRAGMA user_version = 99")
        connection.close()
    else:
        path.write_bytes(
            {"no database": b"x" * 8192, "cut short": whole[:8192], "torn": whole[:100] + b"\xff" * 8192}[kind]
        )
    claimed = ClaimedFile(settings, Clock())
    assert claimed.notice is not None
    assert "0.damaged" in claimed.notice
    assert (claimed.file.count, claimed.file.places) == (0, {})
    claimed.close()
    claimed = ClaimedFile(settings, Clock())
    assert claimed.notice is None
    claimed.close()
    assert sorted(file.suffix for file in path.parent.iterdir()) == [".damaged", ".lock", ".sqlite3"]


def test_a_file_that_is_damaged_inside_is_never_taken_for_one_that_knows_nothing(tmp_path: Path) -> None:
    settings = load_settings(env_file=None, data_dir=tmp_path)
    claimed = ClaimedFile(settings, Clock())
    claimed.file.write([digest(str(n)) for n in range(50_000)], [], {0: Place(0, 1, 0)})
    claimed.close()
    path = tmp_path / "ledger" / "0.sqlite3"
    whole = path.read_bytes()
    path.write_bytes(whole[: 8 * 4096] + b"\xff" * (len(whole) - 8 * 4096))
    claimed = ClaimedFile(settings, Clock())
    accepted = Accepted()
    accepted.keep_in(claimed.file, lambda error: NotifierError(claimed.set_aside(error)))
    for _ in range(2):  # which more than one may meet
        with pytest.raises(NotifierError, match="damaged"):
            [str(n) in accepted for n in range(50_000)]
    claimed.close()
    assert not path.exists()
    assert path.with_suffix(".damaged").exists()


def test_a_folder_that_cannot_be_written_is_named_with_its_setting(tmp_path: Path) -> None:
    (tmp_path / "ledger").write_text("a file where the folder is to be")
    with pytest.raises(NotifierError, match="NOTIFIER_DATA_DIR"):
        ClaimedFile(load_settings(env_file=None, data_dir=tmp_path), Clock())


async def test_what_was_written_is_found_also_where_another_call_ended_meanwhile(tmp_path: Path) -> None:
    with opened(tmp_path / "x", Clock()) as file:
        store = Store(file)
        go_on = threading.Event()

        def write() -> None:
            go_on.wait(10.0)
            file.write(ids("a"), (), {})

        reading = asyncio.create_task(store.call(file.tries, "t", 0, 0))
        writing = asyncio.create_task(store.call(write))
        await reading
        assert known(file) == set()  # a look-up between the two
        go_on.set()
        await writing
        assert known(file) == {"a"}
        store.close()


async def test_a_disk_that_is_full_when_the_topic_has_changed_ends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def changed(_: Feed) -> None:
        raise TopicChanged

    def full() -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(Feed, "run", changed)
    with opened(tmp_path / "x", Clock()) as file:
        store = Store(file)
        file.write(ids("a"), (), {0: Place(1, 2, 3)})
        with monkeypatch.context() as patched:
            patched.setattr(file, "forget_places", full)
            await Ledgers(load_settings(env_file=None))._feed(store)
        assert (file.places, known(file)) == ({0: Place(1, 2, 3)}, {"a"})
        await Ledgers(load_settings(env_file=None))._feed(store)  # there is room again
        assert (file.places, known(file)) == ({}, {"a"})
        store.close()
