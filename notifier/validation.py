"""Validation: what Pydantic finds wrong, in words that say what to write instead and never repeat the value.

The one place that knows Pydantic's findings. What msgspec finds wrong with a record is `notifier.record`'s.
"""

import re  # for our own constant patterns; never for a person's
from collections.abc import Iterator
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from notifier.errors import FieldError, InputError
from notifier.pointer import pointer

M = TypeVar("M", bound=BaseModel)

_WORDS = {
    "extra_forbidden": "is not a field here",
    "missing": "is required",
    "model_type": "must be an object",
    "dict_type": "must be an object",
    "mapping_type": "must be an object",
    "tuple_type": "must be a list",
    "list_type": "must be a list",
    "string_type": "must be text",
    "string_unquoted": "must be text; put it in quotes",
    "string_unicode": "must be text that can be written as UTF-8",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be a finite number",
}


def validated(
    model: type[M], value: Any, below: str = "", *, extra: Literal["ignore"] | None = None, context: object = None
) -> M:
    """The value as an instance of the model. Raises InputError that names every field, as `field_errors` does.

    `extra="ignore"` passes over fields that the model refuses to know: those of a newer writer. `context` is for its validators.
    """
    try:
        return model.model_validate(value, extra=extra, context=context)
    except ValidationError as error:
        raise InputError(field_errors(error, below)) from None


def field_errors(error: ValidationError, below: str = "") -> list[FieldError]:
    """Pydantic's findings as ours; `below` is the JSON Pointer of the model within the document."""
    return [FieldError(pointer(found["loc"], below), in_words(found)) for found in findings(error)]


def findings(error: ValidationError) -> Iterator[ErrorDetails]:
    """What Pydantic found, without the values, which may be secret."""
    for found in error.errors(include_url=False, include_context=False):
        written = found["input"]
        found["input"] = None
        # YAML reads 123, 1e5, true and Null so.
        if found["type"] == "string_type" and isinstance(written, int | float | None):
            found["type"] = "string_unquoted"
        yield found


def in_words(found: ErrorDetails) -> str:
    """One finding, to be read behind the name of its field: "must be a list"."""
    text = _WORDS.get(found["type"], found["msg"]).partition(" after validation")[0]
    return re.sub(r"^(Value error, |Assertion failed, |\w+ should (?=\w))", _begin, text)


def _begin(match: re.Match[str]) -> str:
    return "must " if match[0].endswith("should ") else ""
