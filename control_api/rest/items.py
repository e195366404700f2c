"""Items: the messages of one body, found one after another, so that a body of millions of them costs no more than the first few.

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


def lines(body: bytes) -> Iterator[tuple[int, bytes]]:
    """Where each line begins that is not blank, and the line. Raises Problem 413 beyond `MAX_ITEMS`."""
    for count, found in enumerate(_LINE.finditer(body)):
        _check_count(count)
        yield found.start(), found[0].rstrip()


def elements(body: bytes) -> Iterator[bytes]:
    """The elements of an array, as they were written.

    Raises Problem 400 where it is no array, as soon as that shows, 413 beyond `MAX_ITEMS`, and RecordTooLarge.
    """
    at = _next(body, 0)
    assert body[at : at + 1] == b"["
    at = _next(body, at + 1)
    count = 0
    if body[at : at + 1] == b"]":
        _check_end(body, at + 1)
        return
    while True:
        _check_count(count)
        end = _end_of_element(body, at, count)
        yield body[at:end]
        count += 1
        at = _next(body, end)
        if body[at : at + 1] == b"]":
            _check_end(body, at + 1)
            return
        if body[at : at + 1] != b",":
            raise _not_json(f"`,` or `]` is missing behind message {count}", at)
        at = _next(body, at + 1)


def _check_count(count: int) -> None:
    if count >= MAX_ITEMS:
        raise Problem(413, f"a request may have {MAX_ITEMS} messages at most; send the others in another one")


def _next(body: bytes, at: int) -> int:
    found = _SPACE.match(body, at)
    assert found is not None
    return found.end()


def _end_of_element(body: bytes, at: int, position: int) -> int:
    depth, end = 0, at
    window = at + MAX_BYTES + 1  # nothing beyond is looked at, so that one element costs no more than a message
    if body[at : at + 1] not in (b"[", b"{"):
        found = _PLAIN.match(body, at, window)
        if found is None:
            raise _not_json(f"message {position + 1} is none", at)
        return found.end()
    while True:
        found = _TO_BRACKET.match(body, end, window)
        assert found is not None
        end = found.end()
        if end >= window or (body[end : end + 1] == b'"' and window < len(body)):
            raise RecordTooLarge(f"/{position}: a message may have {MAX_BYTES} bytes at most")
        match body[end : end + 1]:
            case b"[" | b"{":
                depth += 1
            case b"]" | b"}":
                depth -= 1
            case _:
                raise _not_json(f"message {position + 1} does not end", at)
        end += 1
        if depth > MAX_DEPTH:
            raise Problem(400, f"message {position + 1} is nested more than {MAX_DEPTH} deep")
        if depth == 0:
            return end


def _check_end(body: bytes, at: int) -> None:
    end = _next(body, at)
    if end < len(body):
        raise _not_json("more follows behind the array", end)


def _not_json(text: str, at: int) -> Problem:
    return Problem(400, f"the body is not JSON: {text}, at byte {at}")
