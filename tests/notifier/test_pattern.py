"""Patterns: what RE2 is let do, and how much of a text a costly one sees."""

import pytest

from notifier.message import MAX_BYTES
from notifier.pattern import MAX_INSTRUCTIONS, Pattern
from tests.rigs.candidates import about, make


def test_the_more_a_pattern_compiles_to_the_less_of_a_long_text_it_sees() -> None:
    simple, costly = Pattern("needle"), Pattern("(?i)(n|e|ne|en){500}needle|needle")
    assert simple.reach > MAX_BYTES  # any message whole
    # So a pattern of the permitted size sees 40,000 bytes at least.
    assert costly.reach * MAX_INSTRUCTIONS >= 100_000_000
    long = "-" * costly.reach + "needle"
    assert simple.occurs_in(long)
    assert not costly.occurs_in(long)
    assert costly.occurs_in("needle" + long)
    filter_ = make("regex", pattern=costly.text)
    assert f"(of which the first {costly.reach} bytes are searched) does not match" in filter_.says(about(long))


def test_re2_writes_nothing_to_standard_error(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="RE2 syntax: missing"):
        Pattern("(")
    with pytest.raises(ValueError, match="too costly"):
        Pattern(r"\pL{1000}")
    assert capfd.readouterr() == ("", "")
