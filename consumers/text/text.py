"""Text: the default text of a delivery, the cleaning of untrusted text, and the splitting of long texts.

Pure functions, for every consumer whose service takes plain text. A configuration's own text is `consumers.text.template`'s.
"""

import re  # for our own constant patterns
import unicodedata
from collections.abc import Sequence

from notifier import Delivery, Message

MAX_PARTS = 5
_SEPARATORS = ("\n\n", "\n", " ")  # preferred places of a cut: between paragraphs, lines, words
_JOINERS = "\u200d\ufe0e\ufe0f"  # zero-width joiner and variation selectors: they belong to the character before them
_BACK = 32  # characters that a hard cut may go back to reach the start of a grapheme cluster

# NUL, and bidirectional controls, which make a link or a name read as another one.
_CONTROLS = re.compile("[\0\u202a-\u202e\u2066-\u2069]")
_APP_LINK = re.compile("tg://", re.IGNORECASE)


def default_text(delivery: Delivery, message: Message) -> str:
    """`From {sender} to {receiver}: {content}`, with the names of the consumer's world.

    An unknown sender or receiver is left out: `From {sender}: …`, `To {receiver}: …`, or the content alone. A title stands
    above the content and a web link below it, each on a line of its own, unless the content has it already.
    """
    receiver = delivery.receiver or delivery.recipient
    if delivery.sender and receiver:
        head = f"From {delivery.sender} to {receiver}: "
    elif delivery.sender:
        head = f"From {delivery.sender}: "
    else:
        head = f"To {receiver}: " if receiver else ""
    lines = [message.content]
    if message.title and message.title not in message.content:
        lines.insert(0, message.title)
    if message.url and message.url not in message.content:
        lines.append(message.url)
    return head + "\n".join(lines)


def clean_text(text: str) -> str:
    """The text without bidirectional controls, NUL, lone surrogates, and `tg://`, whose links act inside the app."""
    text = _CONTROLS.sub("", text).encode(errors="replace").decode()
    while _APP_LINK.search(text):  # removing one may form another
        text = _APP_LINK.sub("", text)
    return text


def utf16_units(text: str) -> int:
    """The length of the text in UTF-16 code units, which messengers count: an emoji has two or more."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def split_text(text: str, limit: int, parts: int = MAX_PARTS) -> Sequence[str]:
    """The text in at most `parts` parts of at most `limit` UTF-16 units (64 or more); several begin with a line `2/3` each.

    Cuts between paragraphs, else lines, else words, else grapheme clusters. What does not fit into the parts is left out,
    and the last part ends with a note of how many characters that is. No part is blank, and a blank text has no parts.
    """
    if utf16_units(text) <= limit:
        return [text] if text.strip() else []
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
        if at > 0:
            return text[:at], text[at + len(separator) :]
    at = next((at for at in range(end, max(0, end - _BACK), -1) if not _within_cluster(text, at)), end)
    return text[:at], text[at:]


def _fitting(text: str, limit: int) -> int:
    """The number of leading characters that have at most `limit` UTF-16 units."""
    end = min(len(text), limit)
    units = utf16_units(text[:end])
    while units > limit:
        end -= 1
        units -= utf16_units(text[end])
    return end


def _within_cluster(text: str, at: int) -> bool:
    after = text[at]
    return (
        bool(unicodedata.combining(after))
        or after in _JOINERS
        or text[at - 1] == "\u200d"
        or "\U0001f3fb" <= after <= "\U0001f3ff"  # a skin tone
    )
