"""`skip_keywords` and `keep_keywords`."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.rigs.candidates import about, make, table


@pytest.mark.predecessor("S-33")
@table(
    ("the keyword itself", "wip", False, "wip", "wip"),
    ("in the whole of a start", "start", False, "art", None),
    ("inside a word", "art", False, "we start", "art"),
    ("case matters", "wip", False, "WIP", None),
    ("case ignored", "WiP", True, "wIp", "WiP"),
    ("case ignored beyond ASCII", "STRASSE", True, "Hauptstraße", "STRASSE"),
    ("over a line end", "a\nb", False, "xa\nbx", "a\nb"),
    ("signs are not a pattern", "a.c", False, "abc", None),
    ("white space is a keyword", " ", False, "a b", " "),
    ("nothing in an empty content", "a", False, "", None),
)
def test_keywords_are_searched_in_the_content(row: tuple[str, bool, str, str | None]) -> None:
    keyword, ignore_case, content, found = row
    skip = make("skip_keywords", skip_keywords=["never there", keyword], ignore_case=ignore_case)
    keep = make("keep_keywords", keep_keywords=["never there", keyword], ignore_case=ignore_case)
    candidate = about(content)
    assert skip.passes(candidate) is (found is None)
    assert keep.passes(candidate) is (found is not None)
    if found is not None:
        assert skip.says(candidate).startswith(f"drops: the content contains {found!r}")
        assert keep.says(candidate).startswith(f"passes: the content contains {found!r}")


def test_keywords_are_not_searched_in_the_title() -> None:
    candidate = about("done", title="wip", url="wip", sender="wip")
    assert make("skip_keywords", skip_keywords=["wip"]).passes(candidate)
    assert not make("keep_keywords", keep_keywords=["wip"]).passes(candidate)


@given(st.lists(st.text(min_size=1, max_size=3), min_size=1, max_size=5), st.text(max_size=20), st.booleans())
def test_keywords_agree_with_a_naive_model(keywords: list[str], content: str, ignore_case: bool) -> None:
    def folded(text: str) -> str:
        return text.casefold() if ignore_case else text

    expected = False
    for keyword in keywords:
        if folded(content).find(folded(keyword)) >= 0:
            expected = True
    assert make("keep_keywords", keep_keywords=keywords, ignore_case=ignore_case).passes(about(content)) is expected
    assert make("skip_keywords", skip_keywords=keywords, ignore_case=ignore_case).passes(about(content)) is not expected
