"""Cleaning and splitting."""

import unicodedata

import pytest
import regex  # type: ignore[import-untyped]  # it has no types
from hypothesis import given, settings
from hypothesis import strategies as st

from consumers.text.splitting import cut_marked
from consumers.text.text import clean_text, utf16_units
from notifier import Marked
from notifier.one_line import one_line
from notifier.plain_text import is_blank

FAMILY = "\U0001f468\u200d\U0001f469\u200d\U0001f467"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("a\u202egpj.exe\u2066b\u2069", "agpj.exeb", id="direction"),
        pytest.param("see TG://resolve?domain=x", "see resolve?domain=x", id="link into the app"),
        pytest.param("tg:tg:////x", "x", id="one within another"),
        pytest.param("stg://b/f x+tg://y (tg://z)", "stg://b/f x+tg://y (z)", id="another scheme that ends so"),
        pytest.param("\x1b[31mFAILED\x1b[0m a\x1b[1;38;5;1m!\x1b[m\x1b[2K\x1b(B", "FAILED a!", id="colours"),
        pytest.param("\x9b31mred\x9b0m \x9bx", "red x", id="colours of 8 bits"),
        pytest.param("\x1b]8;;https://x/\x1b\\log\x1b]8;;\x07, \x1b]0;title\x07b", "log, b", id="links of a terminal"),
        pytest.param("\x1bPq#0;2\x1b\\a\x1b_apc\x9cb", "ab", id="other strings"),
        pytest.param("a\x1b]0;never ended\nb\x1b[31", "a0;never ended\nb31", id="a sequence that does not end"),
        pytest.param("\x1b\x1b[31m[31mx\x1b", "[31mx", id="an escape within another"),
        pytest.param("bell\x07 unit\x1f del\x7f c1\x81", "bell unit del c1", id="control characters"),
        pytest.param(
            "N\bNA\bAME 10%\r20%\r\n\r\nend\u2028x", "NAME 10%\n20%\n\nend\nx", id="line ends, and bold of man"
        ),
        pytest.param("a\0b\ud800c", "ab?c", id="what is no text"),
        pytest.param("שלום, <b>&amp; \U0001f600\n\t", "שלום, <b>&amp; \U0001f600\n\t", id="all else stays"),
    ],
)
def test_cleaning(text: str, expected: str) -> None:
    assert clean_text(text) == expected


def split_text(text: str, limit: int, parts: int = 5) -> list[str]:
    return [part.text for part in cut_marked(Marked(text), limit, parts=parts)]


def without_space(text: str) -> str:
    return "".join(text.split())


def unmarked(parts: list[str]) -> list[str]:
    return [part.partition("\n")[2] for part in parts] if len(parts) > 1 else parts


@given(text=st.text(st.sampled_from("ab \n\U0001f600é\u0301\u200d"), max_size=400), limit=st.integers(64, 120))
@settings(max_examples=300, deadline=None)
def test_parts_fit_are_not_blank_and_lose_nothing(text: str, limit: int) -> None:
    parts = split_text(text, limit, parts=9)
    if is_blank(text):
        assert not parts
        return
    assert all(utf16_units(part) <= limit for part in parts)
    assert all(part.strip() for part in unmarked(parts))
    assert all(part.encode("utf-16") for part in parts)  # raises for half a surrogate pair
    whole = without_space("".join(unmarked(parts)))
    if len(parts) < 9:
        assert whole == without_space(text)


@given(text=st.text(max_size=2000), limit=st.integers(64, 200), parts=st.integers(2, 5))
@settings(max_examples=300, deadline=None)
def test_there_are_never_more_parts_than_asked_for(text: str, limit: int, parts: int) -> None:
    made = split_text(text, limit, parts)
    assert len(made) <= parts
    assert all(utf16_units(part) <= limit for part in made)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("a" * 64, ["a" * 64], id="just fits"),
        pytest.param(" \n", [], id="blank"),
        pytest.param("", [], id="empty"),
        pytest.param("\u2060\u3164\u200b\u2800\ufe0f", [], id="nothing to see"),
        pytest.param("a" * 40 + "\n\n" + "b c\n" * 8, ["1/2\n" + "a" * 40, "2/2\n" + "b c\n" * 8], id="paragraph"),
        pytest.param("a" * 40 + "\n" + "b c " * 8, ["1/2\n" + "a" * 40, "2/2\n" + "b c " * 8], id="line"),
        pytest.param("a" * 40 + " " + "b" * 40, ["1/2\n" + "a" * 40, "2/2\n" + "b" * 40], id="word"),
        pytest.param("a" * 70, ["1/2\n" + "a" * 60, "2/2\n" + "a" * 10], id="hard"),
        pytest.param("\U0001f600" * 33, ["1/2\n" + "\U0001f600" * 30, "2/2\n" + "\U0001f600" * 3], id="UTF-16 units"),
        pytest.param(
            "a" * 57 + FAMILY + "b", ["1/2\n" + "a" * 57, "2/2\n" + FAMILY + "b"], id="a family stays together"
        ),
    ],
)
def test_splitting(text: str, expected: list[str]) -> None:
    assert list(split_text(text, 64)) == expected


CLUSTERS = {
    "flags": "🇩🇪🇫🇷🇺🇦",
    "Hindi": "किसीसर्वरमेंत्रुटि",
    "Thai": "ระบบล้มเหลวที่นี่",
    "Khmer": "ខ្មែរប្រព័ន្ធ",
    "keycaps": "1️⃣2️⃣",
    "tags": "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
    "decomposed Korean": unicodedata.normalize("NFD", "한국어"),
    "decomposed Latin": unicodedata.normalize("NFD", "ệẫő"),
    "families": FAMILY + "👍🏽",
    "accents on blanks": " \u0301",
}


@pytest.mark.parametrize("name", CLUSTERS)
@pytest.mark.parametrize("before", range(4))
def test_nothing_is_cut_within_what_people_see_as_a_character(name: str, before: int) -> None:
    text = "x" * before + CLUSTERS[name] * 60
    whole = regex.findall(r"\X", text)
    cut = [
        cluster for part in unmarked(list(split_text(text, 64, parts=200))) for cluster in regex.findall(r"\X", part)
    ]
    assert cut == whole
    for limit in (10, 11, 12, 13):
        line = regex.findall(r"\X", one_line(text, limit))
        assert line[-1] == "…"
        assert line[:-1] == regex.findall(r"\X", " ".join(text.split()))[: len(line) - 1]


def test_a_character_longer_than_a_part_is_cut_all_the_same() -> None:
    text = "a" + "\u0301" * 300
    assert "".join(unmarked(list(split_text(text, 64, parts=9)))) == text


@pytest.mark.parametrize("piece", ["\x1b]", "\x9d", "\x1b[0", "\b", "a\b", "\x1b", "tg:", "tg:/", "🇩🇪", "\u0301", "\r"])
def test_cleaning_and_splitting_a_large_hostile_text_is_quick(piece: str) -> None:
    split_text(clean_text("x" + piece * 100_000 + "//" * 100_000), 4096)  # what is quadratic takes hours


def test_what_does_not_fit_is_left_out_and_said() -> None:
    text = "x" * 100_000
    parts = split_text(text, 4096)
    assert [part[:4] for part in parts] == ["1/5\n", "2/5\n", "3/5\n", "4/5\n", "5/5\n"]
    sent = sum(part.count("x") for part in parts)
    assert parts[-1].endswith(f"\n… {100_000 - sent} characters are left out")
    assert utf16_units(parts[-1]) <= 4096
    assert sent > 20_000
