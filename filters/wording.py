"""Wording: how filters put a person's texts into a sentence."""

from collections.abc import Sequence

from notifier.grapheme import shortened

_SHOWN_CHARACTERS = 80
_SHOWN_TEXTS = 5


def quoted(text: str) -> str:
    """The text in quotation marks, on one line, at most 80 characters of it."""
    return repr(shortened(text, _SHOWN_CHARACTERS))


def listed(texts: Sequence[str], word: str = "or") -> str:
    """The texts as a list in a sentence: `'a', 'b' or 'c'`. After five texts: how many more there are."""
    shown = [quoted(text) for text in texts[:_SHOWN_TEXTS]]
    if len(texts) > _SHOWN_TEXTS:
        shown.append(f"{len(texts) - _SHOWN_TEXTS} more")
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} {word} {shown[-1]}"
