"""The one form in which names are compared."""

import sys
import unicodedata

import pytest

from notifier.folded import composed, folded


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Alice", "aLICE"),
        ("José", "JOSE\u0301"),
        ("jürgen", "Ju\u0308rgen"),
        ("straße", "STRASSE"),
        ("Σίσυφος", "ΣΊΣΥΦΟΣ"),
        ("İSMAİL", "İsmail"),
        ("İSMAİL", "ismail"),
        ("ａｌｉｃｅ", "alice"),
        ("각", unicodedata.normalize("NFD", "각")),
        ("Å", "\u212b"),
        ("ệ", "e\u0302\u0323"),
        ("ᾳ", "ΑΙ"),
    ],
)
def test_names_that_are_the_same_to_people(one: str, other: str) -> None:
    assert folded(one) == folded(other)
    assert composed(unicodedata.normalize("NFD", one)) == unicodedata.normalize("NFC", one)


@pytest.mark.parametrize(
    ("one", "other"), [("jose", "josé"), ("ismail", "ısmaıl"), ("अमित", "अमत"), ("", " "), ("a", "а")]
)
def test_names_that_are_not(one: str, other: str) -> None:
    assert folded(one) != folded(other)


def test_folding_again_and_any_form_of_what_is_folded_change_nothing() -> None:
    for character in map(chr, range(sys.maxunicode + 1)):
        if unicodedata.category(character)[0] in "LMNSP":
            name = folded(f"x{character}")
            assert folded(name) == name, hex(ord(character))
            for form in ("NFC", "NFD", "NFKC", "NFKD"):
                assert folded(unicodedata.normalize(form, f"x{character}")) == name, hex(ord(character))
            if character != "ı":  # whose capital is an ordinary I
                upper = f"x{character}".upper().lower()
                assert folded(upper) == folded(f"x{character}".lower()), hex(ord(character))
