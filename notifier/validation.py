"""Validation: what Pydantic found wrong, in words that say what to write instead and never repeat the value."""

import re  # for our own constant patterns; never for a person's

from pydantic_core import ErrorDetails

_WORDS = {
    "extra_forbidden": "is not a field here",
    "missing": "is required",
    "model_type": "must be an object",
    "dict_type": "must be an object",
    "mapping_type": "must be an object",
    "tuple_type": "must be a list",
    "list_type": "must be a list",
    "string_type": "must be text",
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


def in_words(found: ErrorDetails) -> str:
    """One finding, to be read behind the name of its field: "must be a list"."""
    text = _WORDS.get(found["type"], found["msg"]).partition(" after validation")[0]
    return re.sub(r"^(Value error, |Assertion failed, |\w+ should (?=\w))", _begin, text)


def _begin(match: re.Match[str]) -> str:
    return "must " if match[0].endswith("should ") else ""
