"""Words: what texts are found by. The same letters are the same word, whatever their case, composition and width.

A text is found by its words and by their beginnings of three letters or more, never by what stands between them: so nothing
that is asked for is a pattern or an operator. Where a script is written without spaces (Chinese, Japanese, Thai), each letter
is a word. `control_api.history.word_search` looks them up.
"""

import re  # for our own constant patterns
import sys
from functools import cache
from unicodedata import category, is_normalized

from notifier.folded import fold

MAX_LETTERS = 64  # of a word; what is beyond does not tell it from others
BEGINNING = 3  # letters from which a word that is asked for also finds those that begin with it

_ASCII = re.compile("[a-z0-9]+")
# Letters with spaces between words and no marks: Latin, Greek, Cyrillic, Armenian; with them punctuation and pictures.
_PLAIN = re.compile("[\0-\u02ff\u0370-\u0482\u048a-\u0590\u2000-\u20cf\u2100-\u2dff\U0001f000-\U0001ffff]*")
_LETTERS = re.compile(r"[^\W_]+")
# Thai, Lao, Myanmar, Khmer, kana, Chinese characters.
_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
)


def words_of(text: str) -> list[str]:
    """The words of a text, each once, in the order of the text."""
    if text.isascii():
        found = _ASCII.findall(text.lower())
    else:
        folded = _folded(text)
        found = (_LETTERS if _PLAIN.fullmatch(folded) else _any_script()).findall(folded)
    return [word[:MAX_LETTERS] for word in dict.fromkeys(found)]


def _folded(text: str) -> str:
    lower = text.casefold()
    # What is composed before and after has but its case to lose: so the most of all text is spared four more passes.
    plain = is_normalized("NFKC", text) and is_normalized("NFKC", lower) and "\u0307" not in lower
    return (lower if plain else fold(text)).replace("ё", "е")


@cache
def _any_script() -> re.Pattern[str]:
    marks = "".join(
        re.escape(chr(code)) for code in range(0x300, sys.maxunicode + 1 >> 3) if category(chr(code)) in ("Mn", "Mc")
    )
    letter = rf"[^\W_{_UNSPACED}]"
    return re.compile(rf"{letter}+(?:[{marks}]+{letter}*)*|(?=\w)[{_UNSPACED}][{marks}]*")
