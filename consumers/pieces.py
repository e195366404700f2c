"""Pieces: an address is a secret as a whole, and so may be each piece of it that a service or a gateway repeats."""

import re  # for our own constant pattern
from urllib.parse import unquote

_ENDS = re.compile(r"[/:@?&=#,;\s]+")
_SHORTEST = 4  # characters of a piece that may be a secret


def without_pieces(text: str, secret: str) -> str:
    """The text without the secret and the pieces of it, as they are written and as they are read, each replaced by `***`."""
    pieces = {secret, *_ENDS.split(secret)}
    pieces |= set(map(unquote, pieces))
    for piece in sorted(pieces, key=len, reverse=True):
        if len(piece) >= _SHORTEST:
            text = text.replace(piece, "***")
    return text
