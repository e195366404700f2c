"""The retry decision as a table, and what errors stand for."""

import pytest

from notifier.errors import Permanent, Retryable
from notifier.plugin import Result
from streams.delivery.retry import Decision, decide, result_of

SCHEDULE = (5.0, 30.0)


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
            Decision(outcome="deferred", reason="rate_limited", wait_s=7.5, told=True, spared=1),
            id="a limit is obeyed exactly and spends nothing",
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
        pytest.param(
            Result(outcome="deferred", reason="server_error", retry_after_s=-3),
            1,
            0,
            Decision(outcome="deferred", reason="server_error", wait_s=0.0, told=True),
            id="a time in the past is now",
        ),
    ],
)
def test_a_decision_follows_from_result_and_attempt(
    result: Result, attempt: int, spared: int, expected: Decision
) -> None:
    assert decide(result, attempt=attempt, spared=spared, schedule=SCHEDULE, chance=0.5) == expected


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
