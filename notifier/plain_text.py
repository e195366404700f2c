"""Plain text: a text of others without what acts on a terminal or a messenger in place of being read."""

import re  # for our own constant patterns
from functools import lru_cache
from typing import Any

from notifier.marked import Marked

# Escape sequences of terminals: colours and the cursor (CSI); links, titles and the like, which end by BEL or ST (OSC, DCS, SOS,
# PM, APC); all others. One that does not end is no sequence: only what introduces it is taken out, so that no text is lost.
_ESCAPES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]|\x9b(?:[0-?]+[ -/]*[@-~]|m)"
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\0-\x08\n-\x1f\x80-\x9f]*(?:\x07|\x1b\\|\x9c)"
    r"|\x1b[ -/]*[0-~]"
)
_LINE_ENDS = re.compile("\r\n?|[\v\f\x85\u2028\u2029]")
_OVERSTRUCK = re.compile("[^\n\b]\b")  # as `man` makes a letter bold
# What any of these patterns finds, and lone surrogates. Most texts have none.
_ODD = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
# Control characters but tab and line feed, and bidirectional controls, which make a link or a name read as another one.
_CONTROLS = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_SURROGATES = re.compile("[\ud800-\udfff]")


@lru_cache(maxsize=1)
def _visible() -> Any:
    import regex  # type: ignore[import-untyped]  # it has no types; importing it takes long, and ASCII does not need it

    # U+2800, the empty braille pattern, is the one symbol that shows nothing.
    return regex.compile(r"[^\s\p{Default_Ignorable_Code_Point}\p{Cc}\u2800]")


def plain_text(text: str) -> str:
    """The text without terminal sequences, controls (but tab and line feed), turns of direction and lone surrogates."""
    if _ODD.search(text) is None:
        return text
    text = _LINE_ENDS.sub("\n", _ESCAPES.sub("", text))
    return _CONTROLS.sub("", _OVERSTRUCK.sub("", text)).encode(errors="replace").decode()


def plain_marked(text: Marked) -> Marked:
    """The same of a marked text, which keeps its marks."""
    text = text.replaced(_ESCAPES).replaced(_LINE_ENDS, "\n").replaced(_OVERSTRUCK)
    return text.replaced(_CONTROLS).replaced(_SURROGATES, "?")


def is_blank(text: str) -> bool:
    """Whether there is nothing to see in the text: white space, control characters, characters without a shape."""
    return not text.strip() or (not text.isascii() and _visible().search(text) is None)
