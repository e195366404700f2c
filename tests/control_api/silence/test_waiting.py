"""For how long nothing came, what is said of it, and how people write the time within which something is expected."""

from datetime import timedelta
from typing import Any

import pytest

from control_api.silence.notice import back_notice, in_words, silent_notice, silent_status
from control_api.silence.waiting import Waiting
from notifier.definition import ProducerSpec, read_spec
from notifier.errors import InputError
from notifier.record import now


def waiting(**fields: Any) -> Waiting:
    return Waiting(**{"producer": "ci", "every_s": 10.0, "seen": 7, **fields})


def test_time_in_which_nothing_came_adds_up_until_something_is_overdue() -> None:
    one = waiting()
    assert [one.wait(4.0, could_come=True) for _ in range(3)] == [False, False, True]
    assert one.wait(1.0, could_come=True)  # it is asked again until it is known to be silent
    one.silent_since = now()
    assert not one.wait(100.0, could_come=True)


def test_what_comes_begins_the_waiting_anew() -> None:
    one = waiting()
    one.wait(9.0, could_come=True)
    assert [one.arrived(newest) for newest in (None, 7, 3, 8, 8)] == [False, False, False, True, False]
    assert not one.wait(9.0, could_come=True)
    assert one.wait(1.0, could_come=True)


def test_time_in_which_nothing_could_come_raises_no_alarm() -> None:
    one = waiting()
    one.wait(9.9, could_come=True)
    assert not one.wait(1000.0, could_come=False)
    assert not one.wait(9.0, could_come=True)
    assert one.wait(1.0, could_come=True)


def test_a_silence_has_the_same_notices_every_time() -> None:
    since = now() - timedelta(hours=2)
    silent, back = silent_notice("ci", since, 900.0), back_notice("ci", since)
    assert silent.id == silent_notice("ci", since, 900.0).id
    assert silent.id != back.id
    assert (silent.producer, silent.severity, silent.receiver) == ("ci", "warning", None)
    assert "15 minutes" in silent.content
    assert "after 2 hours" in back.content
    status = silent_status("ci", since, 900.0)
    assert (status.kind, status.name, status.state, status.since) == ("producer", "ci", "silent", since)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.2, "less than a second"), (1, "1 second"), (90, "1 minute 30 seconds"), (5400, "1 hour 30 minutes"),
        (90_061, "1 day 1 hour"),
    ],
)  # fmt: skip
def test_spans_are_said_in_words(seconds: float, words: str) -> None:
    assert in_words(seconds) == words


@pytest.mark.parametrize(
    ("written", "seconds"),
    [("15m", 900.0), (900, 900.0), ("90", 90.0), (1.5, 1.5), ("1h30m", 5400.0), ("1 d", 86_400.0), ("2.5S", 2.5), (None, None)],
)  # fmt: skip
def test_what_is_expected_is_written_as_people_say_it(written: Any, seconds: float | None) -> None:
    spec = read_spec("producer", {"type": "push", "expect_every": written})
    assert isinstance(spec, ProducerSpec)
    assert spec.expected_s() == seconds
    assert read_spec("producer", spec.model_dump(mode="json", exclude_defaults=True)) == spec


@pytest.mark.parametrize(
    "written", ["", "m", "15 minutes", "0", 0, "0.5s", "31d", -5, "m15", [], True, float("nan"), 1e300]
)
def test_what_is_no_length_of_time_is_refused(written: Any) -> None:
    with pytest.raises(InputError) as refused:
        read_spec("producer", {"type": "push", "expect_every": written})
    assert refused.value.errors[0].pointer == "/expect_every"
