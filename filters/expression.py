"""Expression: keep messages of which an expression of the Common Expression Language is true. Its limits are `filters.cel`'s."""

import re
from collections.abc import Callable
from functools import partial
from typing import Annotated

from pydantic import AfterValidator, Field

from filters.cel import MAX_CHARACTERS, Expression, Failed
from filters.cel_tokens import conjunction
from filters.wording import quoted
from notifier.message import Message
from notifier.plugin import Candidate, Filter, FilterParameters

# A field that an expression names: `message.labels.team`, `message.labels['team']`; not a function that is called.
_PATH = re.compile(
    r"(?<![\w.`'\"])(?:(?:message|recipient|sender)(?:\.\w+(?![\w(])|\[(?:'[\w.-]+'|\"[\w.-]+\")\])+|now(?![\w]))"
)
_SHOWN = 5  # fields in an explanation


def _read(text: str) -> Expression:
    expression = Expression(text)
    if not expression.is_a_test:
        raise ValueError(
            f"is {expression.kind.lower()}, and a filter asks what is true or false; compare it: … == 'error'"
        )
    return expression


def _check(text: str) -> str:
    _read(text)
    return text


class ExpressionParameters(FilterParameters):
    """Parameters of `expression`."""

    expression: Annotated[str, AfterValidator(_check)] = Field(
        description="What is true of a message that passes, in CEL, the Common Expression Language, over message,"
        " recipient, sender and now.",
        examples=["message.severity in ['error', 'critical'] && message.content.contains('database')"],
        json_schema_extra={"minLength": 1, "maxLength": MAX_CHARACTERS},
    )


class ExpressionFilter(Filter[ExpressionParameters]):
    """Lets a message pass only when an expression (CEL) is true of message, recipient, sender and the moment."""

    type = "expression"
    Parameters = ExpressionParameters

    def __init__(self, parameters: ExpressionParameters) -> None:
        super().__init__(parameters)
        self.expression = _read(parameters.expression)

    def accepts(self, candidate: Candidate) -> bool:
        """Raises Failed where the expression has no value."""
        return bool(_value(self.expression, candidate))

    def test(self) -> Callable[[Message], bool] | None:
        if not self.expression.names.isdisjoint(("recipient", "sender", "now")):
            return None
        return partial(_is_true, self.expression)

    def clause(self) -> str:
        return f"the expression {quoted(self.parameters.expression)} is true"

    def finding(self, candidate: Candidate) -> str:
        parts = conjunction(self.parameters.expression)
        false = [part for part in parts if not _holds(part, candidate)]
        if not self.accepts(candidate) and false:
            return f"{quoted(false[0])} is not true{_where(false[0], candidate)}"
        return f"{quoted(self.parameters.expression)} is true{_where(self.parameters.expression, candidate)}"


def _value(expression: Expression, candidate: Candidate) -> object:
    from filters.cel_values import info_size_of, size_of, values_of

    names, message = expression.names, candidate.message
    info = info_size_of(candidate, names)
    items = max(len(message.labels), info // 2)
    return expression.value(values_of(candidate, names), size_of(message, names) + info, items)


def _is_true(expression: Expression, message: Message) -> bool:
    """The rule where the message alone decides. Raises Failed."""
    from filters.cel_values import message_value, size_of

    names = expression.names
    values = {"message": message_value(message, names)} if "message" in names else {}
    return bool(expression.value(values, size_of(message, names), len(message.labels)))


def _holds(part: str, candidate: Candidate) -> bool:
    try:
        return bool(_value(Expression(part), candidate))
    except (Failed, ValueError):  # a part need not have a value where the whole has one
        return True


def _where(text: str, candidate: Candidate) -> str:
    """What the fields are that a part of an expression names: "; message.severity is 'info'"."""
    found = []
    for path in list(dict.fromkeys(_PATH.findall(text)))[:_SHOWN]:
        try:
            value = _value(Expression(path), candidate)
        except Failed:
            found.append(f"{path} is missing")
        except ValueError:  # no path after all
            continue
        else:
            if isinstance(value, str | bool | int | float):
                found.append(f"{path} is {quoted(value) if isinstance(value, str) else str(value).lower()}")
            elif path == "now":
                found.append(f"now is {candidate.at:%a %Y-%m-%d %H:%M %Z}")
    return f"; {', '.join(found)}" if found else ""
