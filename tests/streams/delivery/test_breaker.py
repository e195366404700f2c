"""A service that is down is told from a message, a chat or a script that fails."""

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier.outcome import Outcome, Reason
from notifier.plugin import Result
from streams.delivery.breaker import Breaker, Tried

UP = Result()
DOWN = Result(outcome="deferred", reason="server_error")
UNCONNECTED = Result(outcome="deferred", reason="connection")
HUNG = Result(outcome="unknown", reason="timeout")

Seen = tuple[float, str, str | None, Result]  # when, which delivery, to which address, what came of it


def trips(seen: Iterable[Seen]) -> list[float]:
    """When a breaker that sees this says that the service is down."""
    breaker = Breaker()
    return [at for at, delivery, address, result in seen if breaker.is_down(at, Tried(delivery, address), result)]


def refused(reason: Reason) -> Result:
    return Result(outcome="refused", reason=reason)


@pytest.mark.parametrize("result", [DOWN, UNCONNECTED, HUNG], ids=lambda result: result.reason)
def test_ten_deliveries_that_fail_within_a_minute_are_a_service_that_is_down(result: Result) -> None:
    assert trips((n * 0.1, f"d{n}", f"a{n}", result) for n in range(10)) == [0.9]
    assert trips((n * 0.1, f"d{n}", None, result) for n in range(10)) == [0.9]
    assert trips((n * 7.0, f"d{n % 2}", "a", result) for n in range(4)) == []


def test_half_of_the_last_deliveries_must_have_failed() -> None:
    mixed = [(n * 1.0, f"d{n}", f"a{n}", DOWN if n % 2 else UP) for n in range(20)]
    assert trips(mixed)[0] == 9.0  # the tenth
    assert trips((n * 1.0, f"d{n}", f"a{n}", UP if n % 3 else DOWN) for n in range(60)) == []
    # One that fails and is then accepted has not failed.
    assert trips((n * 1.0, f"d{n // 2}", f"a{n // 2}", UP if n % 2 else DOWN) for n in range(60)) == []


def test_slow_traffic_needs_five_failures_in_a_row_over_half_a_minute() -> None:
    chat = [(at, delivery, None, DOWN) for at, delivery in ((0, "1"), (5, "1"), (35, "1"), (35.1, "2"), (40, "2"))]
    assert trips(chat) == [40]
    answered = [*chat[:4], (36.0, "3", None, refused("forbidden")), chat[4]]
    assert trips(answered) == []


def test_three_without_a_connection_are_enough() -> None:
    assert trips([(0, "1", "a", UNCONNECTED), (5, "1", "a", UNCONNECTED), (35, "1", "a", UNCONNECTED)]) == [35]
    cut = Result(outcome="unknown", reason="connection")  # after it was sent: the message may be what is odd
    assert trips([(0, "1", "a", cut), (5, "1", "a", cut), (35, "1", "a", cut)]) == []
    assert trips([(0, "1", "a", UNCONNECTED), (5, "1", "a", HUNG), (35, "1", "a", UNCONNECTED)]) == []


def test_a_script_that_fails_for_many_messages_decides_over_each() -> None:
    failed = Result(outcome="deferred", reason="script_failed")
    assert trips((n * 5.0, f"d{n}", None, failed) for n in range(100)) == []


# --- whatever the order ---

_FAILURES = st.sampled_from([DOWN, HUNG])
_OUTCOMES: tuple[Outcome, ...] = ("accepted", "suppressed", "refused")
_PERMANENT: tuple[Reason, ...] = ("forbidden", "not_found", "invalid_content", "no_address")
_ANSWERS = st.one_of(
    st.sampled_from(_OUTCOMES).map(lambda outcome: Result(outcome=outcome)),
    st.sampled_from(_PERMANENT).map(refused),
    st.just(Result(outcome="deferred", reason="script_failed")),
    st.just(Result(outcome="deferred", reason="rate_limited", retry_after_s=5.0)),
)
_gaps = st.floats(min_value=0, max_value=400, allow_nan=False)


@given(st.lists(st.tuples(_gaps, st.integers(0, 30), _ANSWERS), max_size=150))
def test_answers_alone_never_pause(steps: list[tuple[float, int, Result]]) -> None:
    at = 0.0
    seen = []
    for gap, number, result in steps:
        at += gap
        seen.append((at, f"d{number}", f"a{number % 7}", result))
    assert trips(seen) == []


@given(st.lists(st.tuples(_gaps, st.integers(0, 5), _FAILURES), max_size=150))
def test_one_dead_chat_never_pauses_however_many_messages_it_has(steps: list[tuple[float, int, Result]]) -> None:
    at = 0.0
    seen = []
    for count, (gap, number, result) in enumerate(steps):
        at += gap
        seen.append((at, f"d{count}", "dead", result))
        if number == 0:
            seen.append((at, f"other{count}", f"a{count}", UP))
    assert trips(seen) == []


@given(st.lists(st.tuples(_gaps, _FAILURES), max_size=150))
def test_one_odd_message_never_pauses_a_chat_that_takes_the_others(steps: list[tuple[float, Result]]) -> None:
    at = 0.0
    seen: list[Seen] = []
    for count, (gap, result) in enumerate(steps):
        at += gap
        seen += [(at, "odd", None, result), (at, f"d{count}", None, UP)]
    assert trips(seen) == []


@given(st.lists(st.floats(min_value=0, max_value=30, allow_nan=False), min_size=60, max_size=60), st.booleans())
def test_a_service_that_takes_nothing_is_found_within_a_minute_and_a_half(gaps: list[float], fixed: bool) -> None:
    at = 0.0
    seen: list[Seen] = []
    for count, gap in enumerate(gaps):
        at += gap
        seen.append((at, f"d{count}", None if fixed else f"a{count}", DOWN))
    found = trips(seen)
    enough = [at for count, (at, *_) in enumerate(seen) if (at >= seen[0][0] + 30 and count >= 4)]
    assert not enough or found[0] <= enough[0]
