"""The clock by which a router in the tests' own process judges."""

import pytest

from tests.rigs.routed import NOW


@pytest.fixture(autouse=True)
def _fixed_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.router.router.now", lambda: NOW)
