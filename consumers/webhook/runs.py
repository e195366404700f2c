"""Runs: a marked text as pieces of one look each, for services that are told the look of each piece or mark its ends."""

import re  # for our own constant patterns
from collections.abc import Iterator
from dataclasses import dataclass, replace

from notifier import Marked
from notifier.marked import Span

_WEB = ("http://", "https://", "mailto:")
# An address within a text, which a service makes a link by itself as long as nothing is put into it.
ADDRESS = re.compile(r"https?://[^\s<>\"`]+", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """Characters that look alike."""

    text: str
    bold: bool = False
    italic: bool = False
    code: bool = False
    pre: bool = False  # a block of code
    link: str = ""  # address


def without_marks(text: Marked) -> Marked:
    """The text with nothing marked. The address of a link follows its words, as in `Marked.plain`, however many there are."""
    pieces: list[str] = []
    at = 0
    for span in sorted((span for span in text.spans if span.style == "link" and span.value), key=lambda one: one.end):
        if text.text[span.start : span.end] != span.value:
            pieces += (text.text[at : span.end], f" ({span.value})")
            at = span.end
    return Marked("".join((*pieces, text.text[at:])))


def runs_of(text: Marked) -> Iterator[Run]:
    """The runs of a text, in order."""
    open_: list[Span] = []
    waiting = list(reversed(text.spans))
    at = 0
    while at < len(text.text):
        while waiting and waiting[-1].start <= at:
            open_.append(waiting.pop())
        open_ = [span for span in open_ if span.end > at]
        end = min((span.end for span in open_), default=len(text.text))
        if waiting:
            end = min(end, waiting[-1].start)
        yield _run(text.text[at:end], open_)
        at = end


def lines_of(text: Marked) -> Iterator[list[Run]]:
    """The lines of a text, each as its runs; an empty line has none."""
    line: list[Run] = []
    for run in runs_of(text):
        for number, words in enumerate(run.text.split("\n")):
            if number:
                yield line
                line = []
            if words:
                line.append(replace(run, text=words))
    yield line


def _run(text: str, spans: list[Span]) -> Run:
    styles = {span.style for span in spans}
    links = [span.value for span in spans if span.style == "link" and span.value.lower().startswith(_WEB)]
    return Run(
        text=text,
        bold="bold" in styles,
        italic="italic" in styles,
        code="code" in styles,
        pre="pre" in styles,
        link=links[-1] if links else "",
    )
