"""What the topic `status` says of consumers, whoever wrote it."""

import pytest

from notifier.record import now
from notifier.settings import Settings
from notifier.status import CONSUMER, PAUSE, ROLE, PassedOver, State, Status
from streams.delivery.board import Board


def take(board: Board, kind: str, state: State, name: str = "chat", **fields: object) -> str | None:
    status = Status(kind=kind, name=name, state=state, at=now(), **fields)  # type: ignore[arg-type]
    return board.take(f"{kind}/{name}", status.encode())


@pytest.fixture
def board(settings: Settings) -> Board:
    return Board(settings)


def test_what_a_person_ends_is_over_until_it_is_said_anew(board: Board) -> None:
    assert take(board, CONSUMER, "paused", reason="connection", since=now(), told="paused") == "chat"
    assert take(board, PAUSE, "resumed", by="ada") == "chat"
    assert (board.said["chat"].state, board.said["chat"].told, board.said["chat"].by) == ("resumed", "paused", "ada")
    assert board.over == {"chat"}
    take(board, CONSUMER, "paused", reason="connection")
    assert (board.said["chat"].state, board.over) == ("paused", set())
    board.take("consumer/chat", None)
    board.take("pause/chat", None)
    assert (board.said, board.wanted) == ({}, {})


def test_what_nobody_could_have_written_changes_nothing(board: Board) -> None:
    take(board, CONSUMER, "paused", reason="unauthorized")
    for key, value in (
        ("consumer/chat", b"{}"),
        ("consumer/chat", b"\xff"),
        ("consumer/chat", b'{"v": 2}'),
        ("pause/chat", Status(kind=PAUSE, name="mail", state="paused", at=now()).encode()),
        ("pause/chat", Status(kind=PAUSE, name="chat", state="ready", at=now()).encode()),
        ("role/chat", Status(kind=ROLE, name="chat", state="stopped", at=now()).encode()),
        ("chat", None),
        ("pause/" + "x" * 101, Status(kind=PAUSE, name="x" * 101, state="paused", at=now()).encode()),
    ):
        assert board.take(key, value) is None
    assert (list(board.said), list(board.wanted)) == (["chat"], [])


def test_of_a_large_record_little_is_kept(board: Board) -> None:
    over = (PassedOver(topic="t"),)
    take(board, PAUSE, "paused", detail="x" * 500_000, by="y" * 300_000, problems={"a/b": "c"}, passed_over=over)
    assert len(board.wanted["chat"].encode()) < 5000


def test_what_this_worker_wrote_itself_holds_until_something_newer_is_read(board: Board) -> None:
    older = Status(kind=CONSUMER, name="chat", state="paused", at=now(), step=1)
    newer = Status(kind=CONSUMER, name="chat", state="paused", at=now(), step=2, told="paused")
    board.put("chat", older)
    value = board.put("chat", newer)
    for read in (None, older.encode()):  # of another worker, and its own
        assert board.take("consumer/chat", read) is None
        assert board.said["chat"] == newer
    assert board.take("consumer/chat", value) == "chat"
    assert board.said["chat"] == newer
    board.take("consumer/chat", older.encode())
    assert board.said["chat"].step == 1
    board.give_up("chat", board.put("chat", None))  # it could not be written
    board.take("consumer/chat", older.encode())
    assert board.said["chat"].step == 1
