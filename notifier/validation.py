"""Validation: what Pydantic finds wrong, in words that say what to write instead and never repeat the value.

The one place that knows Pydantic's findings. What msgspec finds wrong with a record is `notifier.record`'s.
"""

import re  # for our own constant patterns; never for a person's
from collections.abc import Iterator, Mapping
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from notifier.errors import FieldError, InputError
from notifier.pointer import pointer

M = TypeVar("M", bound=BaseModel)

_TIME = "must be a time such as 2026-11-23T09:00:00Z"
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
    "int_parsing_size": "must be a whole number that is not so large",
    "set_type": "must be a list",
    "frozen_set_type": "must be a list",
    "iterable_type": "must be a list",
    "model_attributes_type": "must be an object",
    "dict_attributes_type": "must be an object",
    "none_required": "must be null",
    "path_type": "must be a path, as text",
    "url_type": "must be an address, as text",
    "url_parsing": "must be an address such as https://example.org/path",
    "url_syntax_violation": "must be an address such as https://example.org/path",
    "url_too_long": "is too long an address",
    "date_type": "must be a date such as 2026-11-23",
    "date_parsing": "must be a date such as 2026-11-23",
    "date_from_datetime_parsing": "must be a date such as 2026-11-23",
    "time_type": "must be a time of day such as 18:00",
    "time_parsing": "must be a time of day such as 18:00",
    "datetime_type": _TIME,
    "datetime_parsing": _TIME,
    "datetime_from_date_parsing": _TIME,
    "datetime_object_invalid": _TIME,
    "timezone_aware": "must have a zone, such as 2026-11-23T09:00:00Z",
    "time_delta_type": "must be a number of seconds",
    "time_delta_parsing": "must be a number of seconds",
    "uuid_type": "must be a UUID",
    "uuid_parsing": "must be a UUID",
    "decimal_type": "must be a number",
    "decimal_parsing": "must be a number",
    "bytes_type": "must be text",
    "json_invalid": "must be JSON",
    "json_type": "must be JSON, as text",
    "recursion_loop": "must not hold itself",
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
        raise InputError(field_errors(error, value, below)) from None


def field_errors(error: ValidationError, value: object, below: str = "") -> list[FieldError]:
    """Pydantic's findings as ours, one a place; `below` is the JSON Pointer of the model within the document.

    Where a value may be of several kinds, Pydantic finds fault for each and names the kind as if it were a place in it. What is
    wrong within a value of the right kind says more than that it is not of another kind.
    """
    faults: dict[str, list[str]] = {}
    for found in findings(error):
        words = faults.setdefault(pointer(_place(found, value), below), [])
        if (text := in_words(found)) not in words:
            words.append(text)
    above = {place[:end] for place in faults for end, character in enumerate(place) if character == "/"}
    return [FieldError(place, ", or ".join(words)) for place, words in faults.items() if place not in above]


def _place(found: ErrorDetails, value: object) -> Iterator[str | int]:
    """The parts of a finding's place that are in the value, and the field that is missing there."""
    for number, part in enumerate(found["loc"], 1):
        is_missing = found["type"] == "missing" and number == len(found["loc"])
        if isinstance(value, Mapping) and (part in value or is_missing):
            yield part
            value = value.get(part)
        elif isinstance(value, list | tuple) and isinstance(part, int) and part < len(value):
            yield part
            value = value[part]


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
