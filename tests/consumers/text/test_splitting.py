import html
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise

import pytest
import regex  # type: ignore[import-untyped]  # it has no types
from hypothesis import given, settings
from hypothesis import strategies as st

from consumers.text.splitting import cut_marked, split_marked
from consumers.text.text import utf16_units
from notifier import Marked, Span
from notifier.marked import Style
from notifier.plain_text import is_blank

WORDS = [
    "build",
    "a",
    "ein-langes-Wort",
    "👨‍👩‍👧‍👦",
    "🇩🇪🇺🇦",
    "한국어",
    "தமிழ்",
    "é",
    "x" * 70,
    "\n",
    "\n\n",
    "\n\n\n",
    "  ",
    "\t",
    "\u200b",
]
ADDRESS = "https://example.org/a/b?c=d"
STYLES: Sequence[Style] = ("bold", "italic", "code", "pre", "link")


def utf8_bytes(text: str) -> int:
    return len(text.encode())


def as_html(text: Marked) -> str:
    """As a service takes it whose markup counts."""
    made = ""
    at = 0
    for span in sorted(
        (span for span in text.spans if span.style in ("link", "code", "pre")), key=lambda one: one.start
    ):
        made += html.escape(text.text[at : span.start])
        inner = html.escape(text.text[span.start : span.end])
        made += f'<a href="{span.value}">{inner}</a>' if span.style == "link" else f"<code>{inner}</code>"
        at = span.end
    return made + html.escape(text.text[at:])


@st.composite
def texts(draw: st.DrawFn) -> Marked:
    """Texts of words, each in some style or none, with code blocks and addresses among them."""
    text = Marked("")
    for word, style in draw(
        st.lists(
            st.tuples(
                st.one_of(st.sampled_from(WORDS), st.just(ADDRESS), st.text(max_size=12)),
                st.sampled_from([None, *STYLES]),
            ),
            max_size=25,
        )
    ):
        if style == "pre":
            word = "\n".join([word] * draw(st.integers(1, 12))) or "pre"
        piece = Marked(word)
        if style is not None and word:
            value = ADDRESS if style == "link" else "python" if style == "pre" else ""
            piece = Marked(word, (Span(start=0, end=len(word), style=style, value=value),))
        text = text + piece + draw(st.sampled_from(["", " ", " ", "\n"]))
    return text


def unnumbered(parts: Sequence[Marked]) -> list[Marked]:
    if len(parts) == 1:
        return list(parts)
    heads = [f"{number}/{len(parts)}\n" for number in range(1, len(parts) + 1)]
    assert [part.text[: len(head)] for part, head in zip(parts, heads, strict=True)] == heads
    return [part.cut(len(head), len(part.text)) for part, head in zip(parts, heads, strict=True)]


def without_space(text: str) -> str:
    return "".join(character for character in text if not is_blank(character))


def styled(text: Marked) -> list[tuple[str, frozenset[tuple[str, str]]]]:
    """Each character that shows, with what it looks like."""
    looks: list[set[tuple[str, str]]] = [set() for _ in text.text]
    for span in text.spans:
        for at in range(span.start, span.end):
            looks[at].add((span.style, span.value))
    return [(one, frozenset(look)) for one, look in zip(text.text, looks, strict=True) if not is_blank(one)]


@given(text=texts(), limit=st.integers(64, 200), measure=st.sampled_from([utf16_units, utf8_bytes, len]))
@settings(max_examples=80, deadline=None)
def test_parts_fit_are_not_blank_and_lose_nothing(text: Marked, limit: int, measure: Callable[[str], int]) -> None:
    parts = split_marked(text, limit, parts=200, measure=measure)
    assert parts is not None
    pieces = unnumbered(parts) if parts else []
    assert all(measure(part.text) <= limit for part in parts)
    assert not any(is_blank(piece.text) for piece in pieces)
    assert [one for piece in pieces for one in styled(piece)] == styled(text)
    for part in parts:
        assert all(0 <= span.start < span.end <= len(part.text) for span in part.spans)


@given(text=texts(), limit=st.integers(64, 200))
@settings(max_examples=80, deadline=None)
def test_no_cut_is_within_what_people_see_as_a_character(text: Marked, limit: int) -> None:
    parts = split_marked(text, limit, parts=200)
    assert parts is not None
    pieces = unnumbered(parts) if parts else []
    cut = [cluster for piece in pieces for cluster in regex.findall(r"\X", piece.text)]
    whole = regex.findall(r"\X", text.text)
    assert [one for one in cut if not is_blank(one)] == [one for one in whole if not is_blank(one)]


@given(text=texts(), limit=st.integers(100, 200))
@settings(max_examples=80, deadline=None)
def test_what_fits_a_part_is_in_one(text: Marked, limit: int) -> None:
    text = text.replaced(
        re.compile(r"[^\n -~]"), "x"
    )  # a character that is longer than a unit may join two links to one
    parts = split_marked(text, limit, parts=200)
    assert parts is not None
    room = limit - len("200/200\n")
    at = 0
    cuts = []  # pairs of places: where a piece ends and the next one begins
    for piece, following in pairwise(unnumbered(parts)):
        end = text.text.index(piece.text, at) + len(piece.text)
        at = text.text.index(following.text.split("\n")[0], end)
        cuts.append((end, at))
    for span in text.spans:
        if span.style in ("link", "code", "pre") and span.end - span.start <= room:
            assert not any(span.start < place < span.end for cut in cuts for place in cut), span
    for word in re.finditer(r"[^\s<>\"`]+", text.text):  # addresses without a blank between them are one
        marked = any(span.start < word.end() and word.start() < span.end for span in text.spans)
        if ADDRESS in word[0] and len(word[0]) <= room and not marked:
            first = word.start() + word[0].index(ADDRESS)
            assert not any(first < place < word.end() for cut in cuts for place in cut), word[0]


@given(text=texts(), limit=st.integers(160, 300))
@settings(max_examples=60, deadline=None)
def test_parts_fit_as_the_service_is_told_them(text: Marked, limit: int) -> None:
    parts = split_marked(text, limit, parts=400, write=as_html)
    assert parts is not None
    assert all(len(as_html(part)) <= limit for part in parts if part.text.isascii())
    assert without_space("".join(piece.text for piece in (unnumbered(parts) if parts else []))) == without_space(
        text.text
    )


@given(text=texts(), limit=st.integers(64, 200), parts=st.integers(1, 4))
@settings(max_examples=80, deadline=None)
def test_what_does_not_fit_is_told(text: Marked, limit: int, parts: int) -> None:
    split = split_marked(text, limit, parts=parts)
    cut = cut_marked(text, limit, parts=parts)
    assert len(cut) <= parts
    assert all(utf16_units(part.text) <= limit for part in cut)
    if split is not None:
        assert cut == split
    else:
        left = re.search(r"… (\d+) characters are left out$", cut[-1].text)
        assert left is not None
        assert 0 < int(left[1]) <= len(text.text)


def marked(text: str, words: str = "", style: Style = "code") -> Marked:
    """The text, and within it some words in a style."""
    start = text.index(words)
    value = ADDRESS if style == "link" else ""
    return Marked(text, (Span(start=start, end=start + len(words), style=style, value=value),) if words else ())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(marked("a" * 64), ["a" * 64], id="just fits"),
        pytest.param(marked(" \n"), [], id="blank"),
        pytest.param(
            marked("a" * 30 + "\n\n" + "b c\n" * 7 + "d" * 9), ["a" * 30, "b c\n" * 7 + "d" * 9], id="paragraph"
        ),
        pytest.param(marked("a" * 30 + "\n" + "b c " * 9 + "d"), ["a" * 30, "b c " * 9 + "d"], id="line"),
        pytest.param(marked("a " * 20 + "b" * 40), ["a " * 19 + "a", "b" * 40], id="word"),
        pytest.param(marked("a" * 70), ["a" * 58, "a" * 12], id="hard"),
        pytest.param(marked("a" * 40 + "(" + ADDRESS + ")"), ["a" * 40 + "(", ADDRESS + ")"], id="address"),
        pytest.param(
            marked("see this one: " + "(b" + "c d " * 13, "c d " * 13, "link"),
            ["see this one:", "(b" + "c d " * 13],
            id="link, before its word",
        ),
        pytest.param(marked("xyz abc\n\n" + "a\n" * 28 + "b", "a\n" * 28), ["xyz abc", "a\n" * 28 + "b"], id="code"),
        pytest.param(
            marked("log:\n" + "line\n" * 20, "line\n" * 20, "pre"),
            ["log:\n" + "line\n" * 9 + "line", "line\n" * 10],
            id="a longer block",
        ),
        pytest.param(marked("a" * 40 + "\n" * 200 + "b" * 40), ["a" * 40, "b" * 40], id="many blank lines"),
    ],
)
def test_splitting(text: Marked, expected: list[str]) -> None:
    parts = split_marked(text, 64)
    assert parts is not None
    assert [piece.text for piece in (unnumbered(parts) if parts else [])] == expected


def test_a_longer_block_becomes_one_in_each_part() -> None:
    text = Marked("line\n" * 20, (Span(start=0, end=100, style="pre", value="python"),))
    parts = split_marked(text, 64)
    assert parts is not None
    assert [part.spans for part in parts] == [
        (Span(start=4, end=4 + len("line\n" * 11) - 1, style="pre", value="python"),),
        (Span(start=4, end=4 + len("line\n" * 9), style="pre", value="python"),),
    ]


def test_a_link_whose_address_fits_no_part_becomes_its_words() -> None:
    long = Span(start=0, end=4, style="link", value="https://example.org/" + "x" * 100)
    short = Span(start=10, end=14, style="link", value="https://x/")
    parts = split_marked(Marked("here ... there" * 8, (long, short)), 80, write=as_html)
    assert parts is not None
    assert [span for part in parts for span in part.spans] == [replace(short, start=14, end=18)]


def test_a_character_longer_than_a_part_is_cut_all_the_same() -> None:
    text = Marked("a" + "\u0301" * 300)
    parts = split_marked(text, 64)
    assert parts is not None
    assert "".join(piece.text for piece in unnumbered(parts)) == text.text


@pytest.mark.parametrize("piece", ["🇩🇪", "\u0301", "https://", "a", "a b\n", "\u200b"])
def test_a_large_hostile_text_is_quick(piece: str) -> None:
    text = "x" + piece * 40_000
    styles: Sequence[Style] = ("link", "code", "pre")
    spans = tuple(Span(start=at, end=at + 2, style=styles[at % 3], value="https://x") for at in range(0, 3_000, 2))
    split_marked(Marked(text, spans), 4096)  # what is quadratic takes hours
    cut_marked(Marked(text, spans), 4096, write=as_html)


def test_thirty_thousand_characters_arrive_whole_in_ten_parts() -> None:
    line = "Ошибка 🇺🇦 👨‍👩‍👧‍👦 빌드 실패 தமிழ் мы https://example.org/builds/12345 done. "
    text = Marked("")
    while len(text.text) < 30_000:
        start = len(text.text) + len(line)
        text = text + line + Marked("def f():\n    return 1\n", (Span(start=0, end=22, style="pre", value="python"),))
        assert text.spans[-1].start == start
    parts = split_marked(text, 4096)
    assert parts is not None
    assert len(parts) <= 10
    assert [one for piece in unnumbered(parts) for one in styled(piece)] == styled(text)
