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
