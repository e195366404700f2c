"""Regex: keep messages with a field that a regular expression matches. The limits of patterns are `notifier.pattern`'s."""

from collections.abc import Callable
from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints

from filters.wording import quoted
from notifier.message import Message
from notifier.pattern import MAX_CHARACTERS, Pattern
from notifier.plugin import Candidate, Filter, FilterParameters

_FIELDS = ("content", "title", "sender", "receiver", "url")
_LABEL = "labels."  # followed by the label's name


def _check_pattern(text: str) -> str:
    if not text:
        raise ValueError("must not be empty; an empty pattern is found in everything")
    Pattern(text)
    return text


def _check_field(text: str) -> str:
    if text in _FIELDS or (text.startswith(_LABEL) and len(text) > len(_LABEL)):
        return text
    raise ValueError(f"{text!r} is not a field that can be searched; write {', '.join(_FIELDS)} or labels.<name>")


class RegexParameters(FilterParameters):
    """Parameters of `regex`."""

    pattern: Annotated[str, AfterValidator(_check_pattern)] = Field(
        description="Regular expression in RE2 syntax, searched for anywhere in the field; write ^ and $ to fix the ends,"
        " (?i) in front to ignore case, and (?s) to let . match line ends.",
        examples=["(?i)build #[0-9]+ failed"],
        json_schema_extra={"minLength": 1, "maxLength": MAX_CHARACTERS},
    )
    field: Annotated[str, StringConstraints(max_length=200), AfterValidator(_check_field)] = Field(
        "content",
        description="What is searched: content, title, sender, receiver or url as the message has them, or a label as"
        " labels.<name>. What the message does not have counts as empty.",
        examples=["labels.team"],
        json_schema_extra={"pattern": r"^(content|title|sender|receiver|url|labels\..+)$"},
    )


class Regex(Filter[RegexParameters]):
    """Lets a message pass only when a regular expression (RE2) matches somewhere in one of its fields.

    A pattern that compiles to more than 100 instructions does not see the end of a very long text.
    """

    type = "regex"
    Parameters = RegexParameters

    def __init__(self, parameters: RegexParameters) -> None:
        super().__init__(parameters)
        self.pattern = Pattern(parameters.pattern)
        self.text = _reader(parameters.field)  # message → text of the field

    def accepts(self, candidate: Candidate) -> bool:
        return self.pattern.occurs_in(self.text(candidate.message))

    def test(self) -> Callable[[Message], bool]:
        occurs_in, text = self.pattern.occurs_in, self.text
        return lambda message: occurs_in(text(message))

    def clause(self) -> str:
        return f"{self._what} matches {quoted(self.parameters.pattern)}"

    def finding(self, candidate: Candidate) -> str:
        text = self.text(candidate.message)
        what = self._what if text else f"{self._what}, which is empty,"
        if len(text.encode()) > self.pattern.reach:
            what += f" (of which the first {self.pattern.reach} bytes are searched)"
        verb = "matches" if self.accepts(candidate) else "does not match"
        return f"{what} {verb} {quoted(self.parameters.pattern)}"

    @property
    def _what(self) -> str:
        field = self.parameters.field
        return f"the label {quoted(field.removeprefix(_LABEL))}" if field.startswith(_LABEL) else f"the {field}"


def _reader(field: str) -> Callable[[Message], str]:
    if field.startswith(_LABEL):
        label = field.removeprefix(_LABEL)
        return lambda message: message.labels.get(label, "")
    return lambda message: getattr(message, field) or ""
