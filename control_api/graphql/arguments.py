"""Arguments of queries: made from the models of REST's query parameters, and checked by them."""

from typing import Any

import graphene  # type: ignore[import-untyped]  # graphene has no types
from pydantic import ValidationError

from notifier.errors import InputError
from notifier.validation import field_errors


def text_argument(description: str, *, required: bool = False) -> Any:
    """An argument that is a text."""
    return graphene.Argument(graphene.String, required=required, description=description)


def model_arguments(model: Any) -> dict[str, Any]:
    """The query parameters of a list in REST; `checked` validates them by the same model."""
    return {
        name: graphene.Argument(
            graphene.Int if field.annotation is int else graphene.String, description=field.description
        )
        for name, field in model.model_fields.items()
    }


def checked(model: Any, arguments: dict[str, Any]) -> Any:
    """The arguments as the model. Raises InputError."""
    # Null counts as not given, as a variable without a value does.
    given = {name: value for name, value in arguments.items() if value is not None}
    try:
        return model.model_validate(given)
    except ValidationError as error:
        raise InputError(field_errors(error, given)) from None
