"""Marked text: characters and what they look like, kept apart, so that nothing in a text of others becomes markup.

Each consumer renders it for its service: Telegram by entities, e-mail by HTML, a service without markup by `plain`. A template
marks by the filters `bold`, `italic`, `code`, `pre` and `link`; what a message says is never read as markup.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

Style = Literal["bold", "italic", "code", "pre", "link"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Span:
    """The characters [start, end) of a text in one style."""

    start: int  # code points
    end: int
    style: Style
    value: str = ""  # address of a `link` (http, https or mailto), language of a `pre`, or empty


@dataclass(frozen=True, slots=True)
class Marked:
    """A text and its spans, by start, the outer one first. Spans nest or follow one another; none crosses another.

    What texts and templates make keeps to more: no span is empty, none holds or lies in a `code` or `pre`, none lies in one of
    its own style, and a `pre` begins and ends with a line.
    """

    text: str
    spans: tuple[Span, ...] = ()

    def __radd__(self, other: str) -> "Marked":
        return Marked(other) + self

    def __add__(self, other: "Marked | str") -> "Marked":
        other = Marked(other) if isinstance(other, str) else other
        shift = len(self.text)
        moved = (replace(span, start=span.start + shift, end=span.end + shift) for span in other.spans)
        return Marked(self.text + other.text, (*self.spans, *moved))

    def plain(self) -> str:
        """The text alone. The address of a link follows its words in parentheses, unless they are the address."""
        text = self.text
        for span in sorted(self.spans, key=lambda one: one.end, reverse=True):
            if span.style == "link" and span.value and self.text[span.start : span.end] != span.value:
                text = f"{text[: span.end]} ({span.value}){text[span.end :]}"
        return text

    def cut(self, start: int, end: int) -> "Marked":
        """The characters [start, end) with the parts of the spans within them."""
        return Marked(self.text[start:end], tuple(_moved(self.spans, start, end)))

    def replaced(self, pattern: re.Pattern[str], by: str | Callable[[re.Match[str]], str] = "") -> "Marked":
        """The text with something else in place of each match, once, from left to right. `by` is taken as it is.

        A span keeps its other characters, and what is put in where it had the match's first one; an empty span is dropped.
        """
        pieces: list[str] = []
        changes: list[tuple[int, int, int]] = []  # start and end of each match, and how long its replacement is
        at = 0
        for found in pattern.finditer(self.text):
            new = by if isinstance(by, str) else by(found)
            pieces += (self.text[at : found.start()], new)
            changes.append((*found.span(), len(new)))
            at = found.end()
        if not changes:
            return self
        return Marked("".join((*pieces, self.text[at:])), tuple(_shifted(self.spans, changes)))


def styled(text: str, style: Style, value: str = "") -> Marked:
    """The text, all of it in one style."""
    return Marked(text, (Span(start=0, end=len(text), style=style, value=value),) if text else ())


def _moved(spans: Iterable[Span], start: int, end: int) -> Iterable[Span]:
    for span in spans:
        first, last = max(span.start, start), min(span.end, end)
        if first < last:
            yield Span(start=first - start, end=last - start, style=span.style, value=span.value)


def _shifted(spans: Sequence[Span], changes: Sequence[tuple[int, int, int]]) -> Iterable[Span]:
    """The spans where their characters are after the changes."""
    borders = sorted({span.start for span in spans} | {span.end for span in spans})
    place: dict[int, int] = {}
    shift = 0
    waiting = iter(borders)
    border = next(waiting, None)
    for start, end, length in changes:
        while border is not None and border <= start:
            place[border] = border + shift
            border = next(waiting, None)
        while border is not None and border < end:  # within what is replaced: behind what is put in
            place[border] = start + shift + length
            border = next(waiting, None)
        shift += length - (end - start)
    while border is not None:
        place[border] = border + shift
        border = next(waiting, None)
    for span in spans:
        first, last = place[span.start], place[span.end]
        if first < last:
            yield replace(span, start=first, end=last)
