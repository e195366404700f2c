"""Items: the messages of one body, found one after another while it comes. One of millions costs no more than the first few.

Only where an item begins and ends is looked for here; whether it is JSON is asked of each item by itself. Tried and worse: to
parse the body as a whole (16 MiB of `{},` made objects of a gigabyte, all wrong), and a parser of events, which loses the bytes.
"""

import re  # for our own constant patterns
from collections.abc import Iterator

from control_api.definitions.json_value import MAX_DEPTH
from control_api.http.problems import Problem
from notifier.errors import RecordTooLarge
from notifier.message import MAX_BYTES

MAX_ITEMS = 20_000  # messages of one request

_SPACE = re.compile(rb"[ \t\r\n]*+")
_TO_BRACKET = re.compile(rb'(?:[^\[\]{}"]++|"(?:[^"\\]++|\\.)*+")*+', re.DOTALL)
_PLAIN = re.compile(rb'"(?:[^"\\]++|\\.)*+"|[^,\[\]{}"\s]++', re.DOTALL)
_LINE = re.compile(rb"\S[^\n]*+")


class Lines:
    """The lines of a body that comes in pieces, those that are not blank."""

    def __init__(self) -> None:
        self._count = 0
        self._before = 0  # line ends before `_block`
        self._block = b""  # whole lines
        self._rest: list[bytes] = []  # of a line that is not whole
        self.held = 0  # bytes of that

    def feed(self, data: bytes, last: bool) -> Iterator[tuple[int, bytes]]:
        """Where each line that is whole now begins, for `number`, and the line. Raises Problem 413 beyond `MAX_ITEMS`."""
        whole, end, rest = (data, b"", b"") if last else data.rpartition(b"\n")
        if not last and not end:
            self._rest.append(data)
            self.held += len(data)
            return
        self._before += self._block.count(b"\n")
        block = [part for part in (*self._rest, whole, end) if part]  # one alone is not copied
        self._block, self._rest = b"".join(block), [rest] if rest else []
        self.held = len(rest)
        for found in _LINE.finditer(self._block):
            _check_count(self._count)
            self._count += 1
            yield found.start(), found[0].rstrip()

    def number(self, start: int) -> int:
        """The number of a line that `feed` found last, blank ones counted, from 1."""
        return self._before + self._block.count(b"\n", 0, start) + 1


class Elements:
    """The elements of an array that comes in pieces, as they were written."""

    def __init__(self) -> None:
        self._count = 0
        self._expected = "["  # what comes next; `first` and `next` are elements
        self._rest = b""  # which is not understood yet, or is an element that is not whole
        self._at = 0  # where it begins

    def feed(self, data: bytes, last: bool) -> Iterator[bytes]:
        """The elements that are whole now.

        Raises Problem 400 where it is no array, as soon as that shows, 413 beyond `MAX_ITEMS`, and RecordTooLarge.
        """
        body, at = self._rest + data, 0
        while True:
            at = _next(body, at)
            found = body[at : at + 1]
            if not found and not last:
                break
            match self._expected:
                case "[":
                    assert found == b"["
                    self._expected = "first"
                case "first" | "," if found == b"]":
                    self._expected = "end"
                case ",":
                    if found != b",":
                        raise self._not_json(f"`,` or `]` is missing behind message {self._count}", at)
                    self._expected = "next"
                case "end":
                    if body[at:].strip():
                        raise self._not_json("more follows behind the array", at)
                    break
                case _:
                    _check_count(self._count)
                    end = self._end_of_element(body, at, last)
                    if end is None:
                        break
                    yield body[at:end]
                    self._count += 1
                    self._expected = ","
                    at = end
                    continue
            at += 1
        self._rest, self._at = body[at:], self._at + at

    def _end_of_element(self, body: bytes, at: int, last: bool) -> int | None:
        """None: it is not whole."""
        depth, end = 0, at
        window = at + MAX_BYTES + 1  # nothing beyond is looked at, so that one element costs no more than a message
        more = not last and len(body) <= window  # whether what follows may change what is found
        if body[at : at + 1] not in (b"[", b"{"):
            found = _PLAIN.match(body, at, window)
            if more and (body[at : at + 1] == b'"' if found is None else found.end() == len(body)):
                return None
            if found is None:
                raise self._not_json(f"message {self._count + 1} is none", at)
            return found.end()
        while True:
            found = _TO_BRACKET.match(body, end, window)
            assert found is not None
            end = found.end()
            if more and body[end : end + 1] in (b"", b'"'):
                return None
            if end >= window or (body[end : end + 1] == b'"' and window < len(body)):
                raise RecordTooLarge(f"/{self._count}: a message may have {MAX_BYTES} bytes at most")
            match body[end : end + 1]:
                case b"[" | b"{":
                    depth += 1
                case b"]" | b"}":
                    depth -= 1
                case _:
                    raise self._not_json(f"message {self._count + 1} does not end", at)
            end += 1
            if depth > MAX_DEPTH:
                raise Problem(400, f"message {self._count + 1} is nested more than {MAX_DEPTH} deep")
            if depth == 0:
                return end

    def _not_json(self, text: str, at: int) -> Problem:
        return Problem(400, f"the body is not JSON: {text}, at byte {self._at + at}")


def _next(body: bytes, at: int) -> int:
    found = _SPACE.match(body, at)
    assert found is not None
    return found.end()


def _check_count(count: int) -> None:
    if count >= MAX_ITEMS:
        raise Problem(413, f"a request may have {MAX_ITEMS} messages at most; send the others in another one")
