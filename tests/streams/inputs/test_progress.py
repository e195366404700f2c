"""A stream that stands still while its topic grows is noticed."""

import time

import pytest

from streams.inputs.progress import Progress


@pytest.mark.parametrize(
    ("steps", "stalled"),
    [
        pytest.param([(0, 5, 5), (70, 5, 5)], [], id="nothing to do"),
        pytest.param([(0, 5, 9), (59, 5, 12)], [], id="not yet"),
        pytest.param([(0, 5, 9), (61, 5, 12)], [("work", 0)], id="stands still while it grows"),
        pytest.param([(0, 5, 9), (61, 5, 9)], [], id="stands still and so does the end"),
        pytest.param([(0, 5, 9), (40, 6, 12), (80, 6, 15)], [], id="moved in between"),
        pytest.param([(0, 5, 5), (100, 5, 9), (159, 5, 12)], [], id="the clock begins with the first record"),
    ],
)
def test_a_stream_that_stands_still_is_noticed(
    steps: list[tuple[float, int, int]], stalled: list[tuple[str, int]]
) -> None:
    progress = Progress(stall_s=60)
    found = [progress.stalled({("work", 0): (offset, end)}, at) for at, offset, end in steps]
    assert found[-1] == stalled


def test_a_partition_that_went_is_forgotten() -> None:
    progress = Progress(stall_s=60)
    start = time.monotonic()
    progress.stalled({("work", 0): (5, 9)}, start)
    progress.stalled({}, start + 30)
    assert progress.stalled({("work", 0): (5, 12)}, start + 70) == []


def _found(
    *steps: tuple[float, int, dict[int, tuple[int, int]]],
) -> list[list[int]]:
    """What is stalled after each step: a time, a number that grows with work, and (finished, end) by partition."""
    progress = Progress(stall_s=60)
    return [
        [
            partition
            for _, partition in progress.stalled(
                {("work", number): place for number, place in places.items()}, at, worked
            )
        ]
        for at, worked, places in steps
    ]


def test_a_batch_at_work_for_minutes_is_no_stall() -> None:
    steps = [(float(at), at // 5, {0: (0, 1000 + at), 1: (7, 7 + at)}) for at in range(0, 600, 5)]
    assert not any(_found(*steps))


def test_a_partition_that_waits_while_another_moves_is_not_stalled() -> None:
    steps = [(float(at), 0, {0: (at // 50, 1000 + at), 1: (0, 5 + at)}) for at in range(600)]
    assert not any(_found(*steps))


def test_the_first_look_after_a_long_slice_finds_that_it_was_judged() -> None:
    """Judging blocks the loop in which the detector is asked, so it may be asked only once in minutes."""
    assert not any(_found((0, 0, {0: (0, 10)}), (200, 1, {0: (0, 20)}), (259, 1, {0: (0, 30)}), (400, 2, {0: (0, 40)})))


def test_a_worker_that_stops_for_good_is_noticed_a_minute_after_its_last_work() -> None:
    busy = [(float(at), at, {0: (0, 10 + at), 1: (3, 3)}) for at in range(100)]
    stuck = [(float(at), 99, {0: (0, 10 + at), 1: (3, 3 + at)}) for at in range(100, 170)]
    found = _found(*busy, *stuck)
    assert not any(found[:160])
    assert found[160] == [0]  # partition 1 grows only since second 100
    assert found[161:] == [[0, 1]] * 9


def test_a_worker_without_work_is_not_stalled_by_the_first_records() -> None:
    assert not any(_found((0, 5, {0: (5, 5)}), (600, 5, {0: (5, 9)}), (659, 5, {0: (5, 12)})))


def test_a_broker_that_is_away_makes_no_stall() -> None:
    assert not any(_found(*((float(at), 3, {0: (5, 90)}) for at in range(600))))
