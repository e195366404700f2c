"""Parameters: the base of every plugin's settings, and the secrets among them."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import Annotated, Any, ClassVar, TypeAlias, get_args

from pydantic import BaseModel, ConfigDict, Field, SecretStr, StringConstraints

from notifier.absent import Written

# The last word of the name of a field that says where something is sent: `url`, `webhook_url`, `smtp_host`.
_ADDRESSES = frozenset(
    ["url", "uri", "host", "hostname", "port", "server", "homeserver", "endpoint", "domain", "proxy", "address"]
)


class Parameters(Written):
    """The base of every plugin's parameters. Unknown fields are refused; descriptions and examples become docs and forms."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    # Field → the secrets that are sent to where it says. When it changes, they are cleared unless they are written anew. None:
    # fields whose last word is that of an address (`url`, `smtp_host`) say where all secrets are sent.
    addresses: ClassVar[Mapping[str, Sequence[str]] | None] = None

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


@cache
def secret_addresses(parameters: ParametersModel) -> Mapping[str, tuple[str, ...]]:
    """Secret → the fields that say where it is sent; secrets that go nowhere are left out."""
    secrets = secret_fields(parameters)
    given = parameters.addresses
    if given is None:
        given = {
            name: sorted(secrets - {name}) for name in parameters.model_fields if name.rpartition("_")[2] in _ADDRESSES
        }
    found = {secret: tuple(name for name, sent in given.items() if secret in sent) for secret in sorted(secrets)}
    return {secret: fields for secret, fields in found.items() if fields}


def wrong_addresses(parameters: ParametersModel) -> list[str]:
    """Names in `addresses` that are no field, or no secret; the registry refuses them."""
    given = parameters.addresses or {}
    secrets = secret_fields(parameters)
    no_secrets = {name for sent in given.values() for name in sent} - secrets
    return sorted((given.keys() - parameters.model_fields.keys()) | no_secrets)


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
