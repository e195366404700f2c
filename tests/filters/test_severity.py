"""`severity`."""

import pytest

from notifier.outcome import SEVERITIES
from tests.rigs.candidates import about, make


@pytest.mark.parametrize("least", SEVERITIES)
@pytest.mark.parametrize("given_", [*SEVERITIES, None])
def test_severity(least: str, given_: str | None) -> None:
    order = ["debug", "info", "warning", "error", "critical"]
    expected = order.index(given_ or "info") >= order.index(least)
    candidate = about(severity=given_)
    filter_ = make("severity", at_least=least)
    assert filter_.passes(candidate) is expected
    assert f"{'at least' if expected else 'below'} {least}" in filter_.says(candidate)
