"""Absent: a field that need not be there may be written as null. Many languages write a field without a value so.

Of messages, which are no Pydantic models, this is `notifier.message`'s.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any, get_args

from pydantic import BaseModel, model_validator

from notifier.record import JsonObject


class Written(BaseModel):
    """The base of what people write. Null in place of a field that has a default is the same as no field."""

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, value: Any) -> Any:
        return without_nulls(cls, value) if isinstance(value, dict) else value


def without_nulls(model: type[BaseModel], written: Mapping[str, Any]) -> JsonObject:
    """The fields but for those that are null, have a default in the model, and know no null of their own."""
    fields = _never_null(model)
    return {name: value for name, value in written.items() if value is not None or name not in fields}


@cache
def _never_null(model: type[BaseModel]) -> frozenset[str]:
    return frozenset(
        name
        for name, field in model.model_fields.items()
        if not field.is_required() and field.annotation is not Any and type(None) not in get_args(field.annotation)
    )
