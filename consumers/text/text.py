"""Text: the cleaning of untrusted text, and the splitting of long texts, where a service takes plain text."""

import re  # for our own constant patterns
from collections.abc import Sequence

from notifier.grapheme import boundary, stands_alone
from notifier.plain_text import is_blank, plain_text

MAX_PARTS = 5
_SEPARATORS = ("\n\n", "\n", " ")  # preferred places of a cut: between paragraphs, lines, words
_APP_LINK = re.compile(r"(?<![a-z0-9+.-])tg://", re.IGNORECASE)  # not the end of another scheme
_ROUNDS = 10  # nobody means more links within another
_APP_COLON = re.compile("(?<=tg):+", re.IGNORECASE)


def clean_text(text: str) -> str:
    """The text, plain, and without `tg://`, whose links act inside the app."""
    text = plain_text(text)
    for _ in range(_ROUNDS):
        if not _APP_LINK.search(text):
            return text
        text = _APP_LINK.sub("", text)  # which may form another
    return _APP_COLON.sub("", text)


def utf16_units(text: str) -> int:
    """The length of the text in UTF-16 code units, which messengers count: an emoji has two or more."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def split_text(text: str, limit: int, parts: int = MAX_PARTS) -> Sequence[str]:
    """The text in at most `parts` parts of at most `limit` UTF-16 units (64 or more); several begin with a line `2/3` each.

    Cuts between paragraphs, else lines, else words, else grapheme clusters. What does not fit into the parts is left out,
    and the last part ends with a note of how many characters that is. No part is blank, and a blank text has no parts.
    """
    if is_blank(text):
        return []
    if utf16_units(text) <= limit:
        return [text]
    room = limit - len(f"{parts}/{parts}\n")
    pieces: list[str] = []
    rest = text
    while rest.strip() and len(pieces) < parts:
        piece, after = _cut(rest, room)
        if len(pieces) == parts - 1 and after.strip():
            piece, after = _cut(rest, room - len(_note(len(rest))))
            piece, after = piece + _note(len(after)), ""
        if piece.strip():
            pieces.append(piece)
        rest = after
    if len(pieces) == 1:
        return pieces
    return [f"{number}/{len(pieces)}\n{piece}" for number, piece in enumerate(pieces, 1)]


def _note(characters: int) -> str:
    return f"\n… {characters} characters are left out"


def _cut(text: str, limit: int) -> tuple[str, str]:
    """The text up to the best cut within the limit, and the rest; the separator at the cut belongs to neither."""
    end = _fitting(text, limit)
    if end == len(text):
        return text, ""
    for separator in _SEPARATORS:
        # Not in the first half: many small parts are worse to read than a paragraph that is cut.
        at = text.rfind(separator, end // 2, end + len(separator))
        while at > 0 and not stands_alone(text, at + len(separator) - 1):  # a blank with an accent on it
            at = text.rfind(separator, end // 2, at)
        if at > 0:
            return text[:at], text[at + len(separator) :]
    at = boundary(text, end)
    return text[:at], text[at:]


def _fitting(text: str, limit: int) -> int:
    """The number of leading characters that have at most `limit` UTF-16 units."""
    end = min(len(text), limit)
    units = utf16_units(text[:end])
    while units > limit:
        end -= 1
        units -= utf16_units(text[end])
    return end
