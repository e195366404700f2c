"""JSON Pointers: written and read as RFC 6901 says."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier.pointer import pointer, pointer_parts


@pytest.mark.parametrize(
    ("parts", "text"),
    # The examples of RFC 6901, section 5, among them; "~01" must become "~1" and not "/".
    [([], ""), (["foo", 0], "/foo/0"), ([""], "/"), (["a/b"], "/a~1b"), (["m~n"], "/m~0n"), (["~1"], "/~01")],
)
def test_a_pointer_is_written_and_read(parts: list[object], text: str) -> None:
    assert pointer(parts) == text
    assert pointer_parts(text) == [str(part) for part in parts]
    assert pointer(parts, "/below") == "/below" + text


@given(st.lists(st.text()))
def test_reading_is_the_opposite_of_writing(parts: list[str]) -> None:
    assert pointer_parts(pointer(parts)) == parts
