"""CEL: expressions of the Common Expression Language that a person wrote, checked against what there is, bounded in their work.

Google's C++ implementation (`cel-expr-python`) reads, checks and evaluates. It bounds the depth of an expression (32) and the
turns of its loops (10,000), not what a turn costs. So what could grow is not offered (`map`, `filter`, and `+` of texts and
lists), loops do not nest, `contains`, `matches` and the zones of clocks are ours, and the work of one evaluation is estimated
before it begins.

Compared: cel-python interprets in Python, takes 730 µs for what takes 8 here, recurses without bound and checks no types;
common-expression-language (Rust) bounds neither loops nor growth, and checks neither types nor names.
The values that expressions see are `filters.cel_values`'.
"""

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from filters.cel_tokens import Token, opened_calls, tokens_of, without_blanks
from notifier.errors import NotifierError
from notifier.one_line import one_line
from notifier.pattern import Pattern

if TYPE_CHECKING:
    from cel_expr_python import cel

MAX_CHARACTERS = 2_000  # of an expression
# Tokens × bytes of one evaluation, those of loops once for each turn; at worst a fifth of a second.
MAX_WORK = 200_000_000
_LEAST = 200  # bytes that a step costs at least
_PATTERNS = 256  # compiled ones that are kept

LOOPS = frozenset({"all", "exists", "exists_one", "existsOne"})
_LISTS = frozenset({"map", "filter"})
_OURS = frozenset({"contains", "matches"})
# What of a time a function gives, on the clock of a zone.
_CLOCK: Mapping[str, Any] = {
    "getFullYear": lambda at: at.year,
    "getMonth": lambda at: at.month - 1,
    "getDate": lambda at: at.day,
    "getDayOfMonth": lambda at: at.day - 1,
    "getDayOfWeek": lambda at: at.isoweekday() % 7,
    "getDayOfYear": lambda at: at.timetuple().tm_yday - 1,
    "getHours": lambda at: at.hour,
    "getMinutes": lambda at: at.minute,
    "getSeconds": lambda at: at.second,
    "getMilliseconds": lambda at: at.microsecond // 1000,
}
_OFFSET = re.compile(r"([+-]?)(\d\d):(\d\d)")
_FAULT = re.compile(r"ERROR: <input>:(-?\d+):(-?\d+): ([^\n]*)")
_HIDDEN = frozenset(f"{name[:-1]}_" for name in (*_OURS, *_CLOCK))  # what ours are called in there
_RENAMED = re.compile(r"\b(?:contain|matche|get[A-Z][A-Za-z]*)_(?![A-Za-z0-9_])")

_CONFIG = """
name: notifier
stdlib:
  exclude_macros: [map, filter]
  exclude_functions:
    - {name: contains}
    - {name: matches}
    - name: _+_
      overloads: [{id: add_string}, {id: add_bytes}, {id: add_list}]
"""


class Failed(NotifierError):
    """An expression has no value for this candidate; the text says why."""


class Expression:
    """A checked expression. Raises ValueError, in words for its author and with the place, when it is refused."""

    def __init__(self, text: str) -> None:
        if len(text) > MAX_CHARACTERS:
            raise ValueError(f"is longer than {MAX_CHARACTERS} characters; shorten it or use several filters")
        self.text = text
        tokens = without_blanks(tokens_of(text))
        if not tokens:
            raise ValueError("must not be empty; write what is true of the messages that pass")
        looped = _looped(tokens)
        self._straight = len(tokens) - looped  # tokens outside loops
        self._looped = looped
        self._items = 1 + sum(token.text == "," for token in tokens)  # at most so many are in a list that it writes
        self.names = frozenset(token.text.strip("`") for token in tokens if token.is_name)
        patterns = [_checked_argument(tokens, place) for place in range(len(tokens))]
        # Bytes that all its patterns together may be searched for in, as `filters.pattern` has it for one.
        self._reach = 1 / (sum(1 / pattern.reach for pattern in patterns if pattern is not None) or 1e-9)
        self._program = _compiled(_with_ours(text, tokens))

    def __repr__(self) -> str:
        return f"Expression({self.text!r})"

    @property
    def is_a_test(self) -> bool:
        """Whether its value is true or false."""
        from cel_expr_python import cel

        return bool(self._program.return_type() == cel.Type.BOOL)

    @property
    def kind(self) -> str:
        """What its value is, as CEL calls it: `STRING`."""
        return str(self._program.return_type())

    def value(self, values: Mapping[str, Any], size: int, items: int) -> Any:
        """Its value. `size`: of all texts among the values, in bytes. `items`: of their longest list, at most. Raises Failed."""
        work = self._straight
        if self._looped:
            work += self._looped * max(self._items, items)
        if work * (size + _LEAST) > MAX_WORK or size > self._reach:
            raise Failed("the message is too large for this expression; look at fewer items, or at shorter fields")
        try:
            found = self._program.eval(data=values)
            value = found.value()
            failed = not isinstance(value, bool) and str(found.type()) == "ERROR"
        except Exception as error:  # the library raises RuntimeError for most of them
            raise Failed(_plain(str(error))) from None
        if failed:
            raise Failed(_plain(str(value)))
        return value


def _looped(tokens: list[Token]) -> int:
    """How many tokens stand within loops. Raises ValueError for a loop, or a search for a pattern, within a loop."""
    count = 0
    for token, calls in opened_calls(tokens):
        within = any(call in LOOPS for call in calls)
        count += within
        if token.is_call and within and token.text in LOOPS:
            raise ValueError(f"{token.place}: a loop may not stand within another one")
        if token.is_call and within and token.text == "matches":
            raise ValueError(f"{token.place}: matches may not stand within a loop; write one pattern with | in it")
        if token.is_call and token.text in _HIDDEN:  # its argument is not checked
            raise ValueError(f"{token.place}: there is no {token.text} here")
        if token.is_call and token.text in _LISTS:
            raise ValueError(f"{token.place}: there is no {token.text} here; ask with exists, all or exists_one")
    return count


def _with_ours(text: str, tokens: list[Token]) -> str:
    """The text with the functions that are ours under the names that they have there, which are as long."""
    parts, end = [], 0
    for place, token in enumerate(tokens[:-1]):
        if _is_ours(tokens, place):
            parts += [text[end : token.start], token.text[:-1], "_"]
            end = token.start + len(token.text)
    return "".join([*parts, text[end:]])


def _is_ours(tokens: list[Token], place: int) -> bool:
    """Whether a token calls a function that is ours: `contains`, `matches`, or a part of a time on the clock of a zone."""
    token = tokens[place]
    if not token.is_call or not place or tokens[place - 1].text != ".":
        return False
    without_zone = tokens[place + 2 : place + 3] and tokens[place + 2].text == ")"
    return token.text in _OURS or (token.text in _CLOCK and not without_zone)


def _checked_argument(tokens: list[Token], place: int) -> Pattern | None:
    """The pattern of a call of `matches`, which must be written as a text. A zone that is written so is checked too."""
    if not _is_ours(tokens, place) or tokens[place].text == "contains":
        return None
    token, following = tokens[place], tokens[place + 2 : place + 4]
    if len(following) < 2 or not following[0].is_text or following[1].text != ")":
        if token.text == "matches":
            raise ValueError(f"{token.place}: matches takes a pattern that is written out: matches('fail(ed|s)')")
        return None
    argument = following[0]
    written = _compiled(argument.text).eval().value()
    try:
        if not isinstance(written, str):
            raise ValueError("is not a text")
        if token.text == "matches":
            return _pattern(written)
        _on_the_clock(_CLOCK[token.text])(datetime.now(UTC), written)
    except ValueError as error:
        raise ValueError(f"{argument.place}: {argument.text} {error}") from None
    return None


def _compiled(text: str) -> "cel.Expression":
    try:
        return _environment().compile(text)
    except Exception as error:  # the library raises RuntimeError for most of them
        raise ValueError(_refusal(str(error))) from None


def _refusal(text: str) -> str:
    """What the library says against an expression, with the place of the first fault."""
    if "recursion" in text:
        return "is nested too deeply, or a chain of more than some 30 steps; use several filters"
    fault = _FAULT.search(text)
    if fault is None:
        return _plain(text)
    return f"line {fault[1]}, column {fault[2]}: {_plain(fault[3])}"


_WORDS = (
    (re.compile(r"undefined field '(.*?)' not found in struct 'notifier\.(\w+)'"), r"there is no field '\1' in a \2"),
    (re.compile(r"undeclared reference to '(.*?)' \(in container ''\)"), r"there is no '\1' here"),
    (re.compile(r'(?:NOT_FOUND: )?Key not found in map : "(.*)"', re.DOTALL), r"there is no '\1'; ask for it first: has(…)"),
    (re.compile(r"(?:INTERNAL: )?Iteration budget exceeded"), "it goes through more than 10,000 items"),
    (re.compile(r" \[[A-Z_]+\]$"), ""),
    (re.compile(r"^[A-Z_]+: "), ""),
)  # fmt: skip


def _plain(text: str) -> str:
    for pattern, words in _WORDS:
        text = pattern.sub(words, text)
    return one_line(
        _RENAMED.sub(lambda name: f"{name[0][:-1]}s" if name[0] != "getDayOfWee_" else "getDayOfWeek", text)
    )


# --- our functions ---


def _contains(text: str, part: str) -> bool:
    return part in text  # C++'s own takes time by the product of both lengths


@lru_cache(_PATTERNS)
def _pattern(text: str) -> Pattern:
    return Pattern(text)


def _matches(text: str, pattern: str) -> bool:
    return _pattern(pattern).occurs_in(text)


def _on_the_clock(part: Any) -> Any:
    def read(at: datetime, zone: str) -> int:
        offset = _OFFSET.fullmatch(zone)
        if offset is not None:
            ahead = timedelta(hours=int(offset[2]), minutes=int(offset[3]))
            return int(part(at - ahead if offset[1] == "-" else at + ahead))
        return int(part(at.astimezone(_zone(zone))))

    return read


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (OSError, ValueError, KeyError):
        raise ValueError(f"is no time zone: {one_line(name)!r}") from None


def _functions(cel: Any) -> Iterator[Any]:
    text, time = cel.Type.STRING, cel.Type.TIMESTAMP
    found = [("contain_", cel.Type.BOOL, text, _contains), ("matche_", cel.Type.BOOL, text, _matches)]
    found += [(f"{name[:-1]}_", cel.Type.INT, time, _on_the_clock(part)) for name, part in _CLOCK.items()]
    for name, gives, of, function in found:
        overload = cel.Overload(f"our_{name}", gives, [of, text], is_member=True, impl=function)
        yield cel.FunctionDecl(name, [overload])


@cache
def _environment() -> "cel.Env":
    from cel_expr_python import cel  # 14 MB, which most commands do not need

    from filters.cel_values import POOL

    return cel.NewEnv(
        descriptor_pool=POOL,
        config=cel.NewEnvConfigFromYaml(_CONFIG),
        variables={
            "message": cel.Type("notifier.Message"),
            "recipient": cel.Type("notifier.Person"),
            "sender": cel.Type("notifier.Person"),
            "now": cel.Type.TIMESTAMP,
        },
        functions=list(_functions(cel)),
    )
