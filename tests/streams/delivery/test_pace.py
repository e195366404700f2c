"""The pace of a credential, on a clock that the test moves: no window has more than its limit, and nobody starves."""

import heapq
import itertools
import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier import Limit, at_most
from streams.delivery import pace as pace_module
from streams.delivery.pace import Pace, Turn


@dataclass(frozen=True)
class Wish:
    """Somebody who asks for a turn at a moment; the send takes a while, and arrives some time within it."""

    at: float
    address: str
    critical: bool
    takes_s: float
    arrives: float  # share of `takes_s`


wishes = st.lists(
    st.builds(
        Wish,
        at=st.floats(0, 20),
        address=st.sampled_from(["a", "b", "-g"]),
        critical=st.booleans(),
        takes_s=st.floats(0.001, 3),
        arrives=st.floats(0, 1),
    ),
    max_size=60,
)


def limits_of(address: str) -> Sequence[Limit]:
    limits = [at_most(5), at_most(1, burst=2, of=address)]
    return [*limits, Limit(count=4, seconds=20.0, of=address)] if address.startswith("-") else limits


def asks(pace: Pace, address: str, at: float, *, critical: bool = False) -> Turn:
    turn = Turn(
        limits=limits_of(address),
        place=pace.next_place(),
        granted_to=lambda: None,
        overtakes=critical,
        yields=not critical,
    )
    pace.ask(turn, at)
    return turn


class Run:
    """What becomes of wishes: when each was granted, and when it arrived."""

    def __init__(self, asked: Sequence[Wish]) -> None:
        pace = Pace(0.0)
        self.order: list[int] = []
        self.arrived: defaultdict[str, list[float]] = defaultdict(list)
        events: list[tuple[float, int, str, int]] = [(wish.at, n, "ask", n) for n, wish in enumerate(asked)]
        heapq.heapify(events)
        numbers = itertools.count(len(asked))
        turns: dict[int, Turn] = {}
        while events:
            at, number, what, n = heapq.heappop(events)
            assert number < 10_000, "it wants to be looked at again and again"
            if what == "ask":
                turns[n] = asks(pace, asked[n].address, at, critical=asked[n].critical)
            elif what == "end":
                pace.end(turns[n], at)
            pace.grant(at)
            for n in [n for n in turns if turns[n].granted and n not in self.order]:
                self.order.append(n)
                self.arrived[asked[n].address].append(at + asked[n].takes_s * asked[n].arrives)
                heapq.heappush(events, (at + asked[n].takes_s, next(numbers), "end", n))
            if (again := pace.next_at(at)) < math.inf:
                heapq.heappush(events, (again, next(numbers), "look", 0))


def most_within(times: Sequence[float], seconds: float) -> int:
    ordered = sorted(times)
    return max((sum(at < other <= at + seconds for other in ordered) + 1 for at in ordered), default=0)


@given(wishes)
def test_no_window_of_the_service_sees_more_than_its_limit_and_everybody_goes(asked: list[Wish]) -> None:
    run = Run(asked)
    assert sorted(run.order) == list(range(len(asked)))
    just_under = 1 - 1e-9
    assert most_within(list(itertools.chain(*run.arrived.values())), 1.0 * just_under) <= 5
    for address, times in run.arrived.items():
        assert most_within(times, 2.0 * just_under) <= 2
        if address.startswith("-"):
            assert most_within(times, 20.0 * just_under) <= 4


@given(wishes)
def test_to_one_address_equals_go_in_the_order_of_asking(asked: list[Wish]) -> None:
    asked = sorted(asked, key=lambda wish: wish.at)
    run = Run(asked)
    for address in "ab":
        for critical in (False, True):
            mine = [n for n in run.order if (asked[n].address, asked[n].critical) == (address, critical)]
            assert mine == sorted(mine)


def granted(pace: Pace, turns: Sequence[Turn], at: float) -> list[int]:
    """Which of the turns are granted at a moment that were not before. Their sends end at once."""
    before = [turn.granted for turn in turns]
    pace.grant(at)
    found = [n for n, turn in enumerate(turns) if turn.granted and not before[n]]
    for n in found:
        pace.end(turns[n], at)
    return found


def test_whoever_had_the_credential_before_may_just_have_used_it() -> None:
    pace = Pace(100.0)
    turns = [asks(pace, "a", 100.0)]
    assert granted(pace, turns, 101.9) == []
    assert granted(pace, turns, 102.0) == [0]
    pace.count("-g", 90.0)
    pace.count("-g", 95.0)
    pace.count("-g", 80.0)
    turns = [asks(pace, "-g", 102.0, critical=True) for _ in range(4)]
    assert granted(pace, turns, 103.0) == [0, 1]  # its third of the last 20 s is that at 90
    assert granted(pace, turns, 110.1) == [2]
    assert granted(pace, turns, 115.1) == [3]


def test_critical_ones_go_first_and_every_fourth_turn_is_an_others() -> None:
    pace = Pace(0.0)
    order: list[str] = []
    for turn in (turns := [asks(pace, f"o{n}", 10.0) for n in range(4)]):
        turn.granted_to = lambda turn=turn: order.append("o")  # type: ignore[misc]
    for turn in (urgent := [asks(pace, f"c{n}", 10.0, critical=True) for n in range(7)]):
        turn.granted_to = lambda turn=turn: order.append("c")  # type: ignore[misc]
    for second in range(10, 14):
        granted(pace, [*turns, *urgent], float(second))
    assert "".join(order) == "cccocccocoo"


def test_an_address_that_must_wait_hinders_no_other() -> None:
    pace = Pace(0.0)
    turns = [asks(pace, "a", 10.0) for _ in range(50)] + [asks(pace, "b", 10.0)]
    assert granted(pace, turns, 10.0) == [0, 1, 50]
    assert pace.next_at(10.0) == 12.0
    assert granted(pace, turns, 12.0) == [2, 3]


def test_a_critical_one_finds_room_in_a_long_window_that_others_have_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace_module, "RESERVED", 4)
    pace = Pace(0.0)
    turns = [asks(pace, "-g", 10.0) for _ in range(6)]
    assert [granted(pace, turns, at) for at in (10.0, 12.0, 14.0)] == [[0, 1], [2], []]
    turns = [asks(pace, "-g", 14.0, critical=True), asks(pace, "-g", 14.0, critical=True)]
    assert granted(pace, turns, 14.0) == [0]


def test_what_the_service_asks_for_is_kept_and_makes_it_slower_for_a_while() -> None:
    pace = Pace(0.0)
    pace.told("a", 700.0, 100.0)
    turns = [asks(pace, "a", 100.0), asks(pace, "b", 100.0)]
    assert granted(pace, turns, 100.0) == [1]
    assert granted(pace, turns, 699.9) == []
    assert granted(pace, turns, 700.0) == [0]
    pace.told("a", 701.0, 700.0)
    turns = [asks(pace, "a", 701.0) for _ in range(5)]
    assert granted(pace, turns, 701.0) == [0]  # one of two in a window has just been
    assert granted(pace, turns, 702.5) == []
    assert granted(pace, turns, 704.0) == [1]
    assert granted(pace, turns, 705.0) == [2]
    assert granted(pace, turns, 20_000.0) == [3, 4]
    turns = [asks(pace, "a", 20_000.0)]
    assert granted(pace, turns, 20_002.0) == [0]  # as before


def test_asked_to_wait_at_several_addresses_all_of_them_wait_until_somebody_changes_the_consumer() -> None:
    pace = Pace(0.0)
    pace.told("a", 150.0, 100.0)
    pace.told("b", 130.0, 105.0)
    turns = [asks(pace, "c", 105.0)]
    assert granted(pace, turns, 129.0) == []
    assert granted(pace, turns, 130.0) == [0]
    pace.told("d", 900.0, 131.0)
    turns = [asks(pace, "d", 131.0), asks(pace, "a", 131.0)]
    assert granted(pace, turns, 131.0) == []
    pace.forget_told()
    assert granted(pace, turns, 131.1) == [0, 1]


def test_whoever_does_not_wait_any_more_takes_no_turn_and_what_was_not_sent_does_not_count() -> None:
    pace = Pace(0.0)
    turns = [asks(pace, "a", 10.0) for _ in range(4)]
    pace.give_back(turns[0])
    pace.grant(10.0)
    assert [turn.granted for turn in turns] == [False, True, True, False]
    pace.give_back(turns[1])
    pace.grant(10.0)
    assert turns[3].granted


def test_windows_that_nobody_uses_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace_module, "KEPT_WINDOWS", 10)
    pace = Pace(0.0)
    for n in range(100):
        at = 1000.0 * n
        assert granted(pace, [asks(pace, f"a{n}", at)], at + 2.0) == [0]
    assert len(pace._windows) < 30
