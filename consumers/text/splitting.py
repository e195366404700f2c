"""Splitting: a marked text in parts that a service takes, cut where people would cut it.

What becomes of a text that does not fit into the parts is the consumer's to say: `split_marked` answers None, so that it may
send a document in their place, and `cut_marked` says how much is left out.
"""

import re  # for our own constant patterns
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

from consumers.text.text import utf16_units
from notifier.grapheme import boundaries
from notifier.marked import Marked, Span
from notifier.plain_text import is_blank

PARTS = 10
_SEPARATORS = ("\n\n", "\n", " ")  # preferred places of a cut: between paragraphs, lines, words
_WHOLE = frozenset({"link", "code", "pre"})  # styles that no cut divides, unless the span is longer than a part
# An address within the text. The scheme has a limit, since without one a long word is read again from each of its letters.
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]{0,20}://[^\s<>\"`（）、。，；：！？「」『』【】《》]+", re.IGNORECASE)

Measure = Callable[[str], int]
Write = Callable[[Marked], str]


def split_marked(
    text: Marked, limit: int, *, parts: int = PARTS, measure: Measure = utf16_units, write: Write | None = None
) -> Sequence[Marked] | None:
    """The text in parts of at most `limit` (64 or more) by `measure`; None where it does not fit into so many parts.

    Several parts begin with a line `2/3` each. Cuts between paragraphs, else lines, else words, else grapheme clusters, and
    never within an address, a link or a code that fits a part; a longer `pre` becomes one in each part. `write` is how the
    service is told a part, where its markup counts for the limit. No part is blank, and a blank text has no parts.
    """
    cutting = _Cutting(text, limit, parts, measure, write)
    if cutting.fits():
        return cutting.whole()
    pieces = list(cutting.pieces())
    return _numbered(pieces) if cutting.ended else None


def cut_marked(
    text: Marked,
    limit: int,
    *,
    parts: int = PARTS,
    measure: Measure = utf16_units,
    write: Write | None = None,
    note: Callable[[int], str] = "… {} characters are left out".format,
) -> Sequence[Marked]:
    """As `split_marked`, but what does not fit is left out, and the last part ends with a line `note(characters)`."""
    cutting = _Cutting(text, limit, parts, measure, write)
    if cutting.fits():
        return cutting.whole()
    pieces = list(cutting.pieces(note))
    if not cutting.ended:
        pieces[-1] += "\n" + note(cutting.left)
    return _numbered(pieces)


def _numbered(pieces: Sequence[Marked]) -> Sequence[Marked]:
    if len(pieces) == 1:
        return pieces
    return [Marked(f"{number}/{len(pieces)}\n") + piece for number, piece in enumerate(pieces, 1)]


class _Cutting:
    """The way through one text, from cut to cut."""

    def __init__(self, text: Marked, limit: int, parts: int, measure: Measure, write: Write | None) -> None:
        self._text = text
        self._limit = limit
        self._parts = parts
        self._measure = measure
        self._write = write
        self._room = limit - measure(f"{parts}/{parts}\n")
        self.left = len(text.text)  # characters that no piece so far has
        self.ended = False  # whether the pieces are the whole

    def fits(self) -> bool:
        """Whether the text needs no cut."""
        # No character is shorter than 1 by any measure.
        return len(self._text.text) <= self._limit and self._size(self._text) <= self._limit

    def whole(self) -> Sequence[Marked]:
        return [] if is_blank(self._text.text) else [self._text]

    def pieces(self, note: Callable[[int], str] | None = None) -> Iterator[Marked]:
        """At most so many pieces as there may be parts. With a note, the last one leaves room for it where it is needed."""
        self._drop_long_addresses()
        at = made = 0
        while made < self._parts and not self.ended:
            last = note is not None and made == self._parts - 1
            end, following = self._cut(at, self._room)
            if note is not None and last and not self.ended:
                longest = note(len(self._text.text) - at)  # the shorter piece leaves out more than the longer one
                end, following = self._cut(at, self._room - self._measure("\n" + longest), last=True)
            piece = self._text.cut(at, end)
            if last or not is_blank(piece.text):
                made += 1
                yield piece
            at = following

    def _cut(self, at: int, room: int, *, last: bool = False) -> tuple[int, int]:
        # What is kept whole begins within the room and is no longer than it.
        window = _Window(self._text.cut(at, at + 2 * self._room + 2), self._room, self._size)
        end, following = (at + place for place in window.cut(room, last=last))
        while self._text.text[following : following + 1] == "\n":
            following += 1
        self.left = len(self._text.text) - following
        self.ended = is_blank(self._text.text[following:])
        return end, following

    def _size(self, text: Marked) -> int:
        return self._measure(text.text if self._write is None else self._write(text))

    def _drop_long_addresses(self) -> None:
        """Removes the span of each link whose address alone is longer than a part: the service counts the address too."""
        if self._write is not None:
            text = self._text.text
            kept = (
                span
                for span in self._text.spans
                if span.style != "link" or self._size(_first_character(text, span)) <= self._room
            )
            self._text = Marked(text, tuple(kept))


def _first_character(text: str, span: Span) -> Marked:
    return Marked(text[span.start : span.start + 1], (replace(span, start=0, end=1),))


class _Window:
    """The text from the beginning of a piece, further than the piece can reach, and the places where it may be cut."""

    def __init__(self, text: Marked, room: int, size: Callable[[Marked], int]) -> None:
        self._text = text
        self._end = len(text.text)
        self._size = size
        self._starts = [span.start for span in text.spans]
        self._boundaries = bytearray(self._end + 1)  # 1 between clusters
        for place in boundaries(text.text):
            self._boundaries[place] = 1
        spans = [(span.start, span.end) for span in text.spans if span.style in _WHOLE]
        self._unmarked = self._without(
            self._boundaries, spans, room
        )  # 1 where a cut is in no marks that fit a part, too
        self._places = self._without(self._unmarked, self._addresses(spans), room)  # nor in an address that fits

    def cut(self, room: int, *, last: bool) -> tuple[int, int]:
        """Where the piece ends, and where the next one begins: what separates them is in neither.

        The last one may be empty; no other is, though its one character be longer than the room.
        """
        end = self._fitting(room)
        if end == self._end:
            return end, end
        # Not in the first half: many small parts are worse to read than a paragraph that is cut.
        found = self._separated(end // 2, end)
        if found is None:
            place = self._places.rfind(1, 1, end + 1)
            character = self._boundaries.rfind(1, 1, end + 1)
            if 0 < place < character:  # in front of what is kept whole, and better in front of its word
                found = self._separated(0, place, _SEPARATORS[1:])
            elif place < 0:
                # An address and the marks that it runs into may be too long together: then the address is cut.
                place = self._unmarked.rfind(1, 1, end + 1)
            if place < 0:
                place = 0 if last else character if character > 0 else max(end, 1)
            found = found or (place, place)
        piece, following = found
        while piece > 1 and self._text.text[piece - 1] == "\n" and self._places[piece - 1]:
            piece -= 1
        return piece, following

    def _fitting(self, room: int) -> int:
        """The end of the longest piece that is no longer than the room."""
        low, high = 0, min(self._end, max(room, 0))
        while low < high:
            middle = (low + high + 1) // 2
            if self._size(self._text.cut(0, middle)) <= room:
                low = middle
            else:
                high = middle - 1
        return low

    def _separated(self, start: int, end: int, separators: Sequence[str] = _SEPARATORS) -> tuple[int, int] | None:
        """The best separator of a piece that ends in (start, end]: where it begins and ends."""
        for separator in separators:
            place = self._text.text.rfind(separator, start + 1, end + len(separator))
            while place >= 0:
                after = place + len(separator)
                if self._places[place] and self._places[after]:
                    return place, after
                place = self._text.text.rfind(separator, start + 1, after - 1)
        return None

    def _without(self, places: bytearray, kept: Iterable[tuple[int, int]], room: int) -> bytearray:
        """The places of a cut that are in nothing of what is kept, from cluster to cluster, where that fits a part."""
        places = places[:]
        for start, end in kept:
            start = self._boundaries.rfind(1, 0, start + 1)
            end = self._boundaries.find(1, end)
            if end - start <= room and self._size(self._inner(start, end)) <= room:
                places[start + 1 : end] = bytes(max(0, end - start - 1))
        return places

    def _inner(self, start: int, end: int) -> Marked:
        """A part of the text with the spans that begin in it: to look at all of them for each one takes too long."""
        spans = self._text.spans[bisect_left(self._starts, start) : bisect_left(self._starts, end)]
        moved = (replace(span, start=span.start - start, end=min(span.end, end) - start) for span in spans)
        return Marked(self._text.text[start:end], tuple(moved))

    def _addresses(self, spans: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
        """The addresses in the text, with the spans that they share characters with."""
        first = 0
        for found in _ADDRESS.finditer(self._text.text):
            start, end = found.span()
            while first < len(spans) and spans[first][1] <= start:
                first += 1
            for span in spans[first:]:
                if span[0] >= end:
                    break
                start, end = min(start, span[0]), max(end, span[1])
            yield start, end
