"""Held: what is counted of a request counts until it ends, and nothing after."""

import pytest

from control_api.http.held import MAX_HELD_BYTES, Held, Share
from control_api.http.problems import Problem


def test_a_request_that_ended_gives_all_back_and_its_thread_is_stopped() -> None:
    held = Held()
    for _ in range(2):
        share, other = Share(held), Share(held)
        share.hold(MAX_HELD_BYTES)
        with pytest.raises(Problem, match="too large together"):
            other.hold(1)
        share.release()
        with pytest.raises(Problem, match="given up"):
            share.hold(MAX_HELD_BYTES)
        other.hold(MAX_HELD_BYTES - 1)
        other.release()
