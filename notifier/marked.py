"""Marked text: characters and what they look like, kept apart, so that nothing in a text of others becomes markup.

Each consumer renders it for its service: Telegram by entities, e-mail by HTML, a service without markup by `plain`. A template
marks by the filters `bold`, `italic`, `code`, `pre` and `link`; what a message says is never read as markup.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Style = Literal["bold", "italic", "code", "pre", "link"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Span:
    """The characters [start, end) of a text in one style."""

    start: int  # code points
    end: int
    style: Style
    value: str = ""  # address of a `link`, language of a `pre`, or empty


@dataclass(frozen=True, slots=True)
class Marked:
    """A text and its spans, by start. Spans nest or follow one another; none crosses another."""

    text: str
    spans: tuple[Span, ...] = ()

    def plain(self) -> str:
        """The text alone. The address of a link follows its words in parentheses, unless they are the address."""
        text = self.text
        for span in sorted(self.spans, key=lambda one: one.end, reverse=True):
            if span.style == "link" and span.value and text[span.start : span.end] != span.value:
                text = f"{text[: span.end]} ({span.value}){text[span.end :]}"
        return text

    def cut(self, start: int, end: int) -> "Marked":
        """The characters [start, end) with the parts of the spans within them."""
        return Marked(self.text[start:end], tuple(_moved(self.spans, start, end)))


def _moved(spans: Iterable[Span], start: int, end: int) -> Iterable[Span]:
    for span in spans:
        first, last = max(span.start, start), min(span.end, end)
        if first < last:
            yield Span(start=first - start, end=last - start, style=span.style, value=span.value)
