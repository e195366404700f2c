"""Grapheme clusters: what people see as one character, and where a text may be cut without cutting one."""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any

_PIECE = 200  # characters; hardly a cluster has more than 20


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
    for place in chain.from_iterable(_ends(text)):
        if place > end:
            break
        at = place
    return at or end


def boundaries(text: str) -> Sequence[int]:
    """All places that are within no grapheme cluster, from 0 to the end."""
    if text.isascii() and "\r" not in text:
        return range(len(text) + 1)
    return [0, *chain.from_iterable(_ends(text))]


def _ends(text: str) -> Iterator[Sequence[int]]:
    """Where each cluster ends. Piece by piece: `regex` counts all flags before each flag, which is quadratic."""
    at = 0
    while at < len(text):
        ends = [at + found.end() for found in _cluster().finditer(text[at : at + _PIECE])]
        if ends[-1] < len(text):  # the last cluster may go on behind the piece
            ends.pop()
        if not ends:  # it is longer than the piece
            ends = [_cluster().match(text, at).end()]
        yield ends
        at = ends[-1]


def shortened(text: str, limit: int) -> str:
    """The text with at most `limit` characters; a cut is shown by `…`."""
    return text if len(text) <= limit else text[: boundary(text, limit - 1)] + "…"
