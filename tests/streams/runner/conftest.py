"""The fake producer forgets between two tests."""

import pytest

from tests.rigs.runner_rig import Say, Tail


@pytest.fixture(autouse=True)
def _fresh_fakes() -> None:
    Say.asked.clear()
    Say.cursors.clear()
    Say.gates.clear()
    Say.closed = 0
    for kept in (Tail.began, Tail.ended, Tail.queues):
        kept.clear()
