"""Texts: the type of parameters that are lists of texts. Refuses, in words of its own, lists that match everything or nothing."""

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, StringConstraints

MAX_TEXTS = 1000  # in one list
MAX_CHARACTERS = 1000  # of one text


def a_list_of(what: str) -> BeforeValidator:
    """Refuses a plain text, saying which list to write instead, and the empty list.

    Pydantic's `min_length` would do for the empty list, but counts valid items only: one wrong text would be refused twice.
    """

    def check(value: Any) -> Any:
        if isinstance(value, str):
            raise ValueError(f"must be a list of {what}s; write [{value!r}]" if value else f"must be a list of {what}s")
        if isinstance(value, list | tuple) and not value:
            raise ValueError(f"needs at least one {what}")
        return value

    return BeforeValidator(check)


def _check_text(value: Any) -> Any:
    if value == "":
        raise ValueError("must not be empty; an empty text is found in everything, so take it out")
    return value


Text = Annotated[str, StringConstraints(min_length=1, max_length=MAX_CHARACTERS), BeforeValidator(_check_text)]
Texts = Annotated[tuple[Text, ...], Field(max_length=MAX_TEXTS, json_schema_extra={"minItems": 1}), a_list_of("text")]
