"""HTML: marked text as the HTML part of a mail. Every character of the text is escaped, so none of it becomes markup."""

from collections.abc import Iterator
from html import escape
from urllib.parse import urlsplit

from notifier import Marked, Span
from notifier.plain_text import plain_text

_SCHEMES = frozenset({"http", "https", "mailto"})  # of links; others act on the reader's machine
_TAGS = {"bold": "b", "italic": "i", "code": "code", "pre": "pre", "link": "a"}
# Mail programs know no style sheets; `pre-wrap` keeps blanks, and Outlook, which does not know it, breaks lines at <br>.
_PAGE = (
    '<!DOCTYPE html>\n<html><head><meta charset="utf-8"></head><body>'
    '<div style="font-family: sans-serif; white-space: pre-wrap">{}</div></body></html>\n'
)


def page(marked: Marked) -> str:
    """A whole page, plain text cleaned as `notifier.plain_text` does."""
    return _PAGE.format("".join(_pieces(marked)))


def _pieces(marked: Marked) -> Iterator[str]:
    text, at = marked.text, 0
    opened: list[Span] = []
    for span in sorted(marked.spans, key=lambda one: (one.start, -one.end)):
        if not _shows(span, opened):
            continue
        while opened and opened[-1].end <= span.start:
            yield _shown(text[at : opened[-1].end], opened)
            at = opened[-1].end
            yield f"</{_TAGS[opened.pop().style]}>"
        yield _shown(text[at : span.start], opened)
        at = span.start
        opened.append(span)
        yield f'<a href="{escape(span.value)}">' if span.style == "link" else f"<{_TAGS[span.style]}>"
    while opened:
        yield _shown(text[at : opened[-1].end], opened)
        at = opened[-1].end
        yield f"</{_TAGS[opened.pop().style]}>"
    yield _shown(text[at:], opened)


def _shows(span: Span, opened: list[Span]) -> bool:
    """Whether the span becomes an element: a link does within no other link, and only where it leads to the web or a mailbox."""
    if span.style != "link":
        return span.style in _TAGS
    if any(one.style == "link" and one.end > span.start for one in opened):
        return False
    try:
        spaced = any(character.isspace() for character in span.value)
        good = plain_text(span.value) == span.value and not spaced
        return good and urlsplit(span.value).scheme.lower() in _SCHEMES
    except ValueError:
        return False


def _shown(text: str, opened: list[Span]) -> str:
    found = escape(plain_text(text))
    return found if any(span.style == "pre" for span in opened) else found.replace("\n", "<br>")
