"""Marks: what a template's filters put around a text, read into spans. How they are written is `template_process`'s."""

import re  # for our own constant patterns
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

from consumers.text.template_process import CLOSE, DIGITS, MARKS, OPEN, STYLES
from notifier.marked import Marked, Span
from notifier.plain_text import is_blank, plain_text

_PARTS = re.compile(f"([{OPEN}])([{DIGITS}]*)|({CLOSE})|[{MARKS}]")
_BLOCK = frozenset({"code", "pre"})


def marked_of(text: str, values: Sequence[str]) -> Marked:
    """The text, plain, with the spans that its marks say, as `Marked` promises. A mark without its other one is no mark."""
    clean, spans = _read(plain_text(text), values)
    return _blocks_on_lines(Marked(clean, tuple(_tidy(clean, spans))))


def _read(text: str, values: Sequence[str]) -> tuple[str, list[Span]]:
    """The text without its marks, and a span for each pair, by start, the outer one first."""
    pieces: list[str] = []
    spans: list[Span | None] = []  # in the order in which they open; None: not closed
    opened: list[tuple[int, int, str, str]] = []  # place in `spans`, start, style and digits
    at = length = 0
    for found in _PARTS.finditer(text):
        pieces.append(text[at : found.start()])
        length += found.start() - at
        at = found.end()
        if found[1]:
            opened.append((len(spans), length, found[1], found[2]))
            spans.append(None)
        elif found[3] and opened:
            place, start, mark, digits = opened.pop()
            spans[place] = Span(start=start, end=length, style=STYLES[OPEN.index(mark)], value=_value(digits, values))
    return "".join((*pieces, text[at:])), [span for span in spans if span is not None]


def _value(digits: str, values: Sequence[str]) -> str:
    number = int("".join(f"{DIGITS.index(digit):x}" for digit in digits[:8]) or "0", 16)
    return values[number] if digits and number < len(values) else ""


def _tidy(text: str, spans: Sequence[Span]) -> Iterator[Span]:
    """The spans without those that show nothing or are within others that do not go with them.

    Of a link and a code within it the link stays. Bold and italic are interrupted by a code.
    """
    kept: list[Span] = []
    around: list[Span] = []
    for span in spans:
        while around and around[-1].end <= span.start:
            around.pop()
        styles = {one.style for one in around}
        wrong = span.style in styles or styles & _BLOCK or (span.style in _BLOCK and "link" in styles)
        nowhere = span.style == "link" and not span.value
        if not wrong and not nowhere and not is_blank(text[span.start : span.end]):
            kept.append(span)
            around.append(span)
    blocks = [span for span in kept if span.style in _BLOCK]
    starts = [block.start for block in blocks]
    parts: list[Span] = []
    for span in kept:
        inner = [] if span.style in _BLOCK else blocks[bisect_left(starts, span.start) : bisect_left(starts, span.end)]
        edges = [span.start, *(edge for block in inner for edge in (block.start, block.end)), span.end]
        for start, end in zip(edges[::2], edges[1::2], strict=True):
            if start < end:
                parts.append(replace(span, start=start, end=end))
    yield from sorted(parts, key=lambda span: (span.start, -span.end))


def _blocks_on_lines(marked: Marked) -> Marked:
    """The text with each `pre` on lines of its own."""
    text = marked.text
    spans = [
        replace(span, end=span.start + len(text[span.start : span.end].rstrip("\n"))) if span.style == "pre" else span
        for span in marked.spans
    ]
    missing = sorted(
        place
        for span in spans
        if span.style == "pre"
        for place in (span.start, span.end)
        if 0 < place < len(text) and text[place - (place == span.start)] != "\n"
    )
    edges = [0, *missing, len(text)]
    lines = [text[start:end] for start, end in pairwise(edges)]
    moved = (
        replace(
            span, start=span.start + bisect_right(missing, span.start), end=span.end + bisect_left(missing, span.end)
        )
        for span in spans
    )
    return Marked("\n".join(lines), tuple(moved))
