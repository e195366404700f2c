"""Text: the cleaning of untrusted text for messengers, and how long they take it to be."""

import re  # for our own constant patterns

from notifier.marked import Marked
from notifier.plain_text import plain_marked

_APP_LINK = re.compile(r"(?<![a-z0-9+.-])tg://", re.IGNORECASE)  # not the end of another scheme
_ROUNDS = 10  # nobody means more links within another
_APP_COLON = re.compile("(?<=tg):+", re.IGNORECASE)


def clean_marked(text: Marked) -> Marked:
    """The text, plain, and without `tg://`, whose links act inside the app."""
    text = plain_marked(text)
    for _ in range(_ROUNDS):
        if not _APP_LINK.search(text.text):
            return text
        text = text.replaced(_APP_LINK)  # which may form another
    return text.replaced(_APP_COLON)


def clean_text(text: str) -> str:
    """The same of a text without marks."""
    return clean_marked(Marked(text)).text


def utf16_units(text: str) -> int:
    """The length of the text in UTF-16 code units, which messengers count: an emoji has two or more."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2
