"""Parameters: the base of every plugin's settings, and the secrets among them."""

from collections.abc import Iterable, Iterator
from functools import cache
from typing import Annotated, Any, TypeAlias, get_args

from pydantic import BaseModel, ConfigDict, Field, SecretStr, StringConstraints

from notifier.absent import Written


class Parameters(Written):
    """The base of every plugin's parameters. Unknown fields are refused; descriptions and examples become docs and forms."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: Annotated[str, StringConstraints(max_length=200)] | None = Field(None, description="What people call it.")


ParametersModel: TypeAlias = type[Parameters]


class WorldParameters(Parameters):
    """Parameters of producers and consumers, which speak to people of some world."""

    world: Annotated[str, StringConstraints(min_length=1, max_length=100)] | None = Field(
        None, description="World that names are looked up in, in place of the type's own."
    )


@cache
def secret_fields(parameters: type[BaseModel]) -> frozenset[str]:
    """The fields of a parameters model that hold secrets: `SecretStr`, or a list or mapping of them."""
    return frozenset(name for name, field in parameters.model_fields.items() if _holds_secret(field.annotation))


def _holds_secret(annotation: Any) -> bool:
    return annotation is SecretStr or any(_holds_secret(part) for part in get_args(annotation))


def nested_secrets(parameters: type[BaseModel]) -> frozenset[str]:
    """The fields whose values are models that hold secrets; the registry refuses them, since only whole fields are sealed."""
    return frozenset(
        name
        for name, field in parameters.model_fields.items()
        if any(secret_fields(model) for model in _models(field.annotation, set()))
    )


def _models(annotation: Any, seen: set[type[BaseModel]]) -> set[type[BaseModel]]:
    """`seen` and every model that values of the annotation may hold, however deep."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        if annotation not in seen:
            seen.add(annotation)
            for field in annotation.model_fields.values():
                _models(field.annotation, seen)
    else:
        for part in get_args(annotation):
            _models(part, seen)
    return seen


def secrets_in(values: Iterable[Any]) -> Iterator[str]:
    """The secrets among some values, also within lists and mappings."""
    for value in values:
        if isinstance(value, SecretStr):
            if secret := value.get_secret_value():
                yield secret
        elif isinstance(value, dict):
            yield from secrets_in(value.values())
        elif isinstance(value, list | tuple):
            yield from secrets_in(value)
