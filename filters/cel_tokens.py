"""Tokens of the Common Expression Language: names, texts and signs with their places. What they mean is left to `filters.cel`."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

Kind = Literal["blank", "text", "name", "number", "sign"]

_TOKEN = re.compile(
    r"""(?P<blank>\s+|//[^\n]*)
    |(?P<text>(?:[rR][bB]?|[bB][rR])(?:"{3}.*?"{3}|'{3}.*?'{3}|"[^"\n]*"|'[^'\n]*')
      |[bB]?(?:"{3}(?:[^\\]|\\.)*?"{3}|'{3}(?:[^\\]|\\.)*?'{3})
      |[bB]?(?:"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'))
    |(?P<name>[A-Za-z_]\w*|`[^`\n]*`)
    |(?P<number>\d[\w.]*)
    |(?P<sign>&&|\|\||[<>=!]=|.)""",
    re.VERBOSE | re.DOTALL,
)
_OPENING = frozenset("([{")
_CLOSING = frozenset(")]}")


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of an expression."""

    kind: Kind
    text: str
    start: int  # characters before it
    place: str  # for people: "line 1, column 8"
    is_call: bool = False  # whether it is a name, and a parenthesis follows

    @property
    def is_blank(self) -> bool:
        """Whether it is white space or a comment."""
        return self.kind == "blank"

    @property
    def is_name(self) -> bool:
        """Whether it is a name, also one in backquotes."""
        return self.kind == "name"

    @property
    def is_text(self) -> bool:
        """Whether it is a text in quotation marks."""
        return self.kind == "text"


def tokens_of(text: str) -> list[Token]:
    """The tokens, blanks included: together they are the text. Does not raise; what is no token is a sign."""
    found = list(_TOKEN.finditer(text))
    solid = [match for match in found if match.lastgroup != "blank"]
    called = {one.start() for one, other in pairwise(solid) if other[0] == "("}
    tokens = []
    line, line_start = 1, 0
    for match in found:
        kind: Kind = match.lastgroup  # type: ignore[assignment]  # the pattern names each of its groups so
        start = match.start()
        place = f"line {line}, column {start - line_start + 1}"
        tokens.append(Token(kind, match[0], start, place, kind == "name" and start in called))
        lines = match[0].count("\n")
        if lines:
            line, line_start = line + lines, start + match[0].rindex("\n") + 1
    return tokens


def opened_calls(tokens: Sequence[Token]) -> Iterator[tuple[Token, tuple[str, ...]]]:
    """Each token with the names of the calls in whose parentheses it stands; other brackets have an empty name."""
    open_: list[str] = []
    before = ""
    for token in tokens:
        if token.text in _CLOSING and open_:
            open_.pop()
        yield token, tuple(open_)
        if token.text in _OPENING:
            open_.append(before)
        before = token.text if token.is_call else ""


def without_blanks(tokens: Sequence[Token]) -> list[Token]:
    """The tokens that mean something."""
    return [token for token in tokens if not token.is_blank]


def conjunction(text: str) -> list[str]:
    """The parts of an expression that must all be true: those between `&&`; itself where it is no such list."""
    parts, start, depth = [], 0, 0
    for token in tokens_of(text):
        if token.text in _OPENING:
            depth += 1
        elif token.text in _CLOSING:
            depth -= 1
        elif depth == 0 and token.text in ("||", "?"):
            return [text.strip()]
        elif depth == 0 and token.text == "&&":
            parts.append(text[start : token.start].strip())
            start = token.start + 2
    return [*parts, text[start:].strip()]
