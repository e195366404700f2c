"""LabelMatcher: a condition on a label, in Alertmanager's matcher syntax.

A matcher is a label's name, one of `=`, `!=`, `=~`, `!~`, and a value. Names and values may be quoted with `"`, inside which
`\\"`, `\\\\` and `\\n` are escapes. One text may hold several matchers, separated by commas, in braces or not. As in
Alertmanager, a missing label equals the empty text, and a regular expression must match the whole value.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import AfterValidator, StringConstraints

from notifier.pattern import Pattern

Operator = Literal["=", "!=", "=~", "!~"]
_OPERATORS: tuple[Operator, ...] = ("=~", "!~", "!=", "=")  # the longer ones first
_RESERVED = frozenset("{}!=~,\\\"'`")  # a name that holds one of these, or white space, must be quoted
_FORM = 'write a label, one of = != =~ !~, and a value, in quotation marks where it holds a comma: team="infra"'


@dataclass(frozen=True, kw_only=True)
class LabelMatcher:
    """A condition on one label."""

    name: str
    operator: Operator
    value: str
    pattern: Pattern | None = field(default=None, compare=False)  # the value, compiled

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether the labels meet the condition."""
        value = labels.get(self.name, "")
        if self.pattern is None:
            return (value == self.value) is (self.operator == "=")
        return self.pattern.is_all_of(value) is (self.operator == "=~")

    def __str__(self) -> str:
        name = self.name if _is_plain(self.name) else _in_quotes(self.name)
        return f"{name}{self.operator}{_in_quotes(self.value)}"


def read_matchers(text: str) -> tuple[LabelMatcher, ...]:
    """The matchers of a text, `team="infra", env!=test`. Raises ValueError that says what to write instead."""
    inner = text.strip()
    if inner.startswith("{") and inner.endswith("}"):
        inner = inner[1:-1]
    parts = _split(inner)
    if parts and not parts[-1].strip():
        parts.pop()  # a comma may end the list
    if not parts:
        raise ValueError(f"is empty; {_FORM}")
    return tuple(_read_matcher(part.strip()) for part in parts)


def _split(text: str) -> list[str]:
    """The parts between the commas outside quotation marks."""
    parts, start, in_quotes, escaped = [], 0, False, False
    for position, character in enumerate(text):
        if escaped:
            escaped = False
        elif character == "\\":
            escaped = True
        elif character == '"':
            in_quotes = not in_quotes
        elif character == "," and not in_quotes:
            parts.append(text[start:position])
            start = position + 1
    parts.append(text[start:])
    return parts


def _read_matcher(text: str) -> LabelMatcher:
    name, rest = _read_name(text)
    operator = next((operator for operator in _OPERATORS if rest.startswith(operator)), None)
    if operator is None:
        raise ValueError(f"{text!r} is not a matcher; {_FORM}")
    value = _read_value(text, rest.removeprefix(operator).strip())
    pattern = None
    if operator in ("=~", "!~"):
        try:
            pattern = Pattern(value)
        except ValueError as error:
            raise ValueError(f"{value!r} {error}; a value that holds a comma needs quotation marks") from None
    return LabelMatcher(name=name, operator=operator, value=value, pattern=pattern)


def _read_name(text: str) -> tuple[str, str]:
    """The label's name, and the rest of the text without leading white space."""
    if text.startswith('"'):
        end = _closing_quote(text)
        if end is None:
            raise ValueError(f"{text!r} lacks the quotation mark that closes the label's name")
        name, rest = _unescape(text[1:end]), text[end + 1 :]
    else:
        end = next((i for i, character in enumerate(text) if not _is_plain(character)), len(text))
        name, rest = text[:end], text[end:]
    if not name:
        raise ValueError(f"{text!r} names no label; {_FORM}")
    return name, rest.lstrip()


def _read_value(text: str, value: str) -> str:
    if value.startswith('"'):
        if _closing_quote(value) != len(value) - 1:
            raise ValueError(
                f'the value in {text!r} must end with its only closing quotation mark; inside it write \\"'
            )
        return _unescape(value[1:-1])
    if '"' in value.replace("\\\\", "").replace('\\"', ""):
        raise ValueError(f"the value in {text!r} holds a quotation mark; put the whole value in quotation marks")
    if value.startswith("="):
        raise ValueError(
            f"{text!r} has two equals signs, and one is what is meant; put a value that begins so in quotes"
        )
    return _unescape(value)


def _closing_quote(text: str) -> int | None:
    """The index of the quotation mark that closes the one at index 0; None where it is missing."""
    escaped = False
    for position, character in enumerate(text[1:], 1):
        if escaped:
            escaped = False
        elif character == "\\":
            escaped = True
        elif character == '"':
            return position
    return None


def _unescape(text: str) -> str:
    """Replaces the escapes `\\n`, `\\"` and `\\\\`. Any other backslash is literal, so that `\\d+` needs no doubling."""
    parts = text.split("\\\\")
    return "\\".join(part.replace('\\"', '"').replace("\\n", "\n") for part in parts)


def _is_plain(name: str) -> bool:
    return not any(character in _RESERVED or character.isspace() for character in name)


def _in_quotes(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def _check_matchers(text: str) -> str:
    read_matchers(text)
    return text


MatcherText = Annotated[str, StringConstraints(max_length=2000), AfterValidator(_check_matchers)]
