"""Words that texts are found by."""

import sys
import unicodedata

import pytest

from control_api.history.words import MAX_LETTERS, words_of


@pytest.mark.parametrize(
    ("asked", "text"),
    [
        ("BUILD", "the build failed"),
        ("сборка", "СБОРКА упала"),
        ("ёлка", "Елка"),
        ("йод", unicodedata.normalize("NFD", "Йод")),
        (unicodedata.normalize("NFD", "café"), "CAFÉ"),
        ("strasse", "Straße"),
        ("ﬁle", "FILE"),
        ("jose", "ｊｏｓｅ"),
        ("irem", "İREM"),
        ("ΣΟΦΟΣ", "σοφος"),
        ("错误", "系统错误日志"),
        ("エラー", "通信エラー"),
        ("न्यूयॉर्क", "न्यूयॉर्क में"),
        ("NEAR(a b)", "b, a: near"),
        ('"build" OR *', "or build"),
        ("build-42", "build 42"),
        ("a\0b", "a b"),
        ("😀 ok", "ok"),
    ],
)
def test_the_same_letters_are_the_same_words(asked: str, text: str) -> None:
    assert words_of(asked)
    assert set(words_of(asked)) <= set(words_of(text))


def test_words_are_letters_and_digits_alone_however_odd_the_text() -> None:
    everything = [chr(code) for code in range(sys.maxunicode + 1)]
    for start in range(0, len(everything), 4096):
        for word in words_of(" x".join(everything[start : start + 4096])):
            assert word.isprintable()
            assert not set(word) & set("'\"\\*:&|!()<>%_ \0"), word
    assert words_of("\0\"'%_ *-:()😀") == []


def test_words_are_bounded_and_each_is_there_once() -> None:
    assert words_of("b a b " + "x" * 5000) == ["b", "a", "x" * MAX_LETTERS]
