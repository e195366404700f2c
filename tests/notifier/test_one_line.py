"""One line of a text of others: without line ends, bounded."""

import pytest

from notifier.one_line import one_line


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a\r\n b\t\x0bc ", "a b c"),
        ("", ""),
        ("x" * 11, "x" * 9 + "…"),
        ("x" * 10, "x" * 10),
        (TimeoutError(), "TimeoutError"),
    ],
    ids=["white space", "empty", "too long", "just fits", "an error without a text"],
)
def test_a_text_becomes_one_bounded_line(text: object, expected: str) -> None:
    assert one_line(text, 12 if isinstance(text, TimeoutError) else 10) == expected
