"""Expression: a JMESPath text of a person's, checked when it is saved and evaluated within a budget.

Beside JMESPath's own functions stand `header('x-event')`, `payload()`, which is the whole payload, `lower(text)`,
`parse_json(text)`, and `concat(a, ': ', b)`, which is null where a part is. JMESPath is imported with the first expression,
since most commands need none.
"""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

from pydantic import AfterValidator, StringConstraints

from producers.payload_mapping.budget import Budget, Exhausted

if TYPE_CHECKING:
    from producers.payload_mapping.interpreter import Interpreter

MAX_CHARACTERS = 2000
_MAX_DEPTH = 60  # of expressions within one another; the interpreter calls itself for each


def check_expression(text: str) -> str:
    """The text itself. Raises ValueError that says what is wrong and where."""
    compiled(text)
    return text


ExpressionText: TypeAlias = Annotated[
    str, StringConstraints(min_length=1, max_length=MAX_CHARACTERS), AfterValidator(check_expression)
]


def compiled(text: str) -> Any:
    """The tree of an expression. Raises ValueError."""
    import jmespath
    from jmespath.exceptions import JMESPathError, LexerError, ParseError

    try:
        tree = jmespath.compile(text).parsed
        depth = _depth(tree)
    except LexerError as error:
        raise ValueError(f"is no JMESPath: {error.message} at character {error.lexer_position + 1}") from None
    except ParseError as error:
        token = f"unexpected {error.token_value!r}" if error.token_value else "it ends too early"
        raise ValueError(f"is no JMESPath: {token} at character {error.lex_position + 1}") from None
    except JMESPathError as error:
        raise ValueError(f"is no JMESPath: {' '.join(str(error).split())}") from None
    except RecursionError:
        depth = _MAX_DEPTH + 1
    except (
        ValueError,
        TypeError,
        AttributeError,
        KeyError,
        IndexError,
    ):  # what the library's parser makes of some texts
        raise ValueError("is no JMESPath") from None
    if depth > _MAX_DEPTH:
        raise ValueError("is JMESPath that is nested too deeply")
    for name, count in _calls(tree):
        _check_call(name, count)
    return tree


def interpreter(payload: object, headers: Mapping[str, str], budget: Budget) -> "Interpreter":
    """What evaluates expressions on a payload and its parts."""
    from producers.payload_mapping.interpreter import Interpreter

    return Interpreter(payload, headers, budget)


def find(tree: Any, part: object, by: "Interpreter") -> object:
    """What a compiled expression finds in a part of a payload; None: nothing.

    A value that a function does not take is nothing found. Raises Exhausted where the budget does not reach.
    """
    try:
        return by.visit(tree, part)
    except Exhausted:
        raise
    except Exception:  # the library on a payload of anybody's: wrong types, infinite numbers, deep nesting
        return None


def _depth(tree: Any) -> int:
    deepest, rest = 0, [(tree, 1)]
    while rest:
        node, depth = rest.pop()
        deepest = max(deepest, depth)
        rest += [(child, depth + 1) for child in node["children"] if isinstance(child, dict)]
    return deepest


def _calls(tree: Any) -> Iterator[tuple[str, int]]:
    """The functions that are called, each with the number of its arguments."""
    rest = [tree]
    while rest:
        node = rest.pop()
        children = [child for child in node["children"] if isinstance(child, dict)]
        if node["type"] == "function_expression":
            yield node["value"], len(children)
        rest += children


def _check_call(name: str, count: int) -> None:
    from producers.payload_mapping.interpreter import OurFunctions

    known = OurFunctions.FUNCTION_TABLE
    if name not in known:
        raise ValueError(f"calls {name}(), which there is not; there are {', '.join(sorted(known))}")
    takes = known[name]["signature"]
    variadic = bool(takes) and bool(takes[-1].get("variadic"))
    if count < len(takes) or (count > len(takes) and not variadic):
        raise ValueError(
            f"calls {name}() with {count} arguments; it takes {len(takes)}{' or more' if variadic else ''}"
        )
