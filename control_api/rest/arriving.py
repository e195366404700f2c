"""Arriving: a body of messages that is read while it comes, and refused, where it cannot be accepted, before it is all here."""

import asyncio
import codecs
from dataclasses import dataclass, field

from control_api.intake.occasion import Occasion
from control_api.rest.pushed import Checked, Reader
from notifier.message import MAX_BYTES

_MAX_HELD_BYTES = (
    2 * MAX_BYTES
)  # of an item that is not whole yet; a longer one is refused in any case, so it is not held a second time
_PIECE_BYTES = 64 * 1024  # read at once: of a message that is not whole all is looked at again each time


@dataclass
class Arriving:
    """One body. Nothing of it is read here where it comes at once, or is one large text."""

    occasion: Occasion
    _reader: Reader | None = None
    _waiting: list[bytes] = field(default_factory=list)
    _size: int = 0
    _given_up: bool = False

    async def take(self, media_type: str, part: bytes, last: bool) -> None:
        """Takes the next part. Raises what `accept` raises for what is here so far."""
        if self._given_up:
            return
        self._waiting.append(part)
        self._size += len(part)
        if self._size >= _PIECE_BYTES and not last:
            piece = b"".join(self._waiting)
            self._waiting, self._size = [], 0
            if self._reader is None:
                self._reader = Reader(media_type, self.occasion)
                piece = piece.removeprefix(codecs.BOM_UTF8)
            await asyncio.to_thread(self._reader.feed, piece, last=False)
            if self._reader.held > _MAX_HELD_BYTES:
                self._reader, self._given_up = None, True

    async def checked(self) -> list[Checked] | None:
        """The messages, once the last part was taken. None: nothing was read here. Raises as `take` does."""
        reader = self._reader
        if reader is None:
            return None
        await asyncio.to_thread(reader.feed, b"".join(self._waiting), last=True)
        return reader.checked
