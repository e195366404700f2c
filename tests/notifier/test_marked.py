import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from notifier import Marked, Span
from notifier.marked import styled


def test_texts_are_joined_with_their_spans() -> None:
    text = "see " + styled("this", "bold") + " " + styled("page", "link", "https://x")
    assert text.text == "see this page"
    assert text.spans == (
        Span(start=4, end=8, style="bold"),
        Span(start=9, end=13, style="link", value="https://x"),
    )
    assert styled("", "bold") == Marked("")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("see " + styled("this", "link", "https://x") + ".", "see this (https://x).", id="words"),
        pytest.param(styled("https://x", "link", "https://x"), "https://x", id="the address itself"),
        pytest.param(
            styled("a", "link", "https://x") + styled("b", "link", "https://y"), "a (https://x)b (https://y)", id="two"
        ),
        pytest.param(styled("b", "bold"), "b", id="no link"),
    ],
)
def test_the_plain_text_tells_the_addresses(text: Marked, expected: str) -> None:
    assert text.plain() == expected


@pytest.mark.parametrize(
    ("start", "end", "spans"),
    [
        pytest.param(0, 9, [(2, 6)], id="all"),
        pytest.param(2, 6, [(0, 4)], id="the span"),
        pytest.param(3, 5, [(0, 2)], id="within it"),
        pytest.param(0, 3, [(2, 3)], id="its beginning"),
        pytest.param(0, 2, [], id="in front of it"),
        pytest.param(6, 9, [], id="behind it"),
    ],
)
def test_a_part_has_the_parts_of_the_spans(start: int, end: int, spans: list[tuple[int, int]]) -> None:
    text = Marked("012345678", (Span(start=2, end=6, style="bold"),))
    part = text.cut(start, end)
    assert part.text == text.text[start:end]
    assert [(span.start, span.end) for span in part.spans] == spans


@pytest.mark.parametrize(
    ("pattern", "by", "expected", "words"),
    [
        pytest.param("@", "at ", "see at all", "at all", id="at its beginning"),
        pytest.param("see ", "", "@all", "@all", id="in front of it"),
        pytest.param("e @a", "-", "se-ll", "ll", id="over its beginning"),
        pytest.param("ll$", "", "see @a", "@a", id="at its end"),
        pytest.param("@all", "", "see ", None, id="the whole of it"),
        pytest.param(" ?@all", "x", "seex", None, id="more than the whole"),
        pytest.param("zzz", "", "see @all", "@all", id="nothing"),
    ],
)
def test_spans_stay_on_their_characters_where_others_are_replaced(
    pattern: str, by: str, expected: str, words: str | None
) -> None:
    text = ("see " + styled("@all", "bold")).replaced(re.compile(pattern), by)
    assert text.text == expected
    assert [text.text[span.start : span.end] for span in text.spans] == ([] if words is None else [words])


@given(
    pieces=st.lists(st.tuples(st.text("ab", max_size=4), st.booleans()), max_size=12),
    by=st.sampled_from(["", "a", "xyz"]),
)
@settings(max_examples=100, deadline=None)
def test_what_is_replaced_within_a_span_stays_within_it(pieces: list[tuple[str, bool]], by: str) -> None:
    text = Marked("")
    for words, bold in pieces:
        text += styled(words, "bold") if bold else words
    made = text.replaced(re.compile("b"), by)
    assert made.text == text.text.replace("b", by)
    kept = [text.text[span.start : span.end].replace("b", by) for span in text.spans]
    assert [made.text[span.start : span.end] for span in made.spans] == [words for words in kept if words]


def test_what_is_put_in_can_depend_on_what_was_there() -> None:
    text = styled("a1b22", "code").replaced(re.compile("[0-9]+"), lambda found: f"<{len(found[0])}>")
    assert text == styled("a<1>b<2>", "code")
