"""Draft: a configuration as somebody thinks of writing it, within a catalog. Nothing is stored."""

from collections.abc import Iterator
from dataclasses import replace

from consumers.text.template import check_template
from control_api.definitions.json_value import check_json
from control_api.definitions.usernames import Usernames
from notifier.catalog import Catalog, Configuration
from notifier.definition import ConfigurationSpec, check_name, read_spec
from notifier.errors import FieldError, InputError
from notifier.outcome import Kind

_KINDS: tuple[Kind, ...] = ("user", "producer", "filter", "consumer")


def with_draft(catalog: Catalog, name: str, document: object, place: str = "/draft") -> Catalog:
    """The catalog with a configuration as the document has it, which is that of PUT. Its version is 0: it is not stored.

    Raises InputError whose pointers begin with `place`.
    """
    try:
        spec = _read(catalog, name, document)
    except InputError as error:
        raise InputError([FieldError(place + one.pointer, one.detail) for one in error.errors]) from None
    draft = Configuration(name=name, version=0, spec=spec)
    return replace(catalog, configurations={**catalog.configurations, name: draft})


def _read(catalog: Catalog, name: str, document: object) -> ConfigurationSpec:
    if not isinstance(document, dict):
        raise InputError(FieldError("", "must be an object"))
    check_json(document)
    check_name("configuration", name)
    if document.get("name", name) != name:
        raise InputError(FieldError("/name", f"must be {name!r}, or left out"))
    spec = read_spec("configuration", {key: value for key, value in document.items() if key != "name"})
    assert isinstance(spec, ConfigurationSpec)
    if spec.template is not None:
        check_template(spec.template)
    known = Usernames(catalog.users)
    spec = spec.model_copy(update={"users": tuple([known.find(username) for username in spec.users])})
    missing = list(_missing(catalog, spec))
    if missing:
        raise InputError(missing)
    return spec


def _missing(catalog: Catalog, spec: ConfigurationSpec) -> Iterator[FieldError]:
    for kind in _KINDS:
        for position, name in enumerate(getattr(spec, f"{kind}s")):
            if name not in getattr(catalog, f"{kind}s") and f"{kind}/{name}" not in catalog.problems:
                yield FieldError(f"/{kind}s/{position}", f"there is no {kind} {name!r}")
