"""Markup: marked text as the HTML that MAX takes.

Only the tags that dev.max.ru/docs-api/use-cases/sending-messages/text-formatting names; everything else is escaped.
"""

import re  # for our own constant patterns
from collections.abc import Mapping
from html import escape

from notifier import Marked, Span
from notifier.marked import Style

_TAGS: Mapping[Style, str] = {"bold": "b", "italic": "i", "code": "code", "pre": "pre"}
_APP_LINK = re.compile("(?<=max:)(?=//)", re.IGNORECASE)  # `max://user/1` mentions a person
_BREAK = "\u200b"  # shows nothing
_MAILBOX = re.compile("^mailto:", re.IGNORECASE)


def html_of(text: Marked) -> str:
    """The text in HTML, its spans as tags that nest."""
    pieces: list[str] = []
    open_spans: list[Span] = []
    at = 0
    for span in sorted(text.spans, key=lambda one: (one.start, -one.end)):
        while open_spans and open_spans[-1].end <= span.start:
            at = _close(text.text, open_spans.pop(), at, pieces)
        pieces += (escape(text.text[at : span.start], quote=False), _opening(span))
        at = span.start
        open_spans.append(span)
    while open_spans:
        at = _close(text.text, open_spans.pop(), at, pieces)
    return "".join((*pieces, escape(text.text[at:], quote=False)))


def harmless(text: Marked) -> Marked:
    """The text without addresses that act inside the app."""
    return text.replaced(_APP_LINK, _BREAK)


def _close(text: str, span: Span, at: int, pieces: list[str]) -> int:
    pieces += (escape(text[at : span.end], quote=False), _closing(span, text[span.start : span.end]))
    return span.end


def _opening(span: Span) -> str:
    if span.style == "link":
        return f'<a href="{escape(span.value)}">' if _is_web(span) else ""
    return f"<{_TAGS[span.style]}>"


def _closing(span: Span, words: str) -> str:
    if span.style != "link":
        return f"</{_TAGS[span.style]}>"
    if _is_web(span):
        return "</a>"
    address = _MAILBOX.sub("", span.value)  # MAX knows no such links, so it is written out
    return "" if address in (span.value, words) else escape(f" ({_APP_LINK.sub(_BREAK, address)})", quote=False)


def _is_web(span: Span) -> bool:
    return span.value.lower().startswith(("https://", "http://"))
