"""Spec: the base of what people write, and JSON objects of any shape in it."""

import json
from typing import Annotated

import msgspec
from pydantic import AfterValidator, ConfigDict, ValidationInfo

from notifier.absent import Written
from notifier.record import JsonObject


class Spec(Written):
    """The base of every kind's model. Unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


WRITTEN = {"written": True}  # the context of a validation


def is_written(info: ValidationInfo) -> bool:
    """Whether the value was written just now. What is stored may be of an older program, which allowed more."""
    return info.context is WRITTEN


def _check_json(value: JsonObject) -> JsonObject:
    # Records are written by msgspec and columns by json: one takes dates, and the other makes a text of a key that is null.
    try:
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
        msgspec.json.encode(value)
    except RecursionError:
        raise ValueError("is nested too deeply") from None
    except (TypeError, ValueError, OverflowError) as error:  # a lone surrogate is a ValueError too
        raise ValueError(f"cannot be written as JSON ({error}); put dates and other values in quotes") from None
    return value


AnyObject = Annotated[JsonObject, AfterValidator(_check_json)]
