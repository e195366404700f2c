"""Entities: a marked text as the Bot API is told it, with nothing to escape, and how it is cut. aiogram is not imported here.

https://core.telegram.org/bots/api#messageentity. Of more than 100 entities the rest is ignored, and the addresses of all links
together have a limit of about 9500 bytes (tdlib/telegram-bot-api#165), so a text with more goes in more parts.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from consumers.text.splitting import cut_marked, split_marked
from consumers.text.text import utf16_units
from notifier import Marked, Span

MAX_TEXT = 4096  # UTF-16 units; core.telegram.org/bots/api#sendmessage says characters, which are never more
MAX_CAPTION = 1024  # the same, core.telegram.org/bots/api#senddocument
MAX_PARTS = 10
_MAX_ENTITIES = 100
_MAX_ADDRESSES = 8000  # bytes
_TYPES = {"bold": "bold", "italic": "italic", "code": "code", "pre": "pre", "link": "text_link"}


def entities_of(text: Marked) -> list[dict[str, Any]]:
    """The spans of a text: `{"type", "offset", "length"}` in UTF-16 units, with `url` or `language`."""
    units = _units(text)
    found = []
    for span in text.spans:
        entity: dict[str, Any] = {"type": _TYPES[span.style], "offset": units[span.start]}
        entity["length"] = units[span.end] - units[span.start]
        if span.value and span.style in ("link", "pre"):
            entity["url" if span.style == "link" else "language"] = span.value
        found.append(entity)
    return found


def parts_of(text: Marked) -> Sequence[Marked] | None:
    """The text in at most MAX_PARTS texts that Telegram takes; None where it does not fit into so many."""
    return split_marked(text, MAX_TEXT, parts=MAX_PARTS, write=_weighed)


def parts_with_rest_left_out(text: Marked) -> Sequence[Marked]:
    """The same of a text that is longer; the last part says how much is left out."""
    return cut_marked(text, MAX_TEXT, parts=MAX_PARTS, write=_weighed)


def caption_of(text: Marked) -> Marked:
    """The head of a text, as the caption of the document that has all of it."""
    (head,) = cut_marked(text, MAX_CAPTION, parts=1, write=_weighed, note=lambda left_out: "…")
    return head


def with_links_of_the_web(text: Marked) -> Marked:
    """The text with the address behind the words of each link that is not `http` or `https`: Telegram knows no others."""
    return _written_out(text, [span for span in text.spans if span.style == "link" and not _is_of_the_web(span)])


def content_of(text: Marked) -> str:
    """The whole text without markup, for a document: with the addresses of all links. As `Marked.plain`, however long it is."""
    return _written_out(text, [span for span in text.spans if span.style == "link" and span.value]).text


def without_markup(text: Marked) -> Marked:
    """The text with nothing marked: with the addresses of its links where they fit in, else its words alone."""
    plain = text.plain()
    return Marked(plain if utf16_units(plain) <= MAX_TEXT else text.text)


def _is_of_the_web(link: Span) -> bool:
    return link.value.lower().startswith(("http://", "https://"))


def _written_out(text: Marked, links: Sequence[Span]) -> Marked:
    """The text with the addresses of some of its links behind their words, and these links unmarked; other marks grow with it."""
    pieces: list[str] = []
    places: list[int] = []  # where something is put in
    shifts = [0]  # by how much what stands behind so many of the places is moved
    at = 0
    for link in sorted(links, key=lambda link: link.end):
        address = link.value.removeprefix("mailto:")
        if text.text[link.start : link.end] != address:
            pieces += (text.text[at : link.end], f" ({address})")
            places.append(link.end)
            shifts.append(shifts[-1] + len(pieces[-1]))
            at = link.end
    gone = frozenset(links)
    spans = (
        replace(
            span,
            start=span.start + shifts[bisect_right(places, span.start)],
            end=span.end + shifts[bisect_left(places, span.end)],
        )
        for span in text.spans
        if span not in gone
    )
    return Marked("".join((*pieces, text.text[at:])), tuple(spans))


def _weighed(text: Marked) -> str:
    """What is measured of a part: its text, and as much as no part may have where it has too much markup."""
    addresses = sum(len(span.value.encode()) for span in text.spans if span.style == "link")
    fits = len(text.spans) <= _MAX_ENTITIES and addresses <= _MAX_ADDRESSES
    return text.text if fits else text.text + " " * (MAX_TEXT + 1)


def _units(text: Marked) -> dict[int, int]:
    """Place of a character → the UTF-16 units before it, for the ends of all spans."""
    units: dict[int, int] = {}
    at = count = 0
    for place in sorted({place for span in text.spans for place in (span.start, span.end)}):
        count += utf16_units(text.text[at:place])
        at = units[place] = place
        units[place] = count
    return units
