"""Folded names: the one form in which names of people are compared, wherever that is."""

from functools import lru_cache
from unicodedata import category, normalize


def folded(name: str) -> str:
    """The name without what makes no other name: case, composition (`é`, or `e` and an accent), width (`ｊｏｓé`).

    Unicode's compatibility caseless matching. A dot over an `i`, which the Turkish İ leaves behind, counts as none.
    """
    if name.isascii():
        return name.lower()
    return _folded(name)


def fold(text: str) -> str:
    """What `folded` makes, of a text that is not asked for again and again."""
    if text.isascii():
        return text.lower()
    return _fold(text)


def _fold(text: str) -> str:
    text = normalize("NFKD", normalize("NFKD", text).casefold()).casefold()
    return normalize("NFKC", normalize("NFKD", text).replace("i\u0307", "i"))


_folded = lru_cache(maxsize=4_096)(_fold)  # the router folds the same names with every message


def composed(name: str) -> str:
    """The name as it is stored: in NFC, so that the same letters are the same code points."""
    return name if name.isascii() else normalize("NFC", name)


def is_name_character(character: str) -> bool:
    """Whether a username may have it: a letter, a mark upon one that can be seen, a digit, or one of `@ . + - _`."""
    if character.isalnum() or character in "@.+-_":
        return True
    return category(character) in ("Mn", "Mc") and character not in _UNSEEN


# Marks without a shape: joiners and variation selectors, which would make two names of one that is read.
_UNSEEN = frozenset("\u034f\u17b4\u17b5\u180b\u180c\u180d\u180f") | frozenset(
    map(chr, [*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0)])
)
