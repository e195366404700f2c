"""Grapheme clusters: what people see as one character, and where a text may be cut without cutting one."""

from functools import lru_cache
from typing import Any


@lru_cache(maxsize=1)
def _cluster() -> Any:
    import regex  # type: ignore[import-untyped]  # it has no types; importing it takes long, and ASCII does not need it

    return regex.compile(r"\X")


def boundary(text: str, end: int) -> int:
    """The last place at or before `end` that is within no grapheme cluster; `end` where the first one is longer than that."""
    if end >= len(text):
        return len(text)
    if text[: end + 1].isascii():
        return end - 1 if end > 1 and text[end - 1 : end + 1] == "\r\n" else end
    at = 0
    for found in _cluster().finditer(text):
        if found.end() > end:
            break
        at = found.end()
    return at or end


def stands_alone(text: str, at: int) -> bool:
    """Whether the character at a place, which begins a grapheme cluster, is the whole of it."""
    after = text[at + 1 : at + 2]
    return after.isascii() or _cluster().match(text, at).end() == at + 1


def shortened(text: str, limit: int) -> str:
    """The text with at most `limit` characters; a cut is shown by `…`."""
    return text if len(text) <= limit else text[: boundary(text, limit - 1)] + "…"
