"""The shelf of parked deliveries: their order, the newest record of an id, and what is held in memory."""

from notifier.cancelling import Request
from streams.delivery.shelf import Shelf, Waiting


def waiting(offset: int, due: float, value: bytes | None = b"12345") -> Waiting:
    """A parked delivery of 5 bytes."""
    return Waiting(
        offset=offset,
        timestamp=0,
        due=due,
        consumer="sink",
        configuration="all",
        recipient="a",
        retry=True,
        size=5,
        value=value,
    )


def test_deliveries_come_up_when_they_are_due_and_only_once() -> None:
    shelf = Shelf()
    for offset, (key, due) in enumerate({"late": 30.0, "first": 10.0, "second": 20.0}.items()):
        shelf.put(key, waiting(offset, due))
    assert shelf.next_due() == 10.0
    assert shelf.take_due(20.0, 1) == ["first"]
    assert shelf.take_due(20.0, 9) == ["second"]
    assert shelf.take_due(20.0, 9) == []
    shelf.look_again(["first", "released elsewhere"], 25.0)
    assert shelf.take_due(30.0, 9) == ["first", "late"]
    assert shelf.next_due() is None


def test_what_was_looked_at_early_comes_up_when_it_expires_and_when_it_is_due() -> None:
    shelf = Shelf()
    one = waiting(0, 100.0)
    one.expires = 50.0
    shelf.put("a", one)
    shelf.look_again(["a"], 10.0)
    assert [shelf.take_due(at, 9) for at in (10.0, 49.0, 50.0, 99.0, 100.0, 200.0)] == [["a"], [], ["a"], [], ["a"], []]


def test_the_newest_record_of_an_id_takes_the_place_of_older_ones() -> None:
    shelf = Shelf()
    shelf.put("a", waiting(0, 10.0))
    shelf.put("a", waiting(1, 20.0))
    shelf.put("b", waiting(2, 5.0))
    shelf.drop("b")
    assert shelf.take_due(15.0, 9) == []
    assert shelf.take_due(20.0, 9) == ["a"]


def test_what_many_changes_bring_forward_is_looked_at_no_more_often_for_it() -> None:
    shelf = Shelf()
    for offset in range(10):
        shelf.put(str(offset), waiting(offset, 1000.0))
    looks = []
    for n in range(800):  # quarters of a second
        at = n / 4
        if n < 200:
            shelf.look_again(shelf.waiting, at)  # a change
        found = shelf.take_due(at, 99)
        looks.append(len(found))
        shelf.look_again(found, at + 2.0)  # they cannot go now
    assert looks[:200] == [10] * 200
    assert sum(looks[200:]) == 10 * 600 / 8
    shelf.take_due(999.0, 99)
    assert shelf.next_due() == 1000.0
    assert sorted(shelf.take_due(1000.0, 99)) == sorted(shelf.waiting)
    assert shelf.next_due() is None


def test_only_what_is_held_in_memory_counts() -> None:
    shelf = Shelf()
    shelf.put("a", waiting(0, 0.0))
    shelf.put("b", waiting(1, 0.0, value=None))
    assert shelf.kept == 5
    shelf.drop("b")
    shelf.drop("a")
    assert shelf.kept == 0


def test_only_the_record_that_a_request_means_is_cancelled() -> None:
    """What was parked anew under its id, or released, is another matter."""
    shelf = Shelf()
    shelf.put("a", waiting(7, due=100.0))
    shelf.cancel(Request("a", cancels=6, by="ann", offset=8), 50.0)
    shelf.cancel(Request("b", cancels=7, by="ann", offset=9), 50.0)
    assert shelf.take_due(60.0, 10) == []
    shelf.cancel(Request("a", cancels=7, by="ann", offset=10), 50.0)
    assert shelf.take_due(60.0, 10) == ["a"]
    shelf.put("a", waiting(11, due=100.0))
    assert shelf.waiting["a"].cancel is None
