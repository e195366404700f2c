"""The retry decision as a table, and what errors stand for."""

from typing import Any

import pytest

from notifier.errors import Permanent, Retryable
from notifier.plugin import Result, result_of
from streams.delivery.retry import MAX_WAIT_S, Decision, decide

SCHEDULE = (5.0, 30.0)


@pytest.mark.parametrize(
    ("result", "expected", "falls_back"),
    [
        (
            Result(outcome="unknown", reason="timeout", detail="no answer"),
            Decision(outcome="unknown", reason="timeout", detail="no answer", dead="timeout"),
            False,  # it may have arrived
        ),
        (
            Result(outcome="unknown", reason="connection"),
            Decision(outcome="unknown", reason="connection", dead="connection"),
            False,
        ),
        (
            Result(outcome="deferred", reason="connection"),
            Decision(outcome="deferred", reason="connection", wait_s=5.0),
            False,
        ),
        (
            Result(outcome="refused", reason="no_address"),
            Decision(outcome="refused", reason="no_address", dead="no_address"),
            True,
        ),
        (Result(), Decision(outcome="accepted", reason="ok"), False),
    ],
)
def test_what_nobody_knows_the_end_of_may_be_given_up(result: Result, expected: Decision, falls_back: bool) -> None:
    decision = decide(result, attempt=1, spared=0, schedule=SCHEDULE, chance=0.5, unknown="give_up")
    assert (decision, decision.falls_back) == (expected, falls_back)


@pytest.mark.parametrize("outcome", ["deferred", "unknown"])
def test_an_empty_schedule_gives_up_at_the_first_failure(outcome: Any) -> None:
    decision = decide(Result(outcome=outcome, reason="timeout"), attempt=1, spared=0, schedule=(), chance=0.5)
    assert (decision.wait_s, decision.dead, decision.falls_back) == (None, "exhausted", True)
    told = Result(outcome=outcome, reason="rate_limited", retry_after_s=7)
    assert decide(told, attempt=1, spared=0, schedule=(), chance=0.5).wait_s == 7  # costs no try


@pytest.mark.parametrize(
    ("result", "attempt", "spared", "expected"),
    [
        pytest.param(Result(), 1, 0, Decision(outcome="accepted", reason="ok"), id="accepted"),
        pytest.param(
            Result(outcome="suppressed", reason="expired"),
            1,
            0,
            Decision(outcome="suppressed", reason="expired"),
            id="suppressed by the consumer",
        ),
        pytest.param(
            Result(outcome="refused", reason="forbidden", detail="no"),
            1,
            0,
            Decision(outcome="refused", reason="forbidden", detail="no", dead="forbidden"),
            id="permanent at once",
        ),
        pytest.param(
            Result(outcome="refused", reason="unauthorized", detail="no"),
            9,
            2,
            Decision(outcome="deferred", reason="unauthorized", detail="no", wait_s=0.0, held=True, spared=3),
            id="a refused credential gives nothing up",
        ),
        pytest.param(
            Result(outcome="deferred", reason="connection"),
            1,
            0,
            Decision(outcome="deferred", reason="connection", wait_s=5.0),
            id="first failure",
        ),
        pytest.param(
            Result(outcome="unknown", reason="timeout"),
            2,
            0,
            Decision(outcome="unknown", reason="timeout", wait_s=30.0),
            id="second failure",
        ),
        pytest.param(
            Result(outcome="deferred", reason="server_error"),
            3,
            0,
            Decision(outcome="refused", reason="server_error", dead="exhausted"),
            id="exhausted",
        ),
        pytest.param(
            Result(outcome="unknown", reason="timeout"),
            3,
            0,
            Decision(outcome="unknown", reason="timeout", dead="exhausted"),
            id="exhausted and unknown",
        ),
        pytest.param(
            Result(outcome="deferred", reason="rate_limited", retry_after_s=7.5),
            3,
            0,
            Decision(outcome="deferred", reason="rate_limited", wait_s=8.0, told=True, spared=1),
            id="a limit is obeyed, a fraction rounded up, and spends nothing",
        ),
        pytest.param(
            Result(outcome="deferred", reason="server_error", retry_after_s=4),
            1,
            0,
            Decision(outcome="deferred", reason="server_error", wait_s=5.0),
            id="a wait without a limit does not spend the schedule sooner",
        ),
        pytest.param(
            Result(outcome="deferred", reason="server_error", retry_after_s=40),
            2,
            0,
            Decision(outcome="deferred", reason="server_error", wait_s=40.0, told=True),
            id="a wait without a limit is obeyed",
        ),
        pytest.param(
            Result(outcome="deferred", reason="server_error"),
            4,
            2,
            Decision(outcome="deferred", reason="server_error", wait_s=30.0, spared=2),
            id="what was spared is left",
        ),
        pytest.param(
            Result(outcome="deferred", reason="server_error", retry_after_s=float("nan")),
            1,
            0,
            Decision(outcome="deferred", reason="server_error", wait_s=5.0),
            id="a time that is none is passed over",
        ),
    ],
)
def test_a_decision_follows_from_result_and_attempt(
    result: Result, attempt: int, spared: int, expected: Decision
) -> None:
    assert decide(result, attempt=attempt, spared=spared, schedule=SCHEDULE, chance=0.5) == expected


@pytest.mark.parametrize(
    ("retry_after_s", "wait_s"),
    [
        pytest.param(20.5, 21.0, id="a fraction"),
        pytest.param(0.001, 1.0, id="a small fraction"),
        pytest.param(1, 1.0, id="a whole number"),
        pytest.param(12_966, 12_966.0, id="hours"),
        pytest.param(1e300, MAX_WAIT_S, id="huge"),
        pytest.param(10**400, MAX_WAIT_S, id="more than a float holds"),
        pytest.param(float("inf"), MAX_WAIT_S, id="infinite"),
        pytest.param(0, None, id="zero"),
        pytest.param(-0.0, None, id="negative zero"),
        pytest.param(-5, None, id="negative"),
        pytest.param(float("-inf"), None, id="infinite and negative"),
        pytest.param(float("nan"), None, id="not a number"),
        pytest.param("7", None, id="a plugin's text"),
        pytest.param(None, None, id="nothing"),
    ],
)
def test_a_limit_that_names_no_wait_spends_the_schedule(retry_after_s: Any, wait_s: float | None) -> None:
    limited = Result(outcome="deferred", reason="rate_limited", retry_after_s=retry_after_s)
    first, second, third = [decide(limited, attempt=n, spared=0, schedule=SCHEDULE, chance=0.5) for n in (1, 2, 3)]
    if wait_s is None:
        assert [(d.wait_s, d.told, d.spared, d.dead) for d in (first, second, third)] == [
            (5.0, False, 0, None),
            (30.0, False, 0, None),
            (None, False, 0, "exhausted"),
        ]
    else:
        assert first == second == third
        assert (first.wait_s, first.told, first.spared, first.dead) == (wait_s, True, 1, None)


def test_a_service_that_asks_for_a_moment_again_and_again_is_called_less_and_less() -> None:
    limited = Result(outcome="deferred", reason="rate_limited", retry_after_s=0.01)
    waits = [decide(limited, attempt=n + 1, spared=n, schedule=SCHEDULE, chance=0.5).wait_s for n in range(11)]
    assert waits == [1, 1, 1, 2, 4, 8, 16, 32, 64, 64, 64]
    longer = Result(outcome="deferred", reason="rate_limited", retry_after_s=600)
    assert decide(longer, attempt=2**30, spared=2**30 - 1, schedule=SCHEDULE, chance=0.5).wait_s == 600


def test_waits_are_moved_by_a_tenth_at_most() -> None:
    failed = Result(outcome="deferred", reason="connection")
    waits = [decide(failed, attempt=1, spared=0, schedule=(100.0,), chance=chance).wait_s for chance in (0.0, 0.999)]
    assert waits == [pytest.approx(90), pytest.approx(110, abs=0.1)]


def test_errors_say_whether_they_may_be_tried_again() -> None:
    assert result_of(Retryable("connection", "refused", 3)) == Result(
        outcome="deferred", reason="connection", detail="refused", retry_after_s=3
    )
    assert result_of(Retryable("timeout", "no answer")).outcome == "unknown"
    assert result_of(Permanent("not_found", "gone")) == Result(outcome="refused", reason="not_found", detail="gone")
    assert result_of(KeyError("x")) == Result(outcome="deferred", reason="server_error", detail="KeyError: 'x'")
