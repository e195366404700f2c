"""Pydantic's findings in our words."""

from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from notifier.errors import InputError
from notifier.validation import field_errors, validated
from tests.rigs.tables import table


class Door(BaseModel):
    """A model with a field of each kind."""

    model_config = ConfigDict(extra="forbid")

    width: int = 1
    colour: Literal["red", "blue"] = "red"
    labels: dict[str, str] = {}
    key: str | None = None
    number: Annotated[int, Field(ge=1)] | Literal["none"] = "none"
    keys: str | list[str | int] = "none"

    @field_validator("key")
    @classmethod
    def _key(cls, key: str | None) -> str | None:
        if key == "secret":
            raise ValueError("is too easy to guess")
        return key


@table(
    ("a number", {"width": "wide"}, "/d/width: must be a whole number"),
    ("a choice", {"colour": "green"}, "/d/colour: must be 'red' or 'blue'"),
    ("a place within", {"labels": {"a/b": 5}}, "/d/labels/a~1b: must be text; put it in quotes"),
    ("our own words", {"key": "secret"}, "/d/key: is too easy to guess"),
    ("an unknown field", {"height": 2}, "/d/height: is not a field here"),
    ("no object", [], "/d: must be an object"),
    ("none of two kinds", {"number": "@me"}, "/d/number: must be a whole number, or must be 'none'"),
    ("beyond a range", {"number": 0}, "/d/number: must be greater than or equal to 1, or must be 'none'"),
    ("a place within two kinds", {"keys": ["a", []]}, "/d/keys/1: must be text, or must be a whole number"),
)
def test_a_finding_names_the_place_and_says_what_to_write(row: tuple[object, str]) -> None:
    value, text = row
    with pytest.raises(InputError) as raised:
        validated(Door, value, "/d")
    assert str(raised.value) == text
    assert raised.value.__suppress_context__


def test_what_was_written_is_never_repeated() -> None:
    value = {"width": "pass-word", "colour": "pass-word", "labels": "pass-word"}
    with pytest.raises(ValidationError) as raised:
        Door.model_validate(value)
    assert len(field_errors(raised.value, value)) == 3
    assert "pass-word" not in " ".join(map(str, field_errors(raised.value, value)))


def test_what_many_fields_cost_grows_with_their_number() -> None:
    value = {f"field{number}": 1 for number in range(100_000)}  # compared each with each they would take an hour
    with pytest.raises(ValidationError) as raised:
        Door.model_validate(value)
    assert len(field_errors(raised.value, value)) >= 100_000


def test_fields_of_a_newer_writer_may_be_passed_over() -> None:
    assert validated(Door, {"height": 2, "width": 3}, extra="ignore") == Door(width=3)
